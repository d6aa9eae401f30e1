//! The keeper's loop around the steps: failures, steps that hang, and groups that others lead.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_checkpoint::MemoryStore;
use ringtail_metadata::{
    Actor, ClusterId, Command, Consensus, Limits, Metadata, MetadataMachine, NodeAddresses, Seams,
    Written,
    reconcile::{
        GroupControl, GroupMembers, Keeper, KeeperOptions, LogBounds, NodeHealth, OpenGroups,
    },
};
use ringtail_proto::{GroupId, LogIndex, NodeId, UnixMillis};
use ringtail_raft::{Body, Committed, LogPosition, Machine as _, RaftError};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

const GROUP: GroupId = GroupId(1);
const ME: NodeId = NodeId(1);

/// Group 0 of one node: what is proposed is applied.
struct Alone(Arc<MetadataMachine>);

#[async_trait]
impl Consensus for Alone {
    async fn propose(&self, entry: Bytes) -> Result<Written, RaftError> {
        let last = *self.0.applied().borrow();
        let index = LogIndex(last.0 + 1);
        let position = LogPosition {
            term: 1,
            node: ME,
            index,
        };
        let body = Body::Command(entry);
        let applied = self.0.apply(vec![Committed { position, body }]).await;
        let reply = applied.unwrap().remove(0);
        Ok(Written { reply, index })
    }

    fn is_leader(&self) -> bool {
        true
    }

    fn leader(&self) -> Option<NodeId> {
        Some(ME)
    }

    async fn leader_changed(&self, _from: Option<NodeId>) {
        std::future::pending().await
    }

    async fn read_index(&self) -> Result<LogIndex, RaftError> {
        Ok(*self.0.applied().borrow())
    }

    async fn raise_floor(&self, _floor: LogPosition) -> Result<(), RaftError> {
        Ok(())
    }
}

struct NoSeams;

impl Seams for NoSeams {
    fn now(&self) -> UnixMillis {
        UnixMillis(1)
    }

    fn random(&self) -> [u8; 32] {
        [1; 32]
    }
}

struct AllUp;

impl NodeHealth for AllUp {
    fn up_for(&self, _node: NodeId) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }
}

/// What the group does with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Obeys,
    Fails,
    Hangs,
}

struct State {
    mood: Mood,
    is_leader: bool,
    members: GroupMembers,
    /// What was asked, and when.
    asked: Vec<(String, Duration)>,
    /// Steps under way.
    under_way: usize,
}

/// A group of two nodes that should become one of one.
struct Simulated {
    state: Mutex<State>,
    begin: Instant,
}

impl Simulated {
    async fn ask(&self, what: String, obey: impl FnOnce(&mut State)) -> Result<(), RaftError> {
        let mood = {
            let mut state = self.state.lock();
            assert_eq!(state.under_way, 0, "two steps at once: {:?}", state.asked);
            state.asked.push((what, self.begin.elapsed()));
            state.under_way += 1;
            state.mood
        };
        let _under_way = UnderWay(self);
        match mood {
            Mood::Obeys => obey(&mut self.state.lock()),
            Mood::Hangs => std::future::pending().await,
            Mood::Fails => {
                return Err(RaftError::Stopped {
                    group: GROUP,
                    cause: "a test".into(),
                });
            }
        }
        Ok(())
    }

    fn asked(&self) -> Vec<String> {
        let state = self.state.lock();
        state.asked.iter().map(|(what, _)| what.clone()).collect()
    }

    fn times(&self) -> Vec<Duration> {
        let state = self.state.lock();
        state.asked.iter().map(|(_, time)| *time).collect()
    }
}

/// A step ends also by being given up.
struct UnderWay<'a>(&'a Simulated);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state.lock().under_way -= 1;
    }
}

#[async_trait]
impl GroupControl for Simulated {
    fn id(&self) -> GroupId {
        GROUP
    }

    fn is_leader(&self) -> bool {
        self.state.lock().is_leader
    }

    fn members(&self) -> GroupMembers {
        self.state.lock().members.clone()
    }

    fn replication(&self) -> Option<BTreeMap<NodeId, Option<LogIndex>>> {
        let members = self.members();
        let others = members.voters.into_iter().chain(members.learners);
        Some(others.map(|node| (node, Some(LogIndex(9)))).collect())
    }

    fn log_bounds(&self) -> LogBounds {
        LogBounds {
            purged: LogIndex(1),
            last: LogIndex(9),
        }
    }

    async fn add_learner(&self, node: NodeId) -> Result<(), RaftError> {
        let obey = |state: &mut State| _ = state.members.learners.insert(node);
        self.ask(format!("add {node}"), obey).await
    }

