//! CPU that a node's groups cost while nothing happens: one line of JSON.
//!
//! Usage: `cargo bench -p ringtail-raft --bench idle_cpu -- [--seconds N]`; Cargo's own `--bench` is ignored. Needs
//! Linux: the time is what `/proc/self/schedstat` counts for each thread, in nanoseconds.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use ringtail_log::{LocalDisk, LogOptions, SegmentLog};
use ringtail_proto::{GroupId, NodeId};
use ringtail_raft::{
    Committed, Floor, Machine, MachineError, Peering, RaftNode, RaftOptions, SnapshotSink,
    SnapshotSource,
};

/// The metadata group and sixteen partitions.
const GROUPS: u32 = 17;

struct NoMachine;

#[async_trait]
impl Machine for NoMachine {
    async fn floor(&self) -> Result<Floor, MachineError> {
        Ok(Floor::default())
    }

    async fn apply(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        Ok(vec![Bytes::new(); entries.len()])
    }

    async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError> {
        Err(MachineError::new("it has no rows"))
    }

    async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError> {
        Err(MachineError::new("it keeps no rows"))
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let seconds = seconds();
    let scratch = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let (log, _) =
        SegmentLog::open(Arc::new(LocalDisk), scratch.path(), LogOptions::default()).unwrap();
    let node = RaftNode::start(RaftOptions::new(NodeId(1)), log, Peering::none()).unwrap();
    for number in 0..GROUPS {
        let group = node
            .open_group(GroupId(number), Arc::new(NoMachine))
            .await
            .unwrap();
        group.initialize_single().await.unwrap();
        group.ready().await.unwrap();
    }
    let ready_ms = start.elapsed().as_secs_f64() * 1e3;
    let before = cpu_nanoseconds();
    let idle = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let spent = (cpu_nanoseconds() - before) as f64 / 1e9;
    let percent = spent / idle.elapsed().as_secs_f64() * 100.0;
    println!(
        "{{\"benchmark\":\"idle_cpu\",\"groups\":{GROUPS},\"seconds\":{seconds},\
         \"core_percent\":{percent:.2},\"goal_core_percent_max\":2.0,\"ready_ms\":{ready_ms:.1}}}"
    );
    node.shutdown().await.unwrap();
}

fn seconds() -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--seconds");
    arguments
        .nth(1)
        .map_or(10, |seconds| seconds.parse().unwrap())
}

/// CPU time of all threads of this process so far.
fn cpu_nanoseconds() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads
        .map(|thread| {
            let statistics = std::fs::read_to_string(thread.unwrap().path().join("schedstat"));
            let statistics = statistics.unwrap();
            let on_cpu = statistics.split(' ').next().unwrap();
            on_cpu.parse::<u64>().unwrap()
        })
        .sum()
}
