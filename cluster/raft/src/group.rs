//! One Raft group on this node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{InitializeError, LinearizableReadError, RaftError as OpenraftError};
use openraft::{EmptyNode, ReadPolicy};
use parking_lot::Mutex;
use ringtail_log::SegmentLog;
use ringtail_proto::{GroupId, LogIndex, NodeId};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::applied_state::AppliedState;
use crate::candidacy::Candidacy;
use crate::contact::Contact;
use crate::convert;
use crate::error::RaftError;
use crate::leadership::LeadershipWatch;
use crate::machine::LogPosition;
use crate::options::RaftOptions;
use crate::proposal::Proposal;
use crate::types::{Command, Raft};

/// A snapshot request that came while another one ran is lost; it is repeated after this time.
const SNAPSHOT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The group of the metadata.
const METADATA: GroupId = GroupId(0);

/// One Raft group on this node. Clones are the same group.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

struct Inner {
    group: GroupId,
    raft: Raft,
    log: Arc<SegmentLog>,
    state: Arc<Mutex<AppliedState>>,
    options: Arc<RaftOptions>,
    contact: Contact,
    candidacy: Arc<Candidacy>,
    /// Room for proposals of this group.
    proposals: Arc<Semaphore>,
    /// Room for the bytes of this group's proposals: a group that is slow to apply leaves room to the others.
    group_bytes: Arc<Semaphore>,
    /// Room for the bytes of all groups' proposals; none for the metadata, which must not wait for the others.
    node_bytes: Option<Arc<Semaphore>>,
}

/// A group in numbers, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetrics {
    /// Current term.
    pub term: u64,
    /// The leader, if it is known.
    pub leader: Option<NodeId>,
    /// True when this node leads.
    pub is_leader: bool,
    /// Index of the last entry in the log.
    pub last: Option<LogIndex>,
    /// Last entry known to be committed.
    pub committed: Option<LogPosition>,
    /// Last entry applied here.
    pub applied: Option<LogPosition>,
    /// Up to where the machine is durable.
    pub floor: Option<LogPosition>,
    /// Up to where the log was given up.
    pub purged: Option<LogPosition>,
    /// Voters, in order.
    pub voters: Vec<NodeId>,
}

impl Group {
    pub(crate) fn new(
        group: GroupId,
        raft: Raft,
        log: Arc<SegmentLog>,
        state: Arc<Mutex<AppliedState>>,
        options: Arc<RaftOptions>,
        candidacy: Arc<Candidacy>,
        node_bytes: Arc<Semaphore>,
    ) -> Self {
        let group_bytes = Arc::new(Semaphore::new(options.group_proposal_bytes_max()));
        let proposals = Arc::new(Semaphore::new(options.group_proposals_max));
        Self {
            inner: Arc::new(Inner {
                group,
                raft,
                log,
                state,
                options,
                contact: Contact::default(),
                candidacy,
                proposals,
                group_bytes,
                node_bytes: (group != METADATA).then_some(node_bytes),
            }),
        }
    }