    async fn remove_learner(&self, node: NodeId) -> Result<(), RaftError> {
        let obey = |state: &mut State| _ = state.members.learners.remove(&node);
        self.ask(format!("remove {node}"), obey).await
    }

    async fn change_voters(
        &self,
        voters: &BTreeSet<NodeId>,
        _keep_learners: bool,
    ) -> Result<(), RaftError> {
        let obey = |state: &mut State| {
            state.members.voters = voters.clone();
            state.members.is_changing = false;
        };
        self.ask(format!("voters {voters:?}"), obey).await
    }

    async fn transfer_leader(&self, to: NodeId) -> Result<(), RaftError> {
        let obey = |state: &mut State| state.is_leader = false;
        self.ask(format!("transfer to {to}"), obey).await
    }
}

/// A group that nodes 1 and 2 vote in and that belongs on node 1, and a keeper on node 1.
async fn kept(mood: Mood) -> (Arc<Simulated>, Metadata, JoinHandle<()>) {
    let machine = MetadataMachine::open(Arc::new(MemoryStore::new())).unwrap();
    let machine = Arc::new(machine);
    let metadata = Metadata::new(Alone(machine.clone()), machine, Arc::new(NoSeams));
    let init = Command::InitCluster {
        cluster: ClusterId(1),
        groups: 1,
        limits: Limits::default(),
    };
    let register = |node| Command::RegisterNode {
        node,
        addresses: NodeAddresses::default(),
    };
    let actor = Actor::new("node 1");
    for command in [init, register(ME), register(NodeId(2))] {
        metadata.execute(command, &actor, "").await.unwrap();
    }
    let group = Arc::new(Simulated {
        state: Mutex::new(State {
            mood,
            is_leader: true,
            members: GroupMembers {
                voters: BTreeSet::from([ME, NodeId(2)]),
                ..GroupMembers::default()
            },
            asked: Vec::new(),
            under_way: 0,
        }),
        begin: Instant::now(),
    });
    let open = Arc::clone(&group);
    let groups: OpenGroups = Arc::new(move || vec![open.clone() as Arc<dyn GroupControl>]);
    let options = KeeperOptions::default();
    let keeper = Keeper::new(
        ME,
        metadata.clone(),
        groups,
        Arc::new(AllUp),
        options,
        actor,
    );
    (group, metadata, tokio::spawn(keeper.run()))
}

#[tokio::test(start_paused = true)]
async fn a_group_gets_where_it_belongs_and_is_left_in_peace_then() {
    let (group, _metadata, keeper) = kept(Mood::Obeys).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(group.asked(), ["voters {NodeId(1)}"]);
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_is_taken_again_after_a_rest() {
    let (group, _metadata, keeper) = kept(Mood::Fails).await;
    sleep(Duration::from_secs(20)).await;
    let times = group.times();
    assert!(times.len() >= 10, "{times:?}");
    for pair in times.windows(2) {
        assert!(
            pair[1] - pair[0] >= KeeperOptions::default().rest,
            "{times:?}"
        );
    }
    group.state.lock().mood = Mood::Obeys;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(group.members().voters, BTreeSet::from([ME]));
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_stands_alone_until_it_is_given_up() {
    let (group, _metadata, keeper) = kept(Mood::Hangs).await;
    let deadline = KeeperOptions::default().step_deadline;
    sleep(deadline - Duration::from_secs(1)).await;
    assert_eq!(group.asked().len(), 1);
    group.state.lock().mood = Mood::Obeys;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(group.asked().len(), 2);
    assert_eq!(group.members().voters, BTreeSet::from([ME]));
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn groups_that_others_lead_are_not_touched() {
    let (group, _metadata, keeper) = kept(Mood::Obeys).await;
    group.state.lock().is_leader = false;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(group.asked(), [""; 0]);
    group.state.lock().is_leader = true;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(group.asked().len(), 1);
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_dead_leader_began_is_finished_after_a_while() {
    let (group, _metadata, keeper) = kept(Mood::Obeys).await;
    group.state.lock().members.is_changing = true;
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(group.asked(), [""; 0]);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(group.asked(), ["voters {NodeId(1)}"]);
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn steps_end_with_the_keeper() {
    let (group, _metadata, keeper) = kept(Mood::Hangs).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(group.state.lock().under_way, 1);
    keeper.abort();
    assert!(keeper.await.unwrap_err().is_cancelled());
    tokio::task::yield_now().await;
    assert_eq!(group.state.lock().under_way, 0);
}
