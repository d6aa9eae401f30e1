//! A reader who goes from node to node all the while: what one node has told it no other takes back.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};

use crate::{
    checkers::{Monotonic, Violation},
    run::Reader,
    workload::{Endpoint, Site},
};

/// Between two questions.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What a reader saw.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Falls.
    pub(crate) violations: Vec<Violation>,
    /// Answers; a node that is down or behind gives none.
    pub(crate) answers: u64,
}

/// Asks for each site's events, each time another node, until it is told to stop. The session of each answer goes to the
/// next node.
pub(crate) async fn watch_counts(
    reader: Reader,
    sites: Vec<Site>,
    mut endpoints: watch::Receiver<Vec<Endpoint>>,
    mut stopped: oneshot::Receiver<()>,
) -> Watched {
    let mut monotonic = Monotonic::default();
    let mut sessions: BTreeMap<String, String> = BTreeMap::new();
    let mut watched = Watched::default();
    let mut turn = 0_usize;
    loop {
        let up = endpoints.borrow_and_update().clone();
        for site in &sites {
            turn += 1;
            let Some(node) = turn.checked_rem(up.len()).and_then(|place| up.get(place)) else {
                continue;
            };
            let session = sessions.get(&site.domain).map(String::as_str);
            if let Ok((count, session)) = reader.events_since(&node.http, site, session).await {
                watched.answers += 1;
                monotonic.observe(&site.domain, count);
                sessions.insert(site.domain.clone(), session);
            }
        }
        // Three sites and three nodes: without this each site would always be asked of the same node.
        turn += 1;
        tokio::select! {
            () = sleep(ASK_AGAIN_AFTER) => {}
            _ = &mut stopped => break,
        }
    }
    watched.violations = monotonic.violations().to_vec();
    watched
}
