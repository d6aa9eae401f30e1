//! The placement that readers see: rows, and what their absence means.

use std::{collections::BTreeMap, sync::Arc};

use ringtail_proto::{GroupId, NodeId};

use crate::{GroupPlacement, Node};

/// Where each group is, by group.
pub type PlacementMap = BTreeMap<GroupId, GroupPlacement>;

/// The group of the metadata, which every node of the ring hosts.
pub const METADATA_GROUP: GroupId = GroupId(0);

/// A group without a row is where the ring began: on its first node alone. The metadata are on every node.
pub(crate) fn placement_of<'a>(
    groups: Option<u32>,
    nodes: impl Iterator<Item = &'a Arc<Node>> + Clone,
    rows: &BTreeMap<GroupId, Arc<GroupPlacement>>,
) -> PlacementMap {
    let (Some(groups), Some(first)) = (groups, nodes.clone().map(|node| node.id).min()) else {
        return PlacementMap::new();
    };
    let place = |group: GroupId| {
        let row = rows.get(&group).map(|row| GroupPlacement::clone(row));
        let mut placement = row.unwrap_or_else(|| GroupPlacement::alone(first));
        if group == METADATA_GROUP {
            placement.hosts = members(nodes.clone());
        }
        (group, placement)
    };
    (0..=groups).map(GroupId).map(place).collect()
}

fn members<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> Vec<NodeId> {
    let members = nodes.filter(|node| node.is_member());
    members.map(|node| node.id).collect()
}
