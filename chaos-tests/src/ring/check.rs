//! What has to hold on every node when all is quiet again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::ensure;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Ring,
    cluster::{LOOK, SETTLED_AFTER_MAX},
};
use crate::{
    checkers::{Violation, check_numbers, check_pages, sessionise},
    client::Client,
    process::Node,
    run::Reader,
    workload::{Batch, Ledger, Site},
};

/// Late events are merged after at most five minutes.
const MERGED_AFTER_MAX: Duration = Duration::from_secs(6 * 60);

/// A group's index and the hash of each of its sites, as one node tells them.
type Hashes = BTreeMap<u64, (u64, BTreeMap<String, String>)>;

/// What is known of a ring that got its last event.
pub(super) struct Check<'a> {
    pub(super) ring: &'a Ring,
    pub(super) reader: &'a Reader,
    pub(super) sites: &'a [Site],
    pub(super) ledger: &'a Mutex<Ledger>,
    /// By site: probes that were acknowledged, and probes that nobody took.
    pub(super) probes: &'a BTreeMap<String, (u64, u64)>,
}

impl Check<'_> {
    /// Compares every node with what the clients know, and with the other nodes.
    pub(super) async fn run(&self) -> anyhow::Result<Vec<Violation>> {
        let mut violations = Vec::new();
        for member in self.ring.members.values() {
            if let Some(node) = &member.node {
                let found = self.node(node).await?;
                let name = format!("node {}", member.id);
                violations.extend(found.into_iter().map(|violation| violation.on(&name)));
            }
        }
        violations.extend(self.replicas().await?);
        Ok(violations)
    }

    async fn node(&self, node: &Node) -> anyhow::Result<Vec<Violation>> {
        let http = &node.http;
        let (reader, sites) = (self.reader, self.sites);
        reader
            .wait_until_merged(http, sites, MERGED_AFTER_MAX)
            .await?;
        let mut pages = BTreeMap::new();
        let mut numbers = Vec::new();
        for site in sites {
            pages.extend(reader.pages(http, site).await?);
            numbers.push(reader.numbers(http, site).await?);
        }
        let mut probed = Vec::new();
        for (domain, (acknowledged, failed)) in self.probes {
            let site = probe_site(domain);
            let counted = reader.events(http, &site).await?;
            if !(*acknowledged..=acknowledged + failed).contains(&counted) {
                probed.push(Violation::Probes {
                    domain: domain.clone(),
                    acknowledged: *acknowledged,
                    failed: *failed,
                    counted,
                });
            }
        }
        let ledger = self.ledger.lock();
        let (mut violations, present) = check_pages(&ledger, &pages);
        let counted: Vec<&Batch> = ledger
            .entries()
            .map(|entry| &entry.batch)
            .filter(|batch| present.contains(&batch.number))
            .collect();
        for (site, numbers) in sites.iter().zip(numbers) {
            let predicted = sessionise(site, counted.iter().copied());
            violations.extend(check_numbers(&site.domain, &predicted, &numbers));
        }
        violations.extend(probed);
        Ok(violations)
    }

    /// Waits until all replicas of each group are at one index, then compares their hashes.
    async fn replicas(&self) -> anyhow::Result<Vec<Violation>> {
        let started = Instant::now();
        loop {
            let mut of_nodes = BTreeMap::new();
            for member in self.ring.members.values() {
                if let Some(node) = &member.node {
                    of_nodes.insert(member.id, hashes(self.ring, node).await?);
                }
            }
            if is_comparable(&of_nodes) {
                return Ok(differences(&of_nodes));
            }
            ensure!(
                started.elapsed() < SETTLED_AFTER_MAX,
                "the replicas do not come to one index: {:?}",
                of_nodes
                    .iter()
                    .map(|(node, groups)| (node, indexes(groups)))
                    .collect::<Vec<_>>()
            );
            sleep(LOOK).await;
        }
    }
}

/// Waits until no node has anything left in its spool.
pub(super) async fn until_spools_empty(ring: &Ring) -> anyhow::Result<()> {
    let client = Client::new()?;
    let started = Instant::now();
    for member in ring.members.values() {
        let Some(node) = &member.node else { continue };
        loop {
            let (_, metrics) = client.get(&node.http, "/metrics").await?;
            let files = gauge(&metrics, "ringtail_route_spool_files");
            let copies = gauge(&metrics, "ringtail_route_spool_copies_files");
            if files + copies == 0.0 {
                break;
            }
            ensure!(
                started.elapsed() < SETTLED_AFTER_MAX,
                "node {} still has {files} files and {copies} copies in its spool",
                member.id
            );
            sleep(LOOK).await;
        }
    }
    Ok(())
}

