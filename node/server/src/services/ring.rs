//! The ring for operators: its nodes, where groups are, tokens for new nodes, and the ways out.

mod document;

use std::{collections::BTreeMap, sync::Arc};

use ringtail_metadata::{
    Command, Metadata, Node, NodeState, PeerReach, Scope, reconcile::replication_factor,
};
use ringtail_peers::PeerState;
use ringtail_proto::{ErrorKind, NodeId, wire::peer::NodeLookReply};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Caller, Time};
use crate::{
    Partitions,
    api_error::ApiError,
    ring::{Surveyor, Vitals},
};
use document::Seen;

const HOUR_MS: u64 = 3_600_000;
/// How long a join token is good when nobody says.
const TOKEN_HOURS: u32 = 24;
/// Records of the audit log in one answer.
const AUDIT_RECORDS_MAX: usize = 10_000;
/// The reason that the audit log shows.
const WHY: &str = "asked through the API";

/// Shows and changes the ring.
#[derive(Clone)]
pub(crate) struct Ring {
    pub(crate) access: Access,
    pub(crate) metadata: Metadata,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) surveyor: Surveyor,
    pub(crate) vitals: Arc<Vitals>,
    /// What new nodes know the ring by.
    pub(crate) fingerprint: Arc<str>,
}

/// A join token to be made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewJoinToken {
    pub(crate) name: String,
    pub(crate) expires_hours: Option<u32>,
}

/// A change of the ring's settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RingChange {
    pub(crate) replicas_max: u8,
}

impl Ring {
    /// Makes a token for one node; its text is shown this once.
    pub(crate) async fn create_token(
        &self,
        caller: &Caller,
        token: &NewJoinToken,
    ) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        self.can_be_joined()?;
        let lifetime_ms = u64::from(token.expires_hours.unwrap_or(TOKEN_HOURS)) * HOUR_MS;
        let made = self
            .metadata
            .create_join_token(&token.name, lifetime_ms, &caller.actor(), WHY)
            .await?;
        let (token, secret) = made;
        Ok(json!({
            "id": token.id.0.to_string(),
            "name": token.name,
            "expires": Time(token.expires),
            "token": format!("{}.{}", secret.expose(), self.fingerprint),
        }))
    }

    /// A token is of no use while nobody finds the nodes that are there.
    fn can_be_joined(&self) -> Result<(), ApiError> {
        let nodes = self.metadata.directory().nodes();
        let unreachable = nodes
            .iter()
            .find(|node| node.is_member() && node.addresses.peer_reach() == PeerReach::Nowhere);
        let Some(node) = unreachable else {
            return Ok(());
        };
        let message = format!(
            "peer address {} of node {} tells no other node where to call: start it with peer_advertised first",
            node.addresses.peer, node.id
        );
        Err(ApiError::new(ErrorKind::Conflict, message))
    }

    /// Nodes, groups and the plan; what only leaders know is asked from them.
    pub(crate) async fn document(&self, caller: &Caller) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        Ok(self.look().await.ring())
    }

    /// Lets a node's groups move away, or takes it back.
    pub(crate) async fn set_state(
        &self,
        caller: &Caller,
        node: u64,
        state: NodeState,
        is_forced: bool,
    ) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        let node = NodeId(node);
        let before = self.metadata.directory();
        let command = Command::SetNodeState {
            node,
            state,
            is_forced,
        };
        let mut warnings = warnings(&before.nodes(), before.replicas_max(), node, state);
        if state == NodeState::Left {
            let look = self.surveyor.ask_one(node).await;
            let is_reached = self.surveyor.peers.state(node) == PeerState::Reached;
            warnings.extend(spool_left(node, look, is_reached, is_forced)?);
        }
        self.metadata.execute(command, &caller.actor(), WHY).await?;
        let found = self.metadata.directory().node(node).ok_or_else(|| {
            ApiError::new(ErrorKind::NotFound, format!("there is no node {node}"))
        })?;
        let mut document = self.look().await.node(&found);
        if let Some(fields) = document.as_object_mut() {
            fields.insert("warnings".to_owned(), json!(warnings));
        }
        Ok(document)
    }

    /// Who changed what of the ring, of sites and of keys, when and why, newest first.
    pub(crate) fn audit(&self, caller: &Caller, limit: usize) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        let records = self.metadata.audit(limit.min(AUDIT_RECORDS_MAX))?;
        let records = records.into_iter().map(|record| {
            json!({
                "index": record.index,
                "at": Time(record.at),
                "who": record.who,
                "what": record.what,
                "why": record.why,
                "refused": record.refused.map(|error| error.to_string()),
            })
        });
        Ok(json!({"records": records.collect::<Vec<_>>()}))
    }

    /// The canonical state hash of every site of every replica here that is whole, each with the index that it belongs
    /// to: at equal indexes replicas have equal hashes. Reads all sites, so it is for checks and not for dashboards.
    pub(crate) async fn hashes(&self, caller: &Caller) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        let mut groups = Vec::new();
        for group in self.partitions.hosted() {
            // A replica that is on its way here or away has no hashes to compare.
            if let Ok(hashes) = self.partitions.site_hashes(group).await {
                let sites = hashes.sites.iter();
                let sites = sites.map(|(site, hash)| (site.to_string(), hex::encode(hash)));
                groups.push(json!({
                    "group": group,
                    "index": hashes.index,
                    "sites": sites.collect::<BTreeMap<_, _>>(),
                    "building": hashes.building.iter().map(ToString::to_string).collect::<Vec<_>>(),
                }));
            }
        }
        Ok(json!({"groups": groups}))
    }

    /// Sets the most replicas of a group.
    pub(crate) async fn change(
        &self,
        caller: &Caller,
        change: &RingChange,
    ) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        let replicas_max = change.replicas_max;
        let command = Command::SetReplicationFactor { replicas_max };
        self.metadata.execute(command, &caller.actor(), WHY).await?;
        Ok(json!({"replicas_max": self.metadata.directory().replicas_max()}))
    }

    async fn look(&self) -> Seen<'_> {
        Seen {
            metadata: &self.metadata,
            vitals: &self.vitals,
            survey: self.surveyor.ask().await,
        }
    }
}

