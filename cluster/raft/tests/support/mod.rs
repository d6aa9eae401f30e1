//! What the tests of groups share: a machine that is durable when told to, on a disk that fails when told to.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_log::{FaultDisk, LogOptions, SegmentLog};
use ringtail_proto::{GroupId, LogIndex, NodeId};
use ringtail_raft::{
    Body, Committed, Floor, Group, LogPosition, Machine, MachineError, Peering, RaftNode,
    RaftOptions, SnapshotPart, SnapshotSink, SnapshotSource,
};
use tokio::sync::Semaphore;

/// Nothing here takes longer, or something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const NODE: NodeId = NodeId(1);
pub(crate) const GROUP: GroupId = GroupId(1);

/// What a machine has on its disk; outlives the machine.
pub(crate) type Store = Arc<Mutex<Saved>>;

#[derive(Clone, Default)]
pub(crate) struct Saved {
    pub(crate) floor: Floor,
    pub(crate) commands: Vec<(LogPosition, Bytes)>,
}

/// Remembers every command; replies with how many there were before it.
pub(crate) struct TestMachine {
    store: Store,
    memory: Arc<Mutex<Saved>>,
    /// Apply waits here for a permit for each call.
    pub(crate) gate: Semaphore,
    calls: AtomicUsize,
    /// Apply waits here once its work is done and before it answers.
    pub(crate) answer_gate: Semaphore,
}

impl TestMachine {
    pub(crate) fn open(store: &Store) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            memory: Arc::new(Mutex::new(store.lock().clone())),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            calls: AtomicUsize::new(0),
            answer_gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// Makes everything applied so far durable and says up to where that is.
    pub(crate) fn save(&self) -> Option<LogPosition> {
        let memory = self.memory.lock().clone();
        let floor = memory.floor.position;
        *self.store.lock() = memory;
        floor
    }

    pub(crate) fn commands(&self) -> Vec<Bytes> {
        let memory = self.memory.lock();
        let commands = memory.commands.iter();
        commands.map(|(_, command)| command.clone()).collect()
    }

    /// How often the command was applied.
    pub(crate) fn count(&self, command: &Bytes) -> usize {
        self.commands()
            .iter()
            .filter(|other| *other == command)
            .count()
    }

    pub(crate) fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn close_answer_gate(&self) {
        self.answer_gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// How often apply was called.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Applies to memory; what it fails at changes nothing more.
    fn apply_to_memory(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        let mut memory = self.memory.lock();
        let mut replies = Vec::new();
        for entry in entries {
            let last = memory.floor.position;
            let expected = last.map_or(0, |last| last.index.0 + 1);
            if entry.position.index.0 != expected {
                let text = format!("entry {} came after {last:?}", entry.position);
                return Err(MachineError::new(text));
            }
            memory.floor.position = Some(entry.position);
            replies.push(match entry.body {
                Body::Blank => Bytes::new(),
                Body::Membership(bytes) => {
                    memory.floor.membership = Some(bytes);
                    Bytes::new()
                }
                Body::Command(command) if command == "fail" => {
                    return Err(MachineError::new("told to fail"));
                }
                Body::Command(command) => {
                    let before = memory.commands.len().to_string();
                    memory.commands.push((entry.position, command));
                    Bytes::from(before)
                }
            });
        }
        Ok(replies)
    }
}

/// Takes one permit away from the gate, once there is one.
async fn pass(gate: &Semaphore) -> Result<(), MachineError> {
    gate.acquire().await.map_err(MachineError::new)?.forget();
    Ok(())
}

#[async_trait]
impl Machine for TestMachine {
    async fn floor(&self) -> Result<Floor, MachineError> {
        Ok(self.memory.lock().floor.clone())
    }

    async fn apply(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        pass(&self.gate).await?;
        let replies = self.apply_to_memory(entries)?;
        pass(&self.answer_gate).await?;
        Ok(replies)
    }

