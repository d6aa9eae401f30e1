//! What openraft hands around as a snapshot: never the rows themselves.

use std::fmt;
use std::sync::Arc;

use super::StagedFile;
use crate::machine::Machine;

/// A snapshot's rows: still in the machine that has them, or received into a file.
#[derive(Clone)]
pub(crate) enum SnapshotData {
    /// The sender's side: read from the machine when it is sent.
    Here(Arc<dyn Machine>),
    /// The receiver's side: complete and checked.
    Received(Arc<StagedFile>),
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Here(_) => "rows of this machine",
            Self::Received(_) => "rows received",
        })
    }
}
