//! What the replicas of a site say about its past.

use std::collections::BTreeMap;

use ringtail_metadata::Site;
use ringtail_proto::{
    ErrorKind, GroupId, NodeId, SiteId, UnixMillis,
    wire::peer::{GenerationLook, GroupLook},
};
use serde_json::{Map, Value, json};

use super::CLOCKS_DIFFER_MS_MAX;
use crate::{api_error::ApiError, ring::Survey, services::time_text};

/// What every node that hosts a site's group says of it.
pub(super) struct Replicas {
    site: SiteId,
    group: GroupId,
    /// The reason where one says nothing.
    looks: BTreeMap<NodeId, Result<GroupLook, String>>,
}

impl Replicas {
    pub(super) fn new(site: SiteId, group: GroupId, hosts: &[NodeId], survey: Survey) -> Self {
        let mut nodes = survey.nodes;
        let mut look = |node: &NodeId| {
            let answer = nodes.remove(node);
            let answer = answer.unwrap_or_else(|| Err("it is not in the ring".to_owned()))?;
            let mut groups = answer.groups.into_iter();
            let look = groups.find(|look| look.group == group.0);
            look.ok_or_else(|| "the partition is not open there".to_owned())
        };
        Self {
            site,
            group,
            looks: hosts.iter().map(|node| (*node, look(node))).collect(),
        }
    }

    /// Refuses a site of whose events not all are in the archive or in the log.
    pub(super) fn check_past(&self, site: &Site) -> Result<(), ApiError> {
        self.check_hosted()?;
        for (node, look) in &self.looks {
            let look = look.as_ref().map_err(|reason| self.silent(*node, reason))?;
            let Some(archive) = look.archive else {
                return Err(conflict(format!(
                    "node {node} archives nothing, so there is no past to derive anything from: set `archive` on all nodes"
                )));
            };
            let is_archived_from_birth = match archive.began_after {
                Some(after) => after == 0,
                None => archive.sealed.is_none() && look.purged == 0,
            };
            let is_younger = archive.began_after.is_some()
                && site.created.0 > archive.began_ms.saturating_add(CLOCKS_DIFFER_MS_MAX);
            if !is_archived_from_birth && !is_younger {
                return Err(conflict(match archive.began_after {
                    Some(_) => format!(
                        "the archive of partition {} begins at {}, after the first events of site {}",
                        self.group,
                        time_text(UnixMillis(archive.began_ms)),
                        self.site
                    ),
                    None => format!(
                        "the archive of partition {} holds nothing yet; `ringtail archive seal` on its leader's node begins it",
                        self.group
                    ),
                }));
            }
        }
        Ok(())
    }

    /// Refuses while a replica does not hold a generation.
    pub(super) fn check_complete(&self, generation: u32) -> Result<(), ApiError> {
        self.check_hosted()?;
        for (node, look) in &self.looks {
            let look = look.as_ref().map_err(|reason| self.silent(*node, reason))?;
            let is_complete =
                find(look, self.site, generation).is_some_and(|look| look.is_complete);
            if !is_complete {
                return Err(conflict(format!(
                    "node {node} does not hold generation {generation} of site {} yet",
                    self.site
                )));
            }
        }
        Ok(())
    }

    /// How far the replicas are with a generation.
    pub(super) fn document(&self, generation: u32) -> Map<String, Value> {
        let mut progress = 1.0_f64;
        let mut is_complete = !self.looks.is_empty();
        let mut events = 0;
        let replicas: Vec<Value> = self
            .looks
            .iter()
            .map(|(node, look)| {
                let found = look.as_ref().ok();
                let found = found.and_then(|look| find(look, self.site, generation));
                let share = found.map_or(0.0, share);
                progress = progress.min(share);
                is_complete &= found.is_some_and(|look| look.is_complete);
                events = events.max(found.map_or(0, |look| look.events));
                json!({
                    "node": node.to_string(),
                    "is_complete": found.is_some_and(|look| look.is_complete),
                    "progress": share,
                    "events": found.map(|look| look.events),
                    "error": look.as_ref().err(),
                })
            })
            .collect();
        let fields = [
            ("is_complete", json!(is_complete)),
            ("progress", json!(progress)),
            ("events", json!(events)),
            ("replicas", json!(replicas)),
        ];
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn check_hosted(&self) -> Result<(), ApiError> {
        if self.looks.is_empty() {
            let message = format!("partition {} has no place yet", self.group);
            return Err(ApiError::new(ErrorKind::Unavailable, message));
        }
        Ok(())
    }

    fn silent(&self, node: NodeId, reason: &str) -> ApiError {
        let message = format!(
            "node {node}, which holds partition {}, does not answer: {reason}",
            self.group
        );
        ApiError::new(ErrorKind::Unavailable, message)
    }
}

fn find(look: &GroupLook, site: SiteId, generation: u32) -> Option<&GenerationLook> {
    let mut looks = look.generations.iter();
    looks.find(|look| look.site == site.0 && look.generation == generation)
}

/// How much of a generation is built, 0 to 1.
fn share(look: &GenerationLook) -> f64 {
    match look {
        GenerationLook {
            is_complete: true, ..
        } => 1.0,
        GenerationLook { through: 0, .. } => 0.0,
        // The rest comes with the end of the build.
        look => (look.built as f64 / look.through as f64).min(0.99),
    }
}

fn conflict(message: String) -> ApiError {
    ApiError::new(ErrorKind::Conflict, message)
}
