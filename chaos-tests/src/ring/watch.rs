//! Readers of every node, all the while: what a node has told it does not take back.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{
    checkers::{Monotonic, Violation},
    run::Reader,
    workload::{Endpoint, Site},
};

/// Between two rounds of questions to a node.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(150);

/// Asks each node for each site's events until it is told to stop.
pub(super) async fn watch_counts(
    reader: Reader,
    sites: Vec<Site>,
    mut endpoints: watch::Receiver<Vec<Endpoint>>,
    mut stopped: oneshot::Receiver<()>,
) -> anyhow::Result<Vec<Violation>> {
    // A node is its address: a restart does not take back either what the node told before.
    let mut told: BTreeMap<String, Monotonic> = BTreeMap::new();
    loop {
        let up = endpoints.borrow_and_update().clone();
        let mut questions = JoinSet::new();
        for node in up {
            let (reader, sites) = (reader.clone(), sites.clone());
            questions.spawn(async move {
                let mut counts = Vec::new();
                for site in &sites {
                    // A node that is down or has no replica does not answer; what matters are the answers.
                    if let Ok(count) = reader.events(&node.http, site).await {
                        counts.push((site.domain.clone(), count));
                    }
                }
                (node, counts)
            });
        }
        while let Some(answered) = questions.join_next().await {
            let (node, counts) = answered?;
            let monotonic = told.entry(node.http).or_default();
            for (domain, count) in counts {
                monotonic.observe(&domain, count);
            }
        }
        tokio::select! {
            () = sleep(ASK_AGAIN_AFTER) => {}
            _ = &mut stopped => break,
        }
    }
    let violations = told.into_iter().flat_map(|(node, monotonic)| {
        let violations = monotonic.violations().to_vec();
        violations
            .into_iter()
            .map(move |violation| violation.on(&node))
    });
    Ok(violations.collect())
}
