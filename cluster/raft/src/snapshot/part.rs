//! The pieces in which a machine hands its state out and takes it in.

use async_trait::async_trait;
use bytes::Bytes;

use crate::machine::{Floor, MachineError};

/// Most bytes of keys and values in one part; a single larger row stands alone.
pub const SNAPSHOT_PART_BYTES_MAX: usize = 1 << 20;

/// Some of a machine's durable rows, by ascending key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotPart {
    /// Keys and values.
    pub rows: Vec<(Bytes, Bytes)>,
}

/// A consistent view of a machine's durable rows.
#[async_trait]
pub trait SnapshotSource: Send {
    /// The next rows; `None` after the last. May wait, to spare the disk and the network for others.
    async fn next(&mut self) -> Result<Option<SnapshotPart>, MachineError>;
}

/// Takes the place of a machine's rows, once it is complete.
#[async_trait]
pub trait SnapshotSink: Send {
    /// Takes rows, by ascending key over all parts.
    async fn put(&mut self, part: SnapshotPart) -> Result<(), MachineError>;

    /// Everything is there: the rows are durable and the machine goes on from them. Dropped before, the machine goes on
    /// from what it held.
    async fn finish(self: Box<Self>) -> Result<Floor, MachineError>;
}
