//! The rows of group 0 in its checkpoint store.
//!
//! | name | value |
//! |---|---|
//! | `head` | applied position, next ids, bounds of the audit log |
//! | `membership` | the group's membership, as the raft adapter encodes it |
//! | `cluster` | the ring |
//! | `site/` id | a site |
//! | `key/` id | a key |
//! | `node/` id | a node, in its second version since nodes have peers |
//! | `ring` | last node and token, replication factor, feature gate; absent in a ring that never had a second node |
//! | `token/` id | a join token |
//! | `group/` id | where a group is; absent while it is where the ring began, on its first node alone |
//! | `past/` id | the generations of a site that was reprocessed |
//! | `audit/` number | a record of the audit log |
//!
//! Ids are eight bytes, big-endian. Each value is a version byte, then postcard; `membership` is a version byte, then
//! the adapter's bytes.

use std::ops::ControlFlow;

use bytes::{BufMut, Bytes, BytesMut};
use ringtail_checkpoint::{GroupKey, GroupSnapshot};
use ringtail_proto::{GroupId, NodeId, SiteId, UnixMillis};
use ringtail_raft::LogPosition;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{JoinTokenId, KeyId, MetadataError, Node, node, versioned};

pub(crate) const HEAD: GroupKey = GroupKey::named("head");
pub(crate) const MEMBERSHIP: GroupKey = GroupKey::named("membership");
pub(crate) const CLUSTER: GroupKey = GroupKey::named("cluster");
pub(crate) const RING: GroupKey = GroupKey::named("ring");

const SITE: &[u8] = b"site/";
const KEY: &[u8] = b"key/";
const NODE: &[u8] = b"node/";
const TOKEN: &[u8] = b"token/";
const PLACEMENT: &[u8] = b"group/";
const PAST: &[u8] = b"past/";
const AUDIT: &[u8] = b"audit/";

/// The version of a node's row since nodes have peers.
const NODE_VERSION: u8 = 2;

/// The row that every batch writes: what has been applied, and what comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Position of the last entry applied.
    pub(crate) position: Option<StoredPosition>,
    /// Ids are assigned from 1 and never used again.
    pub(crate) last_site: u64,
    pub(crate) last_goal: u64,
    pub(crate) last_key: u64,
    /// The audit log holds the records `audit_first..audit_next`.
    pub(crate) audit_first: u64,
    pub(crate) audit_next: u64,
    /// Time of the last entry; it never falls.
    pub(crate) at: UnixMillis,
}

/// A log position in the form that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPosition {
    term: u64,
    node: u64,
    index: u64,
}

impl From<LogPosition> for StoredPosition {
    fn from(position: LogPosition) -> Self {
        Self {
            term: position.term,
            node: position.node.0,
            index: position.index.0,
        }
    }
}

impl From<StoredPosition> for LogPosition {
    fn from(position: StoredPosition) -> Self {
        Self {
            term: position.term,
            node: NodeId(position.node),
            index: position.index.into(),
        }
    }
}

pub(crate) fn site_row(site: SiteId) -> GroupKey {
    numbered(SITE, site.0)
}

pub(crate) fn key_row(key: KeyId) -> GroupKey {
    numbered(KEY, key.0)
}

pub(crate) fn node_row(node: NodeId) -> GroupKey {
    numbered(NODE, node.0)
}

pub(crate) fn token_row(token: JoinTokenId) -> GroupKey {
    numbered(TOKEN, token.0)
}

pub(crate) fn placement_row(group: GroupId) -> GroupKey {
    numbered(PLACEMENT, u64::from(group.0))
}

pub(crate) fn past_row(site: SiteId) -> GroupKey {
    numbered(PAST, site.0)
}

pub(crate) fn audit_row(number: u64) -> GroupKey {
    numbered(AUDIT, number)
}

/// The families of numbered rows.
#[derive(Clone, Copy)]
pub(crate) enum Family {
    Sites,
    Keys,
    Nodes,
    Tokens,
    Placements,
    Pasts,
    Audit,
}

