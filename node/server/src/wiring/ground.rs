//! What a node stands on: its store, its log with the groups in it, the way to the others, and the ring's metadata.

use std::{net::TcpListener, sync::Arc};

use ringtail_checkpoint::{CheckpointStore, EmbeddedOptions, EmbeddedStore};
use ringtail_log::{LocalDisk, LogOptions, SegmentLog};
use ringtail_metadata::{
    Actor, ClusterId, Description, METADATA_GROUP, Metadata, MetadataMachine, RingLink, Seams,
};
use ringtail_peers::{NodeCredentials, Peers};
use ringtail_proto::UnixMillis;
use ringtail_raft::{Channels, Peering, RaftNode, RaftOptions, Staging};
use ringtail_router::{Clock, SystemClock};

use super::{damaged, fail};
use crate::{
    data_directory::{DataDirectory, FOUNDER, Identity},
    exit::{Exit, ExitError},
    ring,
};

/// What everything else is built upon.
pub(super) struct Ground {
    pub(super) identity: Identity,
    pub(super) actor: Actor,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) credentials: Arc<NodeCredentials>,
    pub(super) peers: Peers,
    pub(super) store: Arc<dyn CheckpointStore>,
    pub(super) raft: Arc<RaftNode>,
    pub(super) metadata: Metadata,
}

impl Ground {
    /// Opens store, log and metadata.
    /// Purged log is kept aside unless it is archived.
    pub(super) async fn open(data: &DataDirectory, is_archived: bool) -> Result<Self, ExitError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let credentials = Arc::new(ring::credentials(data)?);
        metrics::gauge!("ringtail_replicate_certificate_expires_seconds")
            .set(credentials.expires_unix_seconds() as f64);
        let peers = Peers::new(&credentials).map_err(damaged)?;
        peers.set_addresses(&data.peers()?).map_err(damaged)?;
        let store = open_store(data)?;
        let raft = start_raft(data, &peers, is_archived)?;
        let metadata = open_metadata(&raft, &store, &peers, &clock).await?;
        Ok(Self {
            identity: data.identity.clone(),
            actor: Actor::new(format!("node {}", data.identity.node)),
            clock,
            credentials,
            metadata: metadata.with_first_guesses(peers.nodes()),
            peers,
            store,
            raft,
        })
    }

    /// Makes the ring or hears from it, and refuses what does not fit to it.
    pub(super) async fn belong(
        &self,
        data: &DataDirectory,
        partitions: u32,
        peer: &TcpListener,
        description: &Description,
    ) -> Result<(), ExitError> {
        let (raft, metadata) = (&self.raft, &self.metadata);
        let node = self.identity.node;
        if node == FOUNDER {
            let (identity, actor) = (&self.identity, &self.actor);
            ring::found(identity, partitions, raft, metadata, description, actor).await?;
        }
        ring::learn(node, raft, metadata, &self.credentials, peer, description).await?;
        self.check_address(description)?;
        self.check_cluster(data)
    }

    /// A node of several has to be found by the others.
    fn check_address(&self, description: &Description) -> Result<(), ExitError> {
        let nodes = self.metadata.directory().nodes();
        let is_another = |id| id != self.identity.node;
        let mut members = nodes.iter().filter(|node| node.is_member());
        match members.any(|member| is_another(member.id)) {
            true => ring::check_advertised(&description.addresses.peer),
            false => Ok(()),
        }
    }

    /// Store and identity have to be of the same ring.
    fn check_cluster(&self, data: &DataDirectory) -> Result<(), ExitError> {
        let cluster = ClusterId(self.identity.cluster.as_u128());
        let found = self.metadata.directory().cluster();
        let Some(found) = found.filter(|found| found.id != cluster) else {
            return Ok(());
        };
        let message = format!(
            "{} belongs to cluster {}, its store to cluster {}: parts of two data directories were mixed",
            data.path().display(),
            cluster,
            found.id
        );
        Err(ExitError::new(Exit::DataDirectory, message))
    }

    /// The way to the others.
    pub(super) fn channels(&self) -> Channels {
        channels(&self.peers)
    }
}

fn start_raft(
    data: &DataDirectory,
    peers: &Peers,
    is_archived: bool,
) -> Result<Arc<RaftNode>, ExitError> {
    let disk = Arc::new(LocalDisk);
    let log_options = LogOptions {
        keeps_purged: !is_archived,
        ..LogOptions::default()
    };
    let (log, report) =
        SegmentLog::open(disk.clone(), &data.log(), log_options).map_err(damaged)?;
    tracing::info!(?report, "log opened");
    let peering = Peering {
        channels: channels(peers),
        staging: Some(Staging::open(disk, &data.snapshots()).map_err(damaged)?),
    };
    let options = RaftOptions::new(data.identity.node);
    #[cfg(feature = "planted-bugs")]
    let options = crate::planted_bugs::raft_options(options);
    let raft = RaftNode::start(options, log, peering).map_err(fail)?;
    Ok(Arc::new(raft))
}

fn channels(peers: &Peers) -> Channels {
    let peers = peers.clone();
    Arc::new(move |node| peers.channel(node))
}

fn open_store(data: &DataDirectory) -> Result<Arc<dyn CheckpointStore>, ExitError> {
    let store = EmbeddedStore::open(&data.store(), EmbeddedOptions::default()).map_err(damaged)?;
    #[cfg(feature = "planted-bugs")]
    let store = crate::planted_bugs::store(Arc::new(store));
    #[cfg(not(feature = "planted-bugs"))]
    let store = Arc::new(store);
    Ok(store)
}

async fn open_metadata(
    raft: &RaftNode,
    store: &Arc<dyn CheckpointStore>,
    peers: &Peers,
    clock: &Arc<dyn Clock>,
) -> Result<Metadata, ExitError> {
    let machine = Arc::new(MetadataMachine::open(Arc::clone(store)).map_err(damaged)?);
    let opened = raft.open_group(METADATA_GROUP, machine.clone()).await;
    let group = opened.map_err(damaged)?;
    let seams = Arc::new(SystemSeams(Arc::clone(clock)));
    let link = Arc::new(RingLink::new(channels(peers)));
    Ok(Metadata::new(group, machine, seams).with_link(link))
}

struct SystemSeams(Arc<dyn Clock>);

impl Seams for SystemSeams {
    fn now(&self) -> UnixMillis {
        self.0.now()
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        bytes
    }
}
