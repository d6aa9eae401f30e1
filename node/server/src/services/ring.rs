//! The ring for operators: its nodes, where groups are, tokens for new nodes, and the ways out.

use std::{collections::BTreeMap, sync::Arc};

use ringtail_metadata::{
    Command, METADATA_GROUP, Metadata, Node, NodeState, Scope,
    reconcile::{PlanOptions, Reconciler, drain_progress},
};
use ringtail_proto::{ErrorKind, GroupId, NodeId};
use ringtail_raft::RaftNode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Caller, Time};
use crate::{Partitions, api_error::ApiError};

const HOUR_MS: u64 = 3_600_000;
/// How long a join token is good when nobody says.
const TOKEN_HOURS: u32 = 24;
/// The reason that the audit log shows.
const WHY: &str = "asked through the API";

/// Shows and changes the ring.
#[derive(Clone)]
pub(crate) struct Ring {
    pub(crate) access: Access,
    pub(crate) metadata: Metadata,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) partitions: Arc<Partitions>,
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

impl Ring {
    /// Makes a token for one node; its text is shown this once.
    pub(crate) async fn create_token(
        &self,
        caller: &Caller,
        token: &NewJoinToken,
    ) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
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

    /// Nodes, groups and the plan, as this node knows them.
    pub(crate) fn document(&self, caller: &Caller) -> Result<Value, ApiError> {
        caller.require(Scope::Admin, None)?;
        let directory = self.metadata.directory();
        let leaders = self.leaders();
        let placement = directory.placement();
        let plan = Reconciler::plan(&self.metadata, PlanOptions::default());
        let nodes = directory.nodes();
        let nodes = nodes.iter().map(|node| {
            let left = drain_progress(node.id, &placement, &leaders);
            node_document(node, &leaders, left.replicas.len())
        });
        let groups = placement.iter().map(|(group, place)| {
            json!({
                "group": group,
                "leader": leaders.get(group),
                "voters": place.voters,
                "target": place.target,
                "hosts": place.hosts,
                "settled": place.is_settled(*group),
            })
        });
        Ok(json!({
            "replicas_max": directory.replicas_max(),
            "feature_level": directory.feature_level(),
            "nodes": nodes.collect::<Vec<_>>(),
            "groups": groups.collect::<Vec<_>>(),
            "plan": {"done": plan.is_done(), "text": plan.to_string()},
        }))
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
        let command = Command::SetNodeState {
            node,
            state,
            is_forced,
        };
        self.metadata.execute(command, &caller.actor(), WHY).await?;
        let directory = self.metadata.directory();
        let leaders = self.leaders();
        let left = drain_progress(node, &directory.placement(), &leaders);
        let found = directory.node(node).ok_or_else(|| {
            ApiError::new(ErrorKind::NotFound, format!("there is no node {node}"))
        })?;
        Ok(node_document(&found, &leaders, left.replicas.len()))
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
                }));
            }
        }
        Ok(json!({"groups": groups}))
    }

    /// Leaders as this node knows them; of groups without a replica here nothing is known.
    fn leaders(&self) -> BTreeMap<GroupId, NodeId> {
        let groups = self.raft.groups();
        let led = groups
            .iter()
            .filter_map(|group| Some((group.id(), group.leader()?)));
        led.collect()
    }
}

fn node_document(node: &Node, leaders: &BTreeMap<GroupId, NodeId>, replicas: usize) -> Value {
    let leads = |group: GroupId| leaders.get(&group) == Some(&node.id);
    let led = leaders.keys().filter(|group| leads(**group)).count();
    json!({
        "id": node.id,
        "state": node.state.name(),
        "zone": node.zone,
        "http": node.addresses.http,
        "grpc": node.addresses.grpc,
        "peer": node.addresses.peer,
        "joined": Time(node.joined),
        "feature_level": node.feature_level,
        "leads": led,
        "leads_metadata": leads(METADATA_GROUP),
        "replicas": replicas,
    })
}
