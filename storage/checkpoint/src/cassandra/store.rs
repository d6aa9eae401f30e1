//! The tables behind the traits of every store, for one process at a time.
//!
//! A group's rows are one set under an incarnation of their own. One more row of the set, its head, is written last at
//! each commit: what lies above the head's version was never committed. Replacing a group's rows makes another set.

mod group;
mod replacement;
mod row_sets;
mod snapshot;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use ringtail_proto::GroupId;
use tokio::runtime::Handle;

use super::{Mirror, MirrorError, MirrorWriter};
use crate::{CheckpointStore, GroupReplacement, GroupStore, StoreError};
use group::CassandraGroup;
use replacement::CassandraReplacement;
use row_sets::RowSet;

/// How long a call waits for servers that do not answer, before it fails and says that its outcome is not known.
const PATIENCE: Duration = Duration::from_secs(30);

/// All groups' rows of one cluster in ScyllaDB or Cassandra. Its calls block and must not be made from a task of the
/// runtime. Only one process at a time may have it open: nothing locks out a second one.
pub struct CassandraStore {
    shared: Arc<Shared>,
}

/// What the store and its groups share.
struct Shared {
    mirror: Mirror,
    writer: MirrorWriter,
    runtime: Handle,
    /// The set that is a group's rows now.
    sets: Mutex<BTreeMap<GroupId, Arc<RowSet>>>,
    written_bytes: AtomicU64,
}

impl CassandraStore {
    /// The store behind a mirror whose servers are reached.
    #[must_use]
    pub fn new(mirror: Mirror, runtime: Handle) -> Self {
        let shared = Shared {
            // Snapshots live as long as they like.
            writer: MirrorWriter::keeping_all(mirror.clone()),
            mirror,
            runtime,
            sets: Mutex::default(),
            written_bytes: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl CheckpointStore for CassandraStore {
    /// Also removes what unfinished commits and replacements of an earlier process left.
    fn group(&self, group: GroupId) -> Result<Arc<dyn GroupStore>, StoreError> {
        let set = self.shared.set(group)?;
        Ok(Arc::new(CassandraGroup::new(
            self.shared.clone(),
            group,
            set,
        )))
    }

    fn replace_group(&self, group: GroupId) -> Result<Box<dyn GroupReplacement>, StoreError> {
        self.shared.set(group)?;
        let replacement = CassandraReplacement::begin(self.shared.clone(), group)?;
        Ok(Box::new(replacement))
    }

    fn remove_group(&self, group: GroupId) -> Result<(), StoreError> {
        self.shared.set(group)?;
        let nothing = CassandraReplacement::begin(self.shared.clone(), group)?;
        Box::new(nothing).finish()
    }

    /// What was committed is on the disks of a quorum already.
    fn persist(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn written_bytes(&self) -> u64 {
        self.shared.written_bytes.load(Ordering::Relaxed)
    }

    /// Always 0: CQL does not tell.
    fn disk_bytes(&self) -> u64 {
        0
    }
}

impl Shared {
    /// Makes a request, again and again while the servers do not answer.
    fn wait<T>(
        &self,
        mut request: impl AsyncFnMut() -> Result<T, MirrorError>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        self.runtime.block_on(async {
            loop {
                match request().await {
                    Err(error) if error.is_outage() && started.elapsed() < PATIENCE => {
                        let pause = match &error {
                            MirrorError::Paused { retry_after, .. } => *retry_after,
                            _ => super::breaker::pause(1, 0.0),
                        };
                        tokio::time::sleep(pause).await;
                    }
                    outcome => return Ok(outcome?),
                }
            }
        })
    }

    fn current(&self, group: GroupId) -> Option<Arc<RowSet>> {
        self.sets.lock().get(&group).cloned()
    }
}
