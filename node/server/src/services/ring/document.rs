//! The ring as a document.

use std::collections::BTreeMap;

use ringtail_metadata::{
    GroupPlacement, METADATA_GROUP, Metadata, Node,
    reconcile::{PlanOptions, Reconciler, drain_progress},
};
use ringtail_proto::{GroupId, NodeId, wire::peer::GroupLook};
use serde_json::{Value, json};

use super::Time;
use crate::ring::{Survey, Vitals};

/// The ring at one moment: what the metadata say, and what the nodes do.
pub(super) struct Seen<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) vitals: &'a Vitals,
    pub(super) survey: Survey,
}

impl Seen<'_> {
    pub(super) fn ring(&self) -> Value {
        let directory = self.metadata.directory();
        let placement = directory.placement();
        let plan = Reconciler::plan(self.metadata, PlanOptions::default());
        let nodes = directory.nodes();
        let nodes = nodes.iter().map(|node| self.node(node));
        let groups = placement.iter();
        let groups = groups.map(|(group, place)| self.group(*group, place));
        let moves = plan.unsettled.iter();
        let moves = moves.filter_map(|group| Some(self.moving(*group, placement.get(group)?)));
        json!({
            "replicas_max": directory.replicas_max(),
            "feature_level": directory.feature_level(),
            "feature_gate": directory.feature_gate(),
            "nodes": nodes.collect::<Vec<_>>(),
            "groups": groups.collect::<Vec<_>>(),
            "plan": {
                "done": plan.is_done(),
                "text": plan.to_string(),
                "waiting": plan.all.moves.len(),
                "moves": moves.collect::<Vec<_>>(),
            },
        })
    }

    pub(super) fn node(&self, node: &Node) -> Value {
        let placement = self.metadata.directory().placement();
        let leaders = self.survey.leaders();
        let left = drain_progress(node.id, &placement, &leaders);
        let answer = self.survey.nodes.get(&node.id);
        let reply = answer.and_then(|answer| answer.as_ref().ok());
        json!({
            "id": node.id,
            "state": node.state.name(),
            "zone": node.zone,
            "http": node.addresses.http,
            "grpc": node.addresses.grpc,
            "peer": node.addresses.peer,
            "joined": Time(node.joined),
            "feature_level": node.feature_level,
            "heard": reply.is_some(),
            "silent_because": answer.and_then(|answer| answer.as_ref().err()),
            "health": reply.map(|reply| &reply.state),
            "version": reply.map(|reply| &reply.version),
            "clock_offset_ms": self.vitals.offset_ms(node.id),
            "leads": left.leads.len(),
            "leads_metadata": leaders.get(&METADATA_GROUP) == Some(&node.id),
            "replicas": left.replicas.len(),
            "spool_files": reply.map(|reply| reply.spool_files),
        })
    }

    fn group(&self, group: GroupId, place: &GroupPlacement) -> Value {
        let led = self.survey.leader_of(group);
        let (leader, look) = (led.map(|(node, _)| node), led.map(|(_, look)| look));
        let unknown = led
            .is_none()
            .then(|| self.survey.why_unknown(group, &place.voters));
        let members = |is_voter: bool| {
            let replicas = look.into_iter().flat_map(|look| &look.replicas);
            let members = replicas.filter(|replica| replica.is_voter == is_voter);
            members
                .map(|replica| NodeId(replica.node))
                .collect::<Vec<_>>()
        };
        let voters = match led {
            Some(_) => members(true),
            None => place.voters.clone(),
        };
        json!({
            "group": group,
            "leader": leader,
            "unknown": unknown,
            "term": look.map(|look| look.term),
            "last": look.map(|look| look.last),
            "committed": look.map(|look| look.committed),
            "applied": look.map(|look| look.applied),
            "voters": voters,
            "learners": members(false),
            "replicas": self.replicas(group, look),
            "target": place.target,
            "hosts": place.hosts,
            "settled": place.is_settled(group),
        })
    }

    /// Of each replica what it says itself and what the leader knows of it.
    fn replicas(&self, group: GroupId, leader: Option<&GroupLook>) -> Vec<Value> {
        let own = self.survey.of(group);
        let known = leader.into_iter().flat_map(|look| &look.replicas);
        let known: BTreeMap<NodeId, _> = known
            .map(|replica| (NodeId(replica.node), replica))
            .collect();
        let mut nodes: Vec<NodeId> = own.keys().chain(known.keys()).copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        let replica = |node: NodeId| {
            let applied = own.get(&node).map(|look| look.applied);
            let known = known.get(&node);
            let matched = known.and_then(|replica| replica.matched);
            let last = leader.map(|look| look.last);
            json!({
                "node": node,
                "voter": known.map(|replica| replica.is_voter),
                "applied": applied,
                "matched": matched,
                "lag": last.zip(matched).map(|(last, matched)| last.saturating_sub(matched)),
            })
        };
        nodes.into_iter().map(replica).collect()
    }

    /// How far a group on its way has come: how much of the leader's log each node that is to hold it has.
    fn moving(&self, group: GroupId, place: &GroupPlacement) -> Value {
        let look = self.survey.leader_of(group).map(|(_, look)| look);
        let arrival = |node: &NodeId| {
            let replicas = look.into_iter().flat_map(|look| &look.replicas);
            let replica = replicas.clone().find(|replica| replica.node == node.0);
            let (matched, is_voter) =
                replica.map_or((None, false), |replica| (replica.matched, replica.is_voter));
            let percent = look.zip(matched).map(|(look, matched)| {
                // Before the log's beginning a snapshot is on its way, whose size nobody knows.
                let (begin, end) = (look.purged, look.last.max(1));
                match matched < begin {
                    true => 0,
                    false => 100 * (matched.min(end)) / end,
                }
            });
            json!({"node": node, "voter": is_voter, "matched": matched, "percent": percent})
        };
        let target = place.target.iter().map(arrival);
        json!({
            "group": group,
            "from": place.voters,
            "to": place.target,
            "last": look.map(|look| look.last),
            "nodes": target.collect::<Vec<_>>(),
        })
    }
}
