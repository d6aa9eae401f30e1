//! What has to be true once all is healed.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use ringtail_metadata::METADATA_GROUP;
use ringtail_partition::SiteHashes;
use ringtail_proto::{GroupId, NodeId, SiteId};
use ringtail_router::Durability;
use tokio::time::{Instant, sleep};

use super::{
    reading::Reading,
    ring::{Ring, Running},
    visitors::Visitors,
};
use crate::{
    checkers::{check_numbers, check_pages, sessionise},
    workload::Site,
};

/// Virtual time from the end of all faults until every group acknowledges by quorum again, through every node.
const LIVE_WITHIN: Duration = Duration::from_secs(20);
/// Virtual time until nothing is on its way any more.
const QUIET_WITHIN: Duration = Duration::from_secs(90);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Checks of a healed ring.
pub(crate) struct Checks {
    pub(crate) ring: Arc<Ring>,
    pub(crate) visitors: Rc<Visitors>,
    /// Hosts whose node is in the ring at the end.
    pub(crate) members: BTreeSet<u64>,
}

impl Checks {
    /// Every group acknowledges by quorum, through every node; returns how long that took.
    pub(crate) async fn liveness(&self) -> Duration {
        let started = Instant::now();
        let mut missing: BTreeSet<(u64, String)> = BTreeSet::new();
        for (site, _) in self.visitors.sites() {
            missing.extend(self.members.iter().map(|host| (*host, site.domain.clone())));
        }
        let mut number = 1_000_000;
        while !missing.is_empty() {
            if started.elapsed() > LIVE_WITHIN {
                let all = format!("{missing:?}");
                self.ring.violated(format!(
                    "no quorum answers {LIVE_WITHIN:?} after the last fault: {all}"
                ));
                break;
            }
            for (host, domain) in missing.clone() {
                number += 1;
                let probe = Visitors::probe(number, &domain);
                if self.visitors.offer(&probe, host).await == Some(Durability::Quorum) {
                    missing.remove(&(host, domain));
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
        started.elapsed()
    }

    /// Waits until spools are empty, placements have arrived, and all replicas have applied the same.
    pub(crate) async fn quiet(&self) -> bool {
        let started = Instant::now();
        let mut calm_since: Option<Instant> = None;
        loop {
            let restless = self.restless();
            match &restless {
                Some(_) => calm_since = None,
                None if calm_since.is_some_and(|since| since.elapsed() > 5 * LOOK_INTERVAL) => {
                    return true;
                }
                None => {
                    calm_since.get_or_insert_with(Instant::now);
                }
            }
            if started.elapsed() > QUIET_WITHIN {
                let what = restless.unwrap_or_else(|| "it comes and goes".to_owned());
                self.ring.violated(format!(
                    "the ring is not quiet {QUIET_WITHIN:?} after it works again: {what}"
                ));
                return false;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// What is still on its way.
    fn restless(&self) -> Option<String> {
        let running = self.nodes();
        if running.len() < self.members.len() {
            return Some("a node does not run".to_owned());
        }
        let (_, first) = running.first()?;
        for (host, node) in &running {
            if !node.router.is_spool_drained() {
                return Some(format!("spool of {host}"));
            }
            if node.metadata.directory().awaiting_settings_count() > 0 {
                return Some("settings".to_owned());
            }
        }
        for (group, place) in first.metadata.directory().placement().iter() {
            if !place.is_settled(*group) {
                return Some(format!("placement of {group}"));
            }
            let replicas = running
                .iter()
                .filter(|(_, node)| *group == METADATA_GROUP || place.hosts.contains(&node.node));
            let applied: BTreeSet<_> = replicas
                .map(|(_, node)| node.raft.group(*group).and_then(|group| group.applied()))
                .collect();
            if applied.len() != 1 || applied.contains(&None) {
                return Some(format!("replicas of {group} stand at {applied:?}"));
            }
        }
        None
    }

    fn nodes(&self) -> Vec<(u64, Arc<Running>)> {
        let running = self.ring.running().into_iter();
        running
            .filter(|(host, _)| self.members.contains(host))
            .collect()
    }

    /// All replicas have equal states, and each counts what was acknowledged once, as predicted.
    pub(crate) async fn equality(&self) {
        let nodes = self.nodes();
        let Some((_, first)) = nodes.first() else {
            return self.ring.violated("nobody runs".to_owned());
        };
        let placement = first.metadata.directory().placement();
        for (group, place) in placement
            .iter()
            .filter(|(group, _)| **group != METADATA_GROUP)
        {
            self.same_states(*group, &place.hosts, &nodes).await;
        }
        for (host, node) in &nodes {
            for (site, id) in self.visitors.sites() {
                let group = node.partitions.slots().group_of(id);
                let is_host = placement
                    .get(&group)
                    .is_some_and(|place| place.hosts.contains(&node.node));
                if is_host {
                    self.counts(*host, node, &site, id).await;
                }
            }
        }
    }

    async fn same_states(&self, group: GroupId, hosts: &[NodeId], nodes: &[(u64, Arc<Running>)]) {
        let mut expected: Option<(u64, SiteHashes)> = None;
        for (host, node) in nodes.iter().filter(|(_, node)| hosts.contains(&node.node)) {
            let hashes = match node.partitions.site_hashes(group).await {
                Ok(hashes) => hashes,
                Err(error) => {
                    self.ring
                        .violated(format!("states of group {group} on host {host}: {error}"));
                    continue;
                }
            };
            self.ring.note(format!(
                "states of group {group} on {host} at {}: {:?}",
                hashes.index, hashes.sites
            ));
            match &expected {
                None => expected = Some((*host, hashes)),
                Some((other, expected))
                    if expected.index != hashes.index
                        || !expected.differing(&hashes).is_empty() =>
                {
                    let differ = expected.differing(&hashes);
                    self.ring.violated(format!(
                        "states of group {group} differ: host {other} at index {}, host {host} at index {}, sites {differ:?}",
                        expected.index, hashes.index
                    ));
                }
                Some(_) => {}
            }
        }
    }

    async fn counts(&self, host: u64, node: &Running, site: &Site, id: SiteId) {
        if let Err(error) = self.try_counts(host, node, site, id).await {
            self.ring.violated(format!(
                "{} on host {host} cannot be read: {error:#}",
                site.domain
            ));
        }
    }

    async fn try_counts(
        &self,
        host: u64,
        node: &Running,
        site: &Site,
        id: SiteId,
    ) -> anyhow::Result<()> {
        // Late events show once they are merged.
        node.partitions.checkpoint_site(id).await?;
        let reading = Reading::take(node, id, site).await?;
        let counted: BTreeMap<_, _> = reading.pages()?;
        let numbers = reading.numbers()?;
        let ledger = self.visitors.ledger().lock();
        let (violations, present) = check_pages(&ledger, &counted);
        let of_site = |batch: &u64| {
            ledger
                .entries()
                .any(|entry| entry.batch.number == *batch && entry.batch.domain == site.domain)
        };
        let others = |violation: &crate::checkers::Violation| {
            use crate::checkers::Violation as V;
            match violation {
                V::AcknowledgedLost { batch, .. }
                | V::CountedTwice { batch, .. }
                | V::CountedInPart { batch, .. }
                | V::Refused { batch, .. } => !of_site(batch),
                _ => false,
            }
        };
        for violation in violations
            .into_iter()
            .filter(|violation| !others(violation))
        {
            self.ring
                .violated(format!("{} on host {host}: {violation}", site.domain));
        }
        let batches = ledger
            .entries()
            .filter(|entry| present.contains(&entry.batch.number))
            .map(|entry| &entry.batch);
        let predicted = sessionise(site, batches);
        for violation in check_numbers(&site.domain, &predicted, &numbers) {
            self.ring.violated(format!("on host {host}: {violation}"));
        }
        Ok(())
    }
}
