//! All Raft groups of this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::blocking::spawn_blocking;
use crate::candidacy::Candidacy;
use openraft::Config;
use parking_lot::Mutex;
use ringtail_log::{GroupLog, LogError, SegmentLog};
use ringtail_proto::wire::peer::raft_server::{Raft as RaftRpc, RaftServer};
use ringtail_proto::{GroupId, NodeId};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::applied_state::AppliedState;
use crate::convert;
use crate::error::RaftError;
use crate::failure::{self, Failure};
use crate::group::Group;
use crate::heartbeat;
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::machine_adapter::MachineAdapter;
use crate::options::RaftOptions;
use crate::snapshot::Staging;
use crate::transport::{self, Channels, IsBacked, Links, Network, RaftService, no_channels};
use crate::types::Raft;

/// All Raft groups of this process: one log, one heartbeat timer, one connection to each other node.
pub struct RaftNode {
    options: Arc<RaftOptions>,
    config: Arc<Config>,
    log: Arc<SegmentLog>,
    groups: Arc<Groups>,
    candidacy: Arc<Candidacy>,
    links: Arc<Links>,
    staging: Option<Staging>,
    proposal_bytes: Arc<Semaphore>,
    tasks: Vec<JoinHandle<()>>,
    stopped: watch::Sender<bool>,
    failure: Failure,
}

/// What the groups need to have members on other nodes.
pub struct Peering {
    /// The connections.
    pub channels: Channels,
    /// Where snapshots arrive; a node without takes none.
    pub staging: Option<Staging>,
}

impl Peering {
    /// For a ring that stays one node.
    #[must_use]
    pub fn none() -> Self {
        Self {
            channels: no_channels(),
            staging: None,
        }
    }
}

/// The open groups; `None` while a group is being opened.
pub(crate) type Groups = Mutex<BTreeMap<GroupId, Option<Group>>>;

impl RaftNode {
    /// Starts without groups. Must be called within a tokio runtime.
    pub fn start(
        options: RaftOptions,
        log: Arc<SegmentLog>,
        peering: Peering,
    ) -> Result<Self, RaftError> {
        options.validate()?;
        let config = options.openraft_config()?;
        let groups = Arc::new(Groups::default());
        let (links, opened) = Links::new(peering.channels);
        let beats = heartbeat::run(groups.clone(), links.clone(), options.heartbeat_interval);
        // Twice the longest time that a lease and an election take.
        let lasting = 4 * options.election_timeout_max;
        let detector = transport::detect_failures(options.node, groups.clone(), opened, lasting);
        Ok(Self {
            proposal_bytes: Arc::new(Semaphore::new(options.node_proposal_bytes_max)),
            options: Arc::new(options),
            config,
            log,
            tasks: vec![tokio::spawn(beats), tokio::spawn(detector)],
            groups,
            candidacy: Arc::default(),
            links,
            staging: peering.staging,
            stopped: watch::Sender::new(false),
            failure: Arc::default(),
        })
    }

    /// The service through which other nodes reach this node's groups. Serve it to nodes of the ring only.
    #[must_use]
    pub fn service(&self) -> RaftServer<impl RaftRpc> {
        let stopped = self.stopped.subscribe();
        RaftService::server(self.groups.clone(), self.staging.clone(), stopped)
    }

    /// From now on this node comes to lead no group: it stands for no election and takes over from nobody. What it leads
    /// it leads on, until somebody else does.
    pub fn withdraw_candidacy(&self) {
        self.candidacy.withdraw();
        self.groups().iter().for_each(Group::follow_candidacy);
    }

    /// Ends the streams to nodes that are in the ring no more.
    pub fn forget_nodes(&self, is_gone: impl Fn(NodeId) -> bool) {
        self.links.forget(is_gone);
    }

    /// Stops a group on this node; what its log holds stays. Proposals that are not done end in doubt.
    ///
    /// # Errors
    /// When the group had failed before.
    pub async fn close_group(&self, group: GroupId) -> Result<(), RaftError> {
        let closed = self.groups.lock().remove(&group).flatten();
        let Some(closed) = closed else {
            return Ok(());
        };
        closed.shut_down().await?;
        if let Some(staging) = &self.staging
            && let Err(error) = staging.drop_group(group).await
        {
            tracing::warn!(%group, %error, "what is left of a snapshot stays on the disk");
        }
        Ok(())
    }

