//! Who is in the simulated ring, and what of it runs just now.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use ringtail_metadata::Metadata;
use ringtail_proto::{Event, NodeId, SiteId};
use ringtail_raft::RaftNode;
use ringtail_router::{Applied, Durability, Router};
use tokio::sync::{mpsc, oneshot};

use super::{bugs::Bug, host::Host, node::Partitions, trace::Trace};

/// The parts of a node that runs.
pub(crate) struct Running {
    pub(crate) node: NodeId,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) metadata: Metadata,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) router: Router,
}

/// Events of one site that somebody brings to a node.
pub(crate) struct Offer {
    pub(crate) site: SiteId,
    pub(crate) events: Vec<Event>,
    pub(crate) answer: oneshot::Sender<Offered>,
}

/// The node's answer: a receipt, or none.
pub(crate) type Offered = Result<Durability, String>;

/// The simulated ring.
pub(crate) struct Ring {
    pub(crate) bug: Bug,
    trace: Trace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<u64, Arc<Host>>,
    addresses: BTreeMap<IpAddr, u64>,
    nodes: BTreeMap<u64, NodeId>,
    running: BTreeMap<u64, (Arc<Running>, mpsc::UnboundedSender<Offer>)>,
    violations: Vec<String>,
}

impl Ring {
    pub(crate) fn new(bug: Bug) -> Arc<Self> {
        Arc::new(Self {
            bug,
            trace: Trace::default(),
            state: Mutex::default(),
        })
    }

    pub(crate) fn note(&self, line: impl AsRef<str>) {
        self.trace.note(line.as_ref());
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Something that must not be.
    pub(crate) fn violated(&self, what: String) {
        self.note(format!("VIOLATION {what}"));
        self.state.lock().violations.push(what);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.state.lock().violations.clone()
    }

    pub(crate) fn add_host(&self, host: Arc<Host>, address: IpAddr) {
        let mut state = self.state.lock();
        state.addresses.insert(address, host.number);
        state.hosts.insert(host.number, host);
    }

    pub(crate) fn host(&self, number: u64) -> Option<Arc<Host>> {
        self.state.lock().hosts.get(&number).cloned()
    }

    pub(crate) fn hosts(&self) -> Vec<Arc<Host>> {
        self.state.lock().hosts.values().cloned().collect()
    }

    pub(crate) fn joined(&self, host: u64, node: NodeId) {
        self.note(format!("host {host} joined as node {node}"));
        self.state.lock().nodes.insert(host, node);
    }

    /// The node at an address, as its certificate would say.
    pub(crate) fn node_at(&self, address: IpAddr) -> Option<NodeId> {
        let state = self.state.lock();
        let host = state.addresses.get(&address)?;
        Some(state.running.get(host).map_or_else(
            || state.nodes.get(host).copied().unwrap_or(NodeId(*host)),
            |(running, _)| running.node,
        ))
    }

    /// What runs, by host.
    pub(crate) fn running(&self) -> Vec<(u64, Arc<Running>)> {
        let state = self.state.lock();
        let running = state.running.iter();
        running
            .map(|(host, (running, _))| (*host, Arc::clone(running)))
            .collect()
    }

    /// Any node that runs.
    pub(crate) fn anybody(&self) -> Option<Arc<Running>> {
        let state = self.state.lock();
        let first = state.running.values().next();
        first.map(|(running, _)| Arc::clone(running))
    }

    /// The process on a host is no more.
    pub(crate) fn stopped(&self, host: u64, why: &str) {
        self.note(format!("node {host} stops: {why}"));
        let stopped = self.state.lock().running.remove(&host);
        drop(stopped);
    }

    /// Takes what is brought to the node of this host, as long as its process lives.
    pub(crate) fn front(
        self: &Arc<Self>,
        host: u64,
        running: &Arc<Running>,
    ) -> impl Future<Output = ()> + use<> {
        let (sender, mut offers) = mpsc::unbounded_channel::<Offer>();
        let entry = (Arc::clone(running), sender);
        self.state.lock().running.insert(host, entry);
        let (ring, router) = (Arc::clone(self), running.router.clone());
        async move {
            while let Some(offer) = offers.recv().await {
                tokio::task::spawn_local(answer(Arc::clone(&ring), router.clone(), offer));
            }
        }
    }

    /// Brings events to the node of a host. An error means that nobody knows what becomes of them.
    pub(crate) async fn offer(&self, host: u64, site: SiteId, events: Vec<Event>) -> Offered {
        let (answer, answered) = oneshot::channel();
        let offer = Offer {
            site,
            events,
            answer,
        };
        let sent = {
            let state = self.state.lock();
            let front = state.running.get(&host);
            front.is_some_and(|(_, front)| front.send(offer).is_ok())
        };
        if !sent {
            return Err("nobody listens".to_owned());
        }
        answered
            .await
            .unwrap_or_else(|_| Err("the node went away".to_owned()))
    }
}

/// What a gateway does with events, after it has read them: the receipt is sent when the router gives it.
async fn answer(ring: Arc<Ring>, router: Router, offer: Offer) {
    let Offer {
        site,
        events,
        answer,
    } = offer;
    let mut submission = match router.submit(site, events, None) {
        Ok(submission) => submission,
        Err(error) => return drop(answer.send(Err(error.to_string()))),
    };
    let committed = submission
        .committed()
        .await
        .map_err(|error| error.to_string());
    let is_committed = committed.is_ok();
    // Whoever asked may have given up.
    drop(answer.send(committed));
    let applied = submission.applied().await;
    if let (true, Ok(Applied::Verdicts(verdicts))) = (is_committed, applied) {
        let dropped = verdicts
            .iter()
            .find(|verdict| matches!(verdict, ringtail_proto::Verdict::Dropped(_)));
        if let Some(dropped) = dropped {
            ring.violated(format!(
                "an event of site {site} was not counted: {dropped:?}"
            ));
        }
    }
}
