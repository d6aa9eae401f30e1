//! The streams to all nodes that this node's groups talk to.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ringtail_proto::NodeId;
use tokio::sync::{mpsc, watch};

use super::Channels;
use super::pipe::Pipe;

/// Streams to other nodes, opened at the first need.
pub(crate) struct Links {
    channels: Channels,
    links: Mutex<HashMap<NodeId, Arc<Link>>>,
    opened: mpsc::UnboundedSender<(NodeId, watch::Receiver<bool>)>,
}

/// The two streams to one node.
pub(super) struct Link {
    pub(super) appends: Pipe,
    pub(super) heartbeats: Pipe,
}

/// Hears of every node to which streams are opened, and whether its stream stands.
pub(crate) type OpenedLinks = mpsc::UnboundedReceiver<(NodeId, watch::Receiver<bool>)>;

impl Links {
    pub(crate) fn new(channels: Channels) -> (Arc<Self>, OpenedLinks) {
        let (opened, receiver) = mpsc::unbounded_channel();
        let links = Self {
            channels,
            links: Mutex::default(),
            opened,
        };
        (Arc::new(links), receiver)
    }

    pub(super) fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The streams to a node.
    pub(super) fn link(&self, node: NodeId) -> Arc<Link> {
        let mut links = self.links.lock();
        let link = links.entry(node).or_insert_with(|| {
            let link = Link {
                appends: Pipe::start(node, self.channels.clone()),
                heartbeats: Pipe::start(node, self.channels.clone()),
            };
            // Nobody listens once the node shuts down.
            let _ = self.opened.send((node, link.appends.watch()));
            Arc::new(link)
        });
        link.clone()
    }

    /// Has streams to a node, though nothing is to be sent.
    pub(crate) fn keep(&self, node: NodeId) {
        drop(self.link(node));
    }

    /// Closes the streams to nodes that are in the ring no more.
    pub(crate) fn forget(&self, is_gone: impl Fn(NodeId) -> bool) {
        self.links.lock().retain(|node, _| !is_gone(*node));
    }
}