    /// Opens a group: applies what is known to be committed and not yet in the machine, then takes part in the group.
    ///
    /// A group without members waits for [`Group::initialize_single`]; a group whose only member is this node elects
    /// it at once. [`Group::ready`] waits until the group can serve.
    pub async fn open_group(
        &self,
        group: GroupId,
        machine: Arc<dyn Machine>,
    ) -> Result<Group, RaftError> {
        {
            let mut groups = self.groups.lock();
            if groups.contains_key(&group) {
                return Err(RaftError::AlreadyOpen(group));
            }
            groups.insert(group, None);
        }
        let mut reservation = Reservation {
            groups: &self.groups,
            group,
            is_used: false,
        };
        let opened = self.open_reserved(group, machine).await?;
        self.groups.lock().insert(group, Some(opened.clone()));
        // It may have been withdrawn while the group was being opened.
        opened.follow_candidacy();
        reservation.is_used = true;
        tokio::spawn(failure::watch(
            opened.clone(),
            self.groups.clone(),
            self.stopped.subscribe(),
            self.failure.clone(),
        ));
        Ok(opened)
    }

    async fn open_reserved(
        &self,
        group: GroupId,
        machine: Arc<dyn Machine>,
    ) -> Result<Group, RaftError> {
        let log = self.log.group(group);
        let adapter = MachineAdapter::open(log.clone(), machine, self.staging.clone()).await?;
        let state = adapter.state().clone();
        check_floor(&log, &state)?;
        let raft = Raft::new(
            self.options.node.0,
            self.config.clone(),
            Network::new(
                self.options.node,
                group,
                self.links.clone(),
                self.is_backed(),
            ),
            LogStore::new(log),
            adapter,
        )
        .await
        .map_err(|error| RaftError::Stopped {
            group,
            cause: error.to_string(),
        })?;
        let opened = Group::new(
            group,
            raft,
            self.log.clone(),
            state,
            self.options.clone(),
            self.candidacy.clone(),
            self.proposal_bytes.clone(),
        );
        if opened.is_single_voter().await? {
            opened.elect().await?;
        }
        Ok(opened)
    }

    /// A leader counts as backed for as long as its lease would last.
    fn is_backed(&self) -> IsBacked {
        let (groups, lease) = (self.groups.clone(), self.options.election_timeout_max);
        Arc::new(move |group| {
            let age = find_group(&groups, group).and_then(|group| group.contact_age());
            age.is_some_and(|age| age < lease)
        })
    }

    /// The open group with this id.
    #[must_use]
    pub fn group(&self, group: GroupId) -> Option<Group> {
        find_group(&self.groups, group)
    }

    /// All open groups, by id.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        open_groups(&self.groups)
    }

    /// Resolves when a group has ended that nobody closed: this node is no good member of it any more, and only a restart
    /// helps. While all is well it never does.
    pub async fn failed(&self) -> RaftError {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(error) = failure.borrow_and_update().clone() {
                return error;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The log that the groups share.
    #[must_use]
    pub fn log(&self) -> &Arc<SegmentLog> {
        &self.log
    }

    /// Stops all groups, then closes the log. Proposals that are not done end in doubt.
    pub async fn shutdown(&self) -> Result<(), RaftError> {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.stopped.send_replace(true);
        self.links.forget(|_| true);
        let mut result = Ok(());
        for group in self.groups() {
            result = result.and(group.shut_down().await);
        }
        self.groups.lock().clear();
        let log = self.log.clone();
        let closed = spawn_blocking(move || log.close()).await;
        result.and(closed.map_err(|_| RaftError::Log(LogError::Closed)))
    }
}

impl Drop for RaftNode {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Log and machine have to meet: the log may not begin after the machine's state, nor end before it.
fn check_floor(log: &GroupLog, state: &Mutex<AppliedState>) -> Result<(), RaftError> {
    let group = log.group();
    let floor = state.lock().floor();
    let purged = log.purged().map(convert::log_id);
    if let Some(purged) = purged
        && floor < Some(purged)
    {
        return Err(RaftError::StateMissing {
            group,
            floor: floor.as_ref().map(convert::position),
            purged: convert::position(&purged),
        });
    }
    let last = log.last().map(convert::log_id).max(purged);
    if let Some(floor) = floor
        && last < Some(floor)
    {
        return Err(RaftError::LogMissing {
            group,
            floor: convert::position(&floor),
            last: last.as_ref().map(convert::position),
        });
    }
    Ok(())
}

pub(crate) fn open_groups(groups: &Groups) -> Vec<Group> {
    groups.lock().values().flatten().cloned().collect()
}

/// An open group.
pub(crate) fn find_group(groups: &Groups, group: GroupId) -> Option<Group> {
    groups.lock().get(&group).cloned().flatten()
}

/// Frees the id of a group that could not be opened.
struct Reservation<'a> {
    groups: &'a Groups,
    group: GroupId,
    is_used: bool,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.groups.lock().remove(&self.group);
        }
    }
}
