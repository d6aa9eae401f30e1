//! The rules for the places of groups, and for what a node's leaving does to them.

use ringtail_proto::{GroupId, NodeId};

use crate::{
    GroupPlacement, METADATA_GROUP, MetadataError, Outcome,
    decide::{Change, Decision, Rules},
    group_placement::set_of,
    reconcile::METADATA_VOTERS_MAX,
    ring_state::RingState,
};

impl Rules<'_> {
    pub(crate) fn set_replication_factor(
        &self,
        replicas_max: u8,
    ) -> Result<Decision, MetadataError> {
        self.cluster()?;
        let ring = self.directory.ring_state();
        let nodes = self.directory.nodes();
        let active = nodes.iter().filter(|node| node.is_active()).count();
        if ring.replicas_max == replicas_max {
            return Decision::unchanged(Outcome::Done);
        }
        let is_default = replicas_max == RingState::default().replicas_max;
        // The default grows into by itself; more than that is asked for by someone who should have the nodes.
        if !is_default && usize::from(replicas_max) > active {
            return Err(MetadataError::TooFewNodes {
                replicas: u32::from(replicas_max),
                nodes: active as u32,
            });
        }
        let changed = RingState {
            replicas_max,
            ..ring
        };
        Decision::change(Outcome::Done, Change::Ring(changed))
    }

    pub(crate) fn move_group(
        &self,
        group: GroupId,
        target: Vec<NodeId>,
    ) -> Result<Decision, MetadataError> {
        let place = self.place(group)?;
        let replicas_max = match group {
            METADATA_GROUP => METADATA_VOTERS_MAX,
            _ => self.directory.replicas_max(),
        };
        if target.len() > replicas_max {
            let reason = format!("{} nodes are more than the ring keeps", target.len());
            return Err(MetadataError::invalid("target", reason));
        }
        for id in &target {
            let node = self.member(*id)?;
            if !node.is_active() {
                return Err(MetadataError::NodeNotActive {
                    node: *id,
                    state: node.state,
                });
            }
        }
        if place.target == target {
            return Decision::unchanged(Outcome::Done);
        }
        Decision::placement(group, place.moved_to(group, target))
    }

    pub(crate) fn settle_group(
        &self,
        group: GroupId,
        revision: u64,
        voters: &[NodeId],
    ) -> Result<Decision, MetadataError> {
        let place = self.place(group)?;
        if place.revision != revision || set_of(voters) != set_of(&place.target) {
            return Err(MetadataError::MoveOutdated {
                group,
                revision: place.revision,
            });
        }
        if place.is_settled(group) {
            return Decision::unchanged(Outcome::Done);
        }
        Decision::placement(group, place.settled())
    }

    /// Nothing may be lost with the node: it holds nothing any more, or, when forced, each of its groups keeps a
    /// majority whoever votes in it by now.
    pub(crate) fn can_be_missed(&self, id: NodeId, is_forced: bool) -> Result<(), MetadataError> {
        let placement = self.directory.placement();
        let holds = |group: GroupId, place: &GroupPlacement| match group {
            METADATA_GROUP => place.voters.contains(&id) || place.target.contains(&id),
            _ => place.hosts.contains(&id),
        };
        let held: Vec<_> = placement
            .iter()
            .filter(|(group, place)| holds(**group, place))
            .collect();
        let Some((first, _)) = held.first() else {
            return Ok(());
        };
        for (group, place) in &held {
            self.keeps_majority(id, **group, place)?;
        }
        if is_forced {
            return Ok(());
        }
        Err(MetadataError::NodeHoldsGroups {
            node: id,
            groups: held.len() as u32,
            first: **first,
        })
    }

    /// The voters are those of before a move, or they include the target and perhaps some of before. The worst of the
    /// latter: of those of before only the ones that are gone.
    fn keeps_majority(
        &self,
        leaving: NodeId,
        group: GroupId,
        place: &GroupPlacement,
    ) -> Result<(), MetadataError> {
        if place.is_diverted {
            let node = leaving;
            return Err(MetadataError::GroupDiverted { node, group });
        }
        let is_gone = |id: &NodeId| {
            let node = self.directory.node(*id);
            *id == leaving || node.is_none_or(|node| !node.is_member())
        };
        let target = set_of(&place.target);
        let before = set_of(&place.voters);
        let gone = before.iter().filter(|id| is_gone(id)).copied();
        let worst = target.iter().copied().chain(gone).collect();
        for voters in [before, target, worst] {
            let remaining = voters.iter().filter(|id| !is_gone(id)).count();
            if voters.contains(&leaving) && 2 * remaining <= voters.len() {
                return Err(MetadataError::QuorumLost {
                    node: leaving,
                    group,
                    remaining: remaining as u32,
                    voters: voters.len() as u32,
                });
            }
        }
        Ok(())
    }

    fn place(&self, group: GroupId) -> Result<GroupPlacement, MetadataError> {
        let placement = self.directory.placement();
        let place = placement.get(&group).cloned();
        place.ok_or(MetadataError::UnknownGroup { group })
    }
}