    /// The group's id.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.inner.group
    }

    /// Makes this node the group's only member. Does nothing if the group has members.
    pub async fn initialize_single(&self) -> Result<(), RaftError> {
        let node = self.inner.options.node.0;
        let members = BTreeMap::from([(node, EmptyNode::default())]);
        match self.inner.raft.initialize(members).await {
            Ok(()) | Err(OpenraftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(self.stopped(error)),
        }
    }

    /// Waits for room and hands the command to the group. Commands of one caller keep their order.
    ///
    /// An error here means that nothing was written; what becomes of the command is for the [`Proposal`] to tell.
    pub async fn propose(&self, command: Bytes) -> Result<Proposal, RaftError> {
        if self.inner.log.is_full() {
            return Err(RaftError::StorageFull);
        }
        self.propose_vital(command).await
    }

    /// As [`Self::propose`], but also while the disk is full: for small commands by which the log comes to give up what it
    /// holds. They wait until there is room.
    pub async fn propose_vital(&self, command: Bytes) -> Result<Proposal, RaftError> {
        let inner = &self.inner;
        let (bytes, bytes_max) = (command.len(), inner.options.command_bytes_max);
        if bytes > bytes_max {
            return Err(RaftError::CommandTooLarge { bytes, bytes_max });
        }
        let permits = u32::try_from(bytes.max(1)).expect("options keep commands below 4 GiB");
        // The node's room comes last: whoever waits for the group's must not hold any of it.
        let proposal = inner.proposals.clone().acquire_owned().await;
        let of_group = inner.group_bytes.clone().acquire_many_owned(permits).await;
        let of_node = match &inner.node_bytes {
            Some(bytes) => Some(bytes.clone().acquire_many_owned(permits).await),
            None => None,
        };
        let room = (proposal, of_group, of_node);
        let (proposal, responder) = Proposal::new(inner.group, room);
        inner
            .raft
            .client_write_ff(Command(command), Some(responder))
            .await
            .map_err(|error| self.stopped(error))?;
        Ok(proposal)
    }

    /// Says that the machine is durable up to and including this entry: the log gives up what is before.
    ///
    /// Returns once the group knows; the log follows on its own. A floor at or below the old one changes nothing. One
    /// at an entry that the machine is about to answer for waits for that answer.
    pub async fn raise_floor(&self, floor: LogPosition) -> Result<(), RaftError> {
        let log_id = convert::position_log_id(floor);
        self.until_applied(floor).await?;
        if !self.inner.state.lock().raise_floor(log_id) {
            return Ok(());
        }
        let target = Some(log_id);
        let mut snapshots = self.inner.raft.watch_snapshot_progress();
        loop {
            let trigger = self.inner.raft.trigger();
            trigger
                .snapshot()
                .await
                .map_err(|error| self.stopped(error))?;
            let reached = snapshots.wait_until_ge(&target);
            match timeout(SNAPSHOT_RETRY_INTERVAL, reached).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => return Err(self.stopped(error)),
                Err(_elapsed) => {}
            }
        }
    }

    /// Waits until the machine has answered for this entry, which it must have been given.
    async fn until_applied(&self, position: LogPosition) -> Result<(), RaftError> {
        let entry = convert::position_log_id(position);
        let mut answers = self.watch_applied();
        loop {
            {
                let state = self.inner.state.lock();
                if state.applied() >= Some(entry) {
                    return Ok(());
                }
                if !state.has_handed_over(entry) {
                    return Err(RaftError::FloorNotApplied {
                        group: self.inner.group,
                        floor: position,
                    });
                }
            }
            let answered = answers.changed().await;
            answered.map_err(|error| self.stopped(error))?;
        }
    }

    /// Waits until the group has a leader and this node has applied everything that was committed before.
    pub async fn ready(&self) -> Result<(), RaftError> {
        let recovered = self.inner.raft.wait_for_recovery(None).await;
        recovered.map_err(|error| self.stopped(error))?;
        let mut leadership = self.watch_leadership();
        while let Some(current) = leadership.changed().await {
            if current.leader.is_some() {
                return Ok(());
            }
        }
        Err(self.stopped("it was shut down"))
    }

    /// A position such that state up to it includes everything that was acknowledged before this call; it is applied
    /// here on return. Only the leader can tell.
    pub async fn read_index(&self) -> Result<LogPosition, RaftError> {
        let group = self.inner.group;
        match self
            .inner
            .raft
            .ensure_linearizable(ReadPolicy::ReadIndex)
            .await
        {
            Ok(read) => Ok(convert::position(read.log_id())),
            Err(OpenraftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(RaftError::NotLeader {
                    group,
                    leader: forward.leader_id.map(NodeId),
                })
            }
            Err(OpenraftError::APIError(LinearizableReadError::QuorumNotEnough(error))) => {
                Err(RaftError::NoQuorum {
                    group,
                    cause: error.to_string(),
                })
            }
            Err(OpenraftError::Fatal(error)) => Err(self.stopped(error)),
        }
    }

    /// True when this node leads the group, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.watch_leadership().current().is_leader
    }

    /// The group's leader, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.watch_leadership().current().leader
    }

    /// Follows who leads.
    #[must_use]
    pub fn watch_leadership(&self) -> LeadershipWatch {
        LeadershipWatch::new(self.inner.raft.server_metrics())
    }

    /// The last entry that the machine has applied.
    #[must_use]
    pub fn applied(&self) -> Option<LogPosition> {
        self.inner
            .state
            .lock()
            .applied()
            .as_ref()
            .map(convert::position)
    }

    /// Follows the last entry that the machine has applied.
    #[must_use]
    pub fn watch_applied(&self) -> watch::Receiver<Option<LogPosition>> {
        self.inner.state.lock().watch_applied()
    }

    /// How long ago this replica last knew that the group had not left it behind: a follower heard its leader, a leader
    /// was acknowledged by a quorum. None when it never was.
    #[must_use]
    pub fn contact_age(&self) -> Option<Duration> {
        if !self.is_leader() {
            return self.inner.contact.age();
        }
        if self.is_alone() {
            return Some(Duration::ZERO);
        }
        let receiver = self.inner.raft.data_metrics();
        let acked = receiver.borrow_watched().last_quorum_acked;
        acked.map(|acked| acked.elapsed())
    }

    /// The leader was heard and agreed with.
    pub(crate) fn renew_contact(&self) {
        self.inner.contact.renew();
    }

    /// The last entry that the group has committed, as far as this node was told; its log may not reach that far yet.
    #[must_use]
    pub fn committed(&self) -> Option<LogPosition> {
        let receiver = self.inner.raft.data_metrics();
        let metrics = receiver.borrow_watched();
        let known = metrics.cluster_committed.max(metrics.local_committed);
        known.as_ref().map(convert::position)
    }

    /// The group in numbers.
    #[must_use]
    pub fn metrics(&self) -> GroupMetrics {
        let leadership = self.watch_leadership().current();
        let (applied, floor) = {
            let state = self.inner.state.lock();
            (state.applied(), state.floor())
        };
        let receiver = self.inner.raft.metrics();
        let metrics = receiver.borrow_watched();
        GroupMetrics {
            term: leadership.term,
            leader: leadership.leader,
            is_leader: leadership.is_leader,
            last: metrics.last_log_index.map(LogIndex),
            committed: metrics.local_committed.as_ref().map(convert::position),
            applied: applied.as_ref().map(convert::position),
            floor: floor.as_ref().map(convert::position),
            purged: metrics.purged.as_ref().map(convert::position),
            voters: metrics.membership_config.voter_ids().map(NodeId).collect(),
        }
    }

    /// True when this node alone is the group, so that it can elect itself at once.
    ///
    /// Asks the group itself: right after its start the metrics do not know the members yet.
    pub(crate) async fn is_single_voter(&self) -> Result<bool, RaftError> {
        let node = self.inner.options.node.0;
        let asked = self.inner.raft.with_raft_state(move |state| {
            let members = state.membership_state.effective();
            members.voter_ids().eq([node])
        });
        asked.await.map_err(|error| self.stopped(error))
    }

    /// True when this node is the group's only voter, as far as the metrics know.
    pub(crate) fn is_alone(&self) -> bool {
        let receiver = self.inner.raft.metrics();
        let metrics = receiver.borrow_watched();
        let mut voters = metrics.membership_config.voter_ids();
        voters.next().is_some() && voters.next().is_none()
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.options.node
    }

    /// True when this node comes to lead the group no more, whoever asks it to.
    pub(crate) fn has_withdrawn(&self) -> bool {
        self.inner.candidacy.is_withdrawn()
    }

    /// The group's own timeout makes this node stand no more, once it has withdrawn.
    pub(crate) fn follow_candidacy(&self) {
        if self.has_withdrawn() {
            self.inner.raft.runtime_config().elect(false);
        }
    }

    /// Asks the others whether they would vote for this node, and stands if a majority would.
    pub(crate) async fn stand_for_election(&self) -> Result<(), RaftError> {
        if self.has_withdrawn() {
            return Ok(());
        }
        let stood = self.inner.raft.trigger().elect(true).await;
        stood.map_err(|error| self.stopped(error))
    }

    pub(crate) async fn elect(&self) -> Result<(), RaftError> {
        let elected = self.inner.raft.trigger().elect(false).await;
        elected.map_err(|error| self.stopped(error))
    }

    pub(crate) async fn send_heartbeat(&self) -> Result<(), RaftError> {
        let sent = self.inner.raft.trigger().heartbeat().await;
        sent.map_err(|error| self.stopped(error))
    }

    pub(crate) async fn shut_down(&self) -> Result<(), RaftError> {
        let stopped = self.inner.raft.shutdown().await;
        stopped.map_err(|error| self.stopped(error))
    }

    /// The log's own error says more than what openraft makes of it.
    pub(crate) fn stopped(&self, cause: impl ToString) -> RaftError {
        let cause = match self.inner.log.failure() {
            Some(error) => error.to_string(),
            None => cause.to_string(),
        };
        RaftError::Stopped {
            group: self.inner.group,
            cause,
        }
    }
}
