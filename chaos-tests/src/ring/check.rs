//! What has to hold on every node when all is quiet again.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::{Ring, cluster::LOOK, history::History};
use crate::{
    checkers::Violation,
    client::Client,
    process::Node,
    ring_client::SETTLED_AFTER_MAX,
    run::Reader,
    workload::{Ledger, Site},
};

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
    pub(super) history: History,
    /// How many partitions there are.
    pub(super) partitions: u32,
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
        let (http, reader) = (&node.http, self.reader);
        let checked = reader.check(http, self.sites, self.ledger).await?;
        let mut violations = checked.violations;
        violations.extend(self.history.check(node, self.ring.token()).await?);
        for (domain, (acknowledged, failed)) in self.probes {
            let site = probe_site(domain);
            let counted = reader.events(http, &site).await?;
            if !(*acknowledged..=acknowledged + failed).contains(&counted) {
                violations.push(Violation::Probes {
                    domain: domain.clone(),
                    acknowledged: *acknowledged,
                    failed: *failed,
                    counted,
                });
            }
        }
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
            if is_comparable(&of_nodes, self.partitions) {
                return Ok(differences(&of_nodes));
            }
            ensure!(
                started.elapsed() < SETTLED_AFTER_MAX,
                "not every replica of all {} partitions comes to one index and tells its hashes: {:?}",
                self.partitions,
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
            if (files, copies) == (Some(0.0), Some(0.0)) {
                break;
            }
            ensure!(
                started.elapsed() < SETTLED_AFTER_MAX,
                "node {} shows {files:?} files and {copies:?} copies in its spool, not none",
                member.id
            );
            sleep(LOOK).await;
        }
    }
    Ok(())
}

/// A gauge of a node; none when the node does not show it, so that nobody knows.
fn gauge(metrics: &str, name: &str) -> Option<f64> {
    let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    value.trim().parse().ok()
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
    read_hashes(&document).with_context(|| format!("odd hashes {document}"))
}

/// None when anything is not as it should be: what is left out would be compared with nothing.
fn read_hashes(document: &Value) -> Option<Hashes> {
    let groups = document.get("groups")?.as_array()?.iter();
    let groups = groups.map(|group| {
        let sites = group.get("sites")?.as_object()?.iter();
        let sites = sites.map(|(site, hash)| Some((site.clone(), hash.as_str()?.to_owned())));
        let index = group.get("index")?.as_u64()?;
        let sites = sites.collect::<Option<_>>()?;
        Some((group.get("group")?.as_u64()?, (index, sites)))
    });
    groups.collect()
}

fn indexes(groups: &Hashes) -> BTreeMap<u64, u64> {
    let indexes = groups.iter().map(|(group, (index, _))| (*group, *index));
    indexes.collect()
}

/// All replicas of every partition tell their hashes, at one index. Three nodes hold every group; with more, those that
/// hold one have to agree. A partition that no node could hash is not compared, so that it is none of which all is well.
fn is_comparable(of_nodes: &BTreeMap<u64, Hashes>, partitions: u32) -> bool {
    let expected = of_nodes.len().min(3);
    (1..=u64::from(partitions)).all(|group| {
        let replicas = of_nodes.values().filter_map(|groups| groups.get(&group));
        let indexes: Vec<u64> = replicas.map(|(index, _)| *index).collect();
        indexes.len() >= expected && indexes.iter().all(|index| indexes.first() == Some(index))
    })
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
    use serde_json::json;

    use super::*;

    fn hashes(index: u64, sites: &[(&str, &str)]) -> Hashes {
        let sites = sites.iter();
        let sites = sites.map(|(site, hash)| ((*site).to_owned(), (*hash).to_owned()));
        BTreeMap::from([(1, (index, sites.collect()))])
    }

    #[test]
    fn replicas_are_compared_when_all_of_each_partition_are_at_one_index() {
        let of = |left, right| BTreeMap::from([(1, left), (2, right)]);
        let ahead = of(hashes(5, &[("a", "x")]), hashes(6, &[("a", "x")]));
        assert!(!is_comparable(&ahead, 1));
        let missing = of(hashes(5, &[("a", "x")]), BTreeMap::new());
        assert!(!is_comparable(&missing, 1));
        assert!(!is_comparable(&of(BTreeMap::new(), BTreeMap::new()), 1));
        let equal = of(hashes(5, &[("a", "x")]), hashes(5, &[("a", "x")]));
        assert!(is_comparable(&equal, 1) && differences(&equal).is_empty());
        assert!(
            !is_comparable(&equal, 2),
            "nobody could hash the second one"
        );
        let other = of(
            hashes(5, &[("a", "x"), ("b", "z")]),
            hashes(5, &[("a", "y")]),
        );
        assert!(is_comparable(&other, 1));
        let Violation::Diverged { sites, .. } = &differences(&other)[0] else {
            panic!("they differ");
        };
        assert_eq!(sites, &["a", "b"]);
    }

    #[test]
    fn gauges_are_read_by_their_whole_name_and_one_that_is_missing_is_not_zero() {
        let metrics = "# TYPE a gauge\na_copies 3\na 2\n";
        assert_eq!(gauge(metrics, "a"), Some(2.0));
        assert_eq!(gauge(metrics, "b"), None);
    }

    #[test]
    fn hashes_of_an_odd_form_are_no_hashes() {
        let document =
            |hash: Value| json!({"groups": [{"group": 1, "index": 5, "sites": {"a": hash}}]});
        assert_eq!(
            read_hashes(&document(json!("x"))),
            Some(hashes(5, &[("a", "x")]))
        );
        assert_eq!(read_hashes(&document(Value::Null)), None);
        assert_eq!(read_hashes(&json!({})), None);
    }
}
