//! Bugs that the checkers must catch: planted where the simulator puts the parts of a node together, so that no binary
//! that ships knows them.

mod cut_snapshot;
mod hasty_log;
mod machine;

use std::{fmt, str::FromStr, sync::Arc};

use ringtail_checkpoint::CheckpointStore;
use ringtail_log::{Disk, FaultDisk};
use ringtail_raft::RaftOptions;
use ringtail_router::{RaftLog, ReplicatedLog};

use cut_snapshot::CutSnapshots;
use hasty_log::HastyLog;
pub(crate) use machine::Machine;

/// What is wrong with the nodes of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bug {
    /// Nothing.
    #[default]
    None,
    /// An entry is acknowledged before it is proposed.
    AckBeforeWrite,
    /// A site that is loaded from its rows does not know which events it has counted.
    ForgetDedup,
    /// What is spooled is gone when the process is.
    VolatileSpool,
    /// A replica that receives a snapshot leaves out the last rows.
    CutSnapshot,
    /// The disk says that it has synced, and has not.
    LyingDisk,
    /// A leader that restarts leads on in its old term.
    LeaderRestore,
}

impl Bug {
    /// All but none.
    pub const ALL: [Self; 6] = [
        Self::AckBeforeWrite,
        Self::ForgetDedup,
        Self::VolatileSpool,
        Self::CutSnapshot,
        Self::LyingDisk,
        Self::LeaderRestore,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::AckBeforeWrite => "ack-before-write",
            Self::ForgetDedup => "forget-dedup",
            Self::VolatileSpool => "volatile-spool",
            Self::CutSnapshot => "cut-snapshot",
            Self::LyingDisk => "lying-disk",
            Self::LeaderRestore => "leader-restore",
        }
    }

    pub(crate) fn replicated_log(self, log: RaftLog) -> Arc<dyn ReplicatedLog> {
        match self {
            Self::AckBeforeWrite => Arc::new(HastyLog::new(log)),
            _ => Arc::new(log),
        }
    }

    pub(crate) fn store(self, store: Arc<dyn CheckpointStore>) -> Arc<dyn CheckpointStore> {
        match self {
            Self::CutSnapshot => Arc::new(CutSnapshots(store)),
            _ => store,
        }
    }

    pub(crate) fn spool_disk(self, disk: FaultDisk) -> Arc<dyn Disk> {
        match self {
            Self::VolatileSpool => Arc::new(FaultDisk::new()),
            _ => Arc::new(disk),
        }
    }

    pub(crate) fn raft_options(self, options: RaftOptions) -> RaftOptions {
        #[cfg(feature = "planted-bugs")]
        if self == Self::LeaderRestore {
            return options.with_leader_restore();
        }
        options
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == Self::None.name() {
            return Ok(Self::None);
        }
        let named = Self::ALL.into_iter().find(|bug| bug.name() == text);
        named.ok_or_else(|| format!("{text} is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}
