//! The log of a simulated node, on a disk that takes its time and may be full, and the groups in it.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use ringtail_log::{LogDriver, LogOptions, SegmentLog};
use ringtail_proto::NodeId;
use ringtail_raft::{Peering, RaftNode, RaftOptions, Staging};
use tokio::{task::JoinHandle, time::sleep};

use crate::sim::{host::Host, peers::SimPeers, ring::Ring};

/// How often the writer of a full disk looks whether there is space.
const SPACE_RETRY_INTERVAL: Duration = Duration::from_millis(250);
const SEGMENT_BYTES_MAX: u64 = 32 << 10;

pub(super) fn start_raft(
    ring: &Ring,
    host: &Arc<Host>,
    node: NodeId,
    peers: &SimPeers,
) -> anyhow::Result<(Arc<RaftNode>, JoinHandle<()>)> {
    let disk = Arc::new(host.disk());
    let options = LogOptions {
        segment_bytes_max: SEGMENT_BYTES_MAX,
        ..LogOptions::default()
    };
    let (log, driver, report) =
        SegmentLog::open_driven(disk.clone(), Path::new("/log"), options).context("the log")?;
    if report.torn_tail.is_some() {
        ring.note(format!("node {node} cuts a torn tail"));
    }
    let writing = tokio::spawn(drive(driver, Arc::clone(host)));
    let peering = Peering {
        channels: peers.channels(),
        staging: Some(Staging::open(disk, Path::new("/snapshots"))?),
    };
    let raft = RaftNode::start(ring.bug.raft_options(RaftOptions::new(node)), log, peering)?;
    Ok((Arc::new(raft), writing))
}

/// The disk takes its time for each write and sync; a full one takes none.
async fn drive(driver: LogDriver, host: Arc<Host>) {
    let mut driver = driver;
    loop {
        driver.waiting().await;
        let sync_us = host.sync_us.load(std::sync::atomic::Ordering::Relaxed);
        sleep(Duration::from_micros(sync_us)).await;
        while host.is_full() {
            driver.set_full(true);
            sleep(SPACE_RETRY_INTERVAL).await;
        }
        driver.set_full(false);
        match driver.step() {
            Some(next) => driver = next,
            None => return,
        }
    }
}
