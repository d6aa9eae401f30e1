//! Snapshots as the transport sees them, until it brings its own.
#![allow(missing_docs, unreachable_pub, dead_code)]
use async_trait::async_trait;
use bytes::Bytes;
use ringtail_raft::{Floor, MachineError};
pub const SNAPSHOT_PART_BYTES_MAX: usize = 1 << 20;
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotPart {
    pub rows: Vec<(Bytes, Bytes)>,
}
#[async_trait]
pub trait SnapshotSource: Send {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, MachineError>;
}
#[async_trait]
pub trait SnapshotSink: Send {
    async fn put(&mut self, part: SnapshotPart) -> Result<(), MachineError>;
    async fn finish(self: Box<Self>) -> Result<Floor, MachineError>;
}