/// What a node that goes for good takes with it of events that were acknowledged: refused while it is known to hold any, or
/// runs and could be asked again; told when nobody can know.
fn spool_left(
    leaving: NodeId,
    look: Result<NodeLookReply, String>,
    is_reached: bool,
    is_forced: bool,
) -> Result<Option<String>, ApiError> {
    let lost = "are lost with it unless another node holds a copy";
    match look {
        Ok(reply) if reply.spool_files == 0 => Ok(None),
        Ok(reply) => {
            let files = reply.spool_files;
            let message = format!(
                "{files} files of acknowledged events wait on node {leaving} for a leader and {lost}"
            );
            match is_forced {
                true => Ok(Some(message)),
                false => Err(ApiError::new(
                    ErrorKind::Conflict,
                    format!("{message}: wait until they are forwarded, or force it"),
                )),
            }
        }
        Err(reason) if is_reached && !is_forced => Err(ApiError::new(
            ErrorKind::Conflict,
            format!(
                "node {leaving} runs and did not say what waits in its spool ({reason}): ask again, or force it"
            ),
        )),
        Err(_) => Ok(Some(format!(
            "node {leaving} does not answer: acknowledged events that wait in its spool, if there are any, {lost}"
        ))),
    }
}

/// What an operator should know before a node goes: fewer nodes may mean fewer replicas.
fn warnings(
    nodes: &[Arc<Node>],
    replicas_max: usize,
    leaving: NodeId,
    state: NodeState,
) -> Vec<String> {
    if !matches!(state, NodeState::Draining | NodeState::Left) {
        return Vec::new();
    }
    let active = nodes.iter().filter(|node| node.is_active());
    let before = replication_factor(active.clone().count(), replicas_max);
    let left = active.filter(|node| node.id != leaving).count();
    let after = replication_factor(left, replicas_max);
    if after >= before {
        return Vec::new();
    }
    let instead = match after {
        1 => "one replica, which is lost with its node,".to_owned(),
        more => format!("{more} replicas"),
    };
    vec![format!(
        "with {left} active nodes left each group keeps {instead} instead of {before}; add a node first"
    )]
}

#[cfg(test)]
mod tests {
    use ringtail_metadata::NodeAddresses;
    use ringtail_proto::{UnixMillis, wire::peer::NodeLookReply};

    use super::*;

    fn check(states: &[NodeState], leaving: u64, state: NodeState, expect: &str) {
        let node = |(position, state): (usize, &NodeState)| {
            Arc::new(Node {
                id: NodeId(position as u64 + 1),
                joined: UnixMillis(0),
                addresses: NodeAddresses::default(),
                zone: String::new(),
                state: *state,
                feature_level: 1,
            })
        };
        let nodes: Vec<_> = states.iter().enumerate().map(node).collect();
        let warned = warnings(&nodes, 3, NodeId(leaving), state).join(" ");
        assert_eq!(warned.is_empty(), expect.is_empty(), "{states:?}: {warned}");
        assert!(warned.contains(expect), "{states:?}: {warned}");
    }

    #[test]
    fn a_node_does_not_go_with_events_that_wait_on_it() {
        let left = |answer: Result<u64, &str>, is_reached, is_forced| {
            let look = answer.map(|spool_files| NodeLookReply {
                spool_files,
                ..NodeLookReply::default()
            });
            spool_left(
                NodeId(3),
                look.map_err(str::to_owned),
                is_reached,
                is_forced,
            )
            .map_err(|error| error.to_string())
        };
        let hiccup = left(Err("no answer within 1s"), true, false);
        assert!(hiccup.unwrap_err().contains("ask again"));
        assert_eq!(left(Ok(0), false, false), Ok(None));
        let refused = left(Ok(2), false, false).unwrap_err();
        assert!(
            refused.contains("2 files of acknowledged events"),
            "{refused}"
        );
        for (answer, expect) in [(Ok(2), "2 files"), (Err("silent"), "does not answer")] {
            let warning = left(answer, false, true).unwrap().unwrap();
            assert!(warning.contains(expect), "{warning}");
        }
    }

    #[test]
    fn fewer_replicas_are_told_before() {
        use NodeState::{Active, Draining, Left};
        let one = "with 2 active nodes left each group keeps one replica";
        check(&[Active; 3], 3, Draining, one);
        check(&[Active; 3], 3, Left, one);
        check(&[Active; 3], 3, Active, "");
        check(&[Active; 4], 3, Draining, "");
        check(&[Active, Active, Active, Draining], 4, Left, "");
        check(&[Active, Active], 2, Draining, "");
    }
}
