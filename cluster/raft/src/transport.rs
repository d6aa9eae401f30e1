//! How the groups of one node reach their replicas on other nodes.
//!
//! All groups share one connection to each node. On it one stream carries the appends of all groups and another their
//! heartbeats, so that a long append never keeps a leader's sign of life waiting; votes and transfers of leadership are
//! calls of their own. What lies in memory for a slow node is bounded, and a node that does not answer costs only
//! the appends to it.

mod connection;
mod failure_detector;
mod inbound;
mod links;
mod pipe;
mod service;
mod wire;

use std::sync::Arc;

use ringtail_proto::NodeId;
use tonic::transport::Channel;

pub(crate) use connection::{IsBacked, Network};
pub(crate) use failure_detector::run as detect_failures;
pub(crate) use links::Links;
pub(crate) use service::RaftService;
pub(crate) use wire::{MESSAGE_BYTES_MAX, from_log_id, from_vote, to_log_id, to_vote};

/// The connection to a node, when it is known. Connecting and reconnecting are the channel's business.
pub type Channels = Arc<dyn Fn(NodeId) -> Option<Channel> + Send + Sync>;

/// The connections of a ring of one.
#[must_use]
pub fn no_channels() -> Channels {
    Arc::new(|_node| None)
}