/// A gauge of a node; one that was never set is zero.
fn gauge(metrics: &str, name: &str) -> f64 {
    let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
    let value = lines.find(|(found, _)| *found == name);
    value
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or_default()
}

/// The site that a probe's events go to.
pub(super) fn probe_site(domain: &str) -> Site {
    Site {
        domain: domain.to_owned(),
        timezone: "UTC",
        offset_minutes: 0,
    }
}

/// What a node's replicas hold.
pub(super) async fn hashes(ring: &Ring, node: &Node) -> anyhow::Result<Hashes> {
    let document = ring
        .ask(node, Method::GET, "/api/v1/ring/hashes", Value::Null)
        .await?;
    let groups = document.get("groups").and_then(Value::as_array);
    let groups = groups.into_iter().flatten().filter_map(|group| {
        let sites = group.get("sites")?.as_object()?.iter();
        let sites =
            sites.filter_map(|(site, hash)| Some((site.clone(), hash.as_str()?.to_owned())));
        Some((
            group.get("group")?.as_u64()?,
            (group.get("index")?.as_u64()?, sites.collect()),
        ))
    });
    Ok(groups.collect())
}

fn indexes(groups: &Hashes) -> BTreeMap<u64, u64> {
    let indexes = groups.iter().map(|(group, (index, _))| (*group, *index));
    indexes.collect()
}

/// Every node has the same groups at the same indexes. Three nodes hold every group; with more, those that hold one
/// have to agree.
fn is_comparable(of_nodes: &BTreeMap<u64, Hashes>) -> bool {
    let mut seen: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
    for groups in of_nodes.values() {
        for (group, index) in indexes(groups) {
            let (known, replicas) = seen.entry(group).or_insert((index, 0));
            if *known != index {
                return false;
            }
            *replicas += 1;
        }
    }
    let expected = of_nodes.len().min(3);
    !seen.is_empty() && seen.values().all(|(_, replicas)| *replicas >= expected)
}

fn differences(of_nodes: &BTreeMap<u64, Hashes>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut first: BTreeMap<u64, (u64, &BTreeMap<String, String>)> = BTreeMap::new();
    for (node, groups) in of_nodes {
        for (group, (index, sites)) in groups {
            let (other, expected) = *first.entry(*group).or_insert((*node, sites));
            if expected != sites {
                let names = expected.keys().chain(sites.keys());
                let mut differing: Vec<String> = names
                    .filter(|site| expected.get(*site) != sites.get(*site))
                    .cloned()
                    .collect();
                differing.sort_unstable();
                differing.dedup();
                violations.push(Violation::Diverged {
                    group: *group,
                    index: *index,
                    nodes: (other, *node),
                    sites: differing,
                });
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(index: u64, sites: &[(&str, &str)]) -> Hashes {
        let sites = sites.iter();
        let sites = sites.map(|(site, hash)| ((*site).to_owned(), (*hash).to_owned()));
        BTreeMap::from([(1, (index, sites.collect()))])
    }

    #[test]
    fn replicas_are_compared_at_one_index_only() {
        let of = |left, right| BTreeMap::from([(1, left), (2, right)]);
        let ahead = of(hashes(5, &[("a", "x")]), hashes(6, &[("a", "x")]));
        assert!(!is_comparable(&ahead));
        let missing = of(hashes(5, &[("a", "x")]), BTreeMap::new());
        assert!(!is_comparable(&missing));
        let equal = of(hashes(5, &[("a", "x")]), hashes(5, &[("a", "x")]));
        assert!(is_comparable(&equal) && differences(&equal).is_empty());
        let other = of(
            hashes(5, &[("a", "x"), ("b", "z")]),
            hashes(5, &[("a", "y")]),
        );
        assert!(is_comparable(&other));
        let Violation::Diverged { sites, .. } = &differences(&other)[0] else {
            panic!("they differ");
        };
        assert_eq!(sites, &["a", "b"]);
    }

    #[test]
    fn gauges_are_read_by_their_whole_name() {
        let metrics = "# TYPE a gauge\na_copies 3\na 2\n";
        assert_eq!(gauge(metrics, "a"), 2.0);
        assert_eq!(gauge(metrics, "b"), 0.0);
    }
}