impl Family {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Sites => SITE,
            Self::Keys => KEY,
            Self::Nodes => NODE,
            Self::Tokens => TOKEN,
            Self::Placements => PLACEMENT,
            Self::Pasts => PAST,
            Self::Audit => AUDIT,
        }
    }
}

/// Reads one row.
pub(crate) fn read<T: DeserializeOwned>(
    snapshot: &dyn GroupSnapshot,
    what: &str,
    key: &GroupKey,
) -> Result<Option<T>, MetadataError> {
    let value = snapshot.get(key).map_err(MetadataError::storage)?;
    value
        .map(|value| versioned::decode(what, &value))
        .transpose()
}

/// Reads the rows of a family from a number on, until `visit` breaks.
pub(crate) fn read_family<T: DeserializeOwned>(
    snapshot: &dyn GroupSnapshot,
    what: &str,
    family: Family,
    first: u64,
    visit: impl FnMut(u64, T) -> ControlFlow<()>,
) -> Result<(), MetadataError> {
    let decode = |value: &[u8]| versioned::decode(what, value);
    read_family_with(snapshot, family, first, decode, visit)
}

/// Reads all nodes, of either version.
pub(crate) fn read_nodes(
    snapshot: &dyn GroupSnapshot,
    mut visit: impl FnMut(Node),
) -> Result<(), MetadataError> {
    read_family_with(snapshot, Family::Nodes, 0, node_from_row, |_, node| {
        visit(node);
        ControlFlow::Continue(())
    })
}

fn read_family_with<T>(
    snapshot: &dyn GroupSnapshot,
    family: Family,
    first: u64,
    decode: impl Fn(&[u8]) -> Result<T, MetadataError>,
    mut visit: impl FnMut(u64, T) -> ControlFlow<()>,
) -> Result<(), MetadataError> {
    let mut fault = None;
    let from = numbered(family.prefix(), first);
    let to = numbered(family.prefix(), u64::MAX);
    snapshot
        .range(&from, &to, &mut |key, value| match decode(&value) {
            Ok(row) => visit(number_of(&key), row),
            Err(error) => {
                fault = Some(error);
                ControlFlow::Break(())
            }
        })
        .map_err(MetadataError::storage)?;
    fault.map_or(Ok(()), Err)
}

/// The number at the end of a row's name.
fn number_of(key: &GroupKey) -> u64 {
    match key {
        GroupKey::Group(name) => name
            .last_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes)),
        GroupKey::Site(..) => 0,
    }
}

/// The value of a node's row.
pub(crate) fn node_to_row(node: &Node) -> Bytes {
    versioned::encode_as(NODE_VERSION, node)
}

/// Reads a node's row of either version.
fn node_from_row(row: &[u8]) -> Result<Node, MetadataError> {
    match row.first() {
        Some(&NODE_VERSION) => versioned::decode_as(NODE_VERSION, "node row", row),
        _ => versioned::decode::<node::alone::NodeRow>("node row", row).map(Node::from),
    }
}

/// The membership row's value.
pub(crate) fn membership_to_row(membership: &Bytes) -> Bytes {
    let mut row = BytesMut::with_capacity(1 + membership.len());
    row.put_u8(versioned::FORMAT_VERSION);
    row.put_slice(membership);
    row.freeze()
}

/// Reads what [`membership_to_row`] wrote.
pub(crate) fn membership_from_row(row: Bytes) -> Result<Bytes, MetadataError> {
    match row.first() {
        Some(&versioned::FORMAT_VERSION) => Ok(row.slice(1..)),
        other => Err(MetadataError::unreadable(
            "membership row",
            format!("its version is {other:?}"),
        )),
    }
}

fn numbered(prefix: &[u8], number: u64) -> GroupKey {
    let mut name = BytesMut::with_capacity(prefix.len() + 8);
    name.put_slice(prefix);
    name.put_u64(number);
    GroupKey::Group(name.freeze())
}