    async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError> {
        let saved = self.store.lock().clone();
        let rows = saved.commands.iter().map(|(position, command)| {
            let key = Bytes::copy_from_slice(&position.index.0.to_be_bytes());
            let leader = [position.term.to_be_bytes(), position.node.0.to_be_bytes()].concat();
            (key, Bytes::from([leader, command.to_vec()].concat()))
        });
        let rows: Vec<_> = rows.collect();
        let parts: Vec<_> = rows.chunks(7).map(<[_]>::to_vec).collect();
        // The last row says how far the others go.
        let floor = SnapshotPart {
            rows: vec![(Bytes::from_static(&[0xff; 9]), encode_floor(&saved.floor))],
        };
        let parts = parts.into_iter().map(|rows| SnapshotPart { rows });
        let source = Parts(parts.chain([floor]).collect());
        Ok((saved.floor, Box::new(source)))
    }

    async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError> {
        *self.memory.lock() = Saved::default();
        *self.store.lock() = Saved::default();
        Ok(Box::new(Restored {
            store: self.store.clone(),
            memory: self.memory.clone(),
            saved: Saved::default(),
        }))
    }
}

struct Parts(VecDeque<SnapshotPart>);

#[async_trait]
impl SnapshotSource for Parts {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, MachineError> {
        Ok(self.0.pop_front())
    }
}

struct Restored {
    store: Store,
    memory: Arc<Mutex<Saved>>,
    saved: Saved,
}

#[async_trait]
impl SnapshotSink for Restored {
    async fn put(&mut self, part: SnapshotPart) -> Result<(), MachineError> {
        for (key, value) in part.rows {
            if key.len() == 9 {
                self.saved.floor = decode_floor(&value);
                continue;
            }
            let index = LogIndex(number(&key));
            let position = LogPosition {
                term: number(&value[..8]),
                node: NodeId(number(&value[8..16])),
                index,
            };
            self.saved.commands.push((position, value.slice(16..)));
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Floor, MachineError> {
        *self.store.lock() = self.saved.clone();
        *self.memory.lock() = self.saved.clone();
        Ok(self.saved.floor)
    }
}

fn encode_floor(floor: &Floor) -> Bytes {
    let position = floor.position.unwrap();
    let numbers = [position.term, position.node.0, position.index.0];
    let mut bytes = numbers.map(u64::to_be_bytes).concat();
    bytes.extend(floor.membership.clone().unwrap());
    bytes.into()
}

fn decode_floor(bytes: &Bytes) -> Floor {
    Floor {
        position: Some(LogPosition {
            term: number(&bytes[..8]),
            node: NodeId(number(&bytes[8..16])),
            index: LogIndex(number(&bytes[16..24])),
        }),
        membership: Some(bytes.slice(24..)),
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

pub(crate) fn open_log(disk: &FaultDisk) -> Arc<SegmentLog> {
    let options = LogOptions {
        segment_bytes_max: 8192,
        group_cache_bytes_max: 1024,
        space_retry_interval: std::time::Duration::from_millis(1),
        ..LogOptions::default()
    };
    let disk = Arc::new(disk.clone());
    SegmentLog::open(disk, Path::new("/log"), options)
        .unwrap()
        .0
}

pub(crate) fn start_node(disk: &FaultDisk) -> RaftNode {
    RaftNode::start(RaftOptions::new(NODE), open_log(disk), Peering::none()).unwrap()
}

/// Opens the group as the only member, ready to serve.
pub(crate) async fn open_single(node: &RaftNode, machine: &Arc<TestMachine>) -> Group {
    open_ready(node, GROUP, machine).await
}

pub(crate) async fn open_ready(
    node: &RaftNode,
    group: GroupId,
    machine: &Arc<TestMachine>,
) -> Group {
    let group = node.open_group(group, machine.clone()).await.unwrap();
    group.initialize_single().await.unwrap();
    group.ready().await.unwrap();
    group
}

pub(crate) fn command(number: u64) -> Bytes {
    Bytes::from(format!(
        "command {number} {}",
        "x".repeat((number % 90) as usize)
    ))
}

/// Waits until this holds: for what openraft reports a little after it happened.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, held).await;
    held.expect("it holds before the patience ends");
}

/// Proposes and waits until it is applied.
pub(crate) async fn apply(group: &Group, command: Bytes) -> Bytes {
    let proposal = group.propose(command).await.unwrap();
    proposal.applied().await.unwrap().reply
}

pub(crate) async fn apply_range(group: &Group, numbers: std::ops::Range<u64>) {
    for number in numbers {
        apply(group, command(number)).await;
    }
}
