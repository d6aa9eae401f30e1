//! The store on local disk: one fjall database, one keyspace for each group, another one whenever its rows are replaced.

mod directory;
mod generations;
mod group;
mod replacement;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use ringtail_proto::GroupId;

use crate::{CheckpointStore, DiskFreeSpace, FreeSpace, GroupReplacement, GroupStore, StoreError};
use generations::Generations;
use group::EmbeddedGroup;
use replacement::EmbeddedReplacement;

/// How much memory and disk a store may take.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// Memory for blocks read from disk, shared by all groups. Default 32 MiB.
    pub cache_bytes: u64,
    /// Rows of one group kept in memory before they are sorted to disk; a few of these may wait at a time.
    /// Default 8 MiB: with 17 groups the engine's own 64 MiB would be too much.
    pub memtable_bytes_max: u64,
    /// The journals that a restart reads again; at least 64 MiB. Default 128 MiB.
    pub journal_bytes_max: u64,
    /// Threads that sort and merge in the background. Default 1: checkpoints come in rounds and nobody waits for them.
    pub worker_threads: usize,
    /// Room on the disk that only small batches and the metadata may use. Default 64 MiB.
    pub disk_reserve_bytes: u64,
    /// Who tells the room on the disk; the file system when absent.
    pub free_space: Option<Arc<dyn FreeSpace>>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            memtable_bytes_max: 8 << 20,
            journal_bytes_max: 128 << 20,
            worker_threads: 1,
            disk_reserve_bytes: 64 << 20,
            free_space: None,
        }
    }
}

/// The store on local disk. Dropping the last handle closes it and lets another process open it.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

/// What the store and its groups share.
struct Shared {
    database: Database,
    options: EmbeddedOptions,
    free_space: Arc<dyn FreeSpace>,
    /// Which keyspace holds a group's rows now.
    generations: Generations,
    written_bytes: AtomicU64,
    /// The first failed write. What the disk holds after it is unknown, so nothing more is written.
    poison: OnceLock<String>,
}

impl EmbeddedStore {
    /// Opens the store in a directory, made when it is absent or empty.
    ///
    /// # Errors
    /// When the directory holds something else, a newer or a damaged store, is in use, or cannot be written.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let engine_path = directory::prepare(path)?;
        let database = Database::builder(&engine_path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes_max.max(64 << 20))
            .worker_threads(options.worker_threads.max(1))
            // Pages and rows come compressed.
            .journal_compression(CompressionType::None)
            .open()
            .map_err(|error| open_error(path, error))?;
        let free_space = options
            .free_space
            .clone()
            .unwrap_or_else(|| Arc::new(DiskFreeSpace::new(PathBuf::from(path))));
        let generations = Generations::open(path, &database)?;
        Ok(Self {
            shared: Arc::new(Shared {
                database,
                options,
                free_space,
                generations,
                written_bytes: AtomicU64::new(0),
                poison: OnceLock::new(),
            }),
        })
    }
}

impl CheckpointStore for EmbeddedStore {
    fn group(&self, group: GroupId) -> Result<Arc<dyn GroupStore>, StoreError> {
        let shared = &self.shared;
        let generation = shared.generations.of(group);
        let keyspace = shared.keyspace(group, generation)?;
        Ok(Arc::new(EmbeddedGroup::new(
            shared.clone(),
            group,
            generation,
            keyspace,
        )))
    }

    fn replace_group(&self, group: GroupId) -> Result<Box<dyn GroupReplacement>, StoreError> {
        let replacement = EmbeddedReplacement::begin(self.shared.clone(), group)?;
        Ok(Box::new(replacement))
    }

    fn remove_group(&self, group: GroupId) -> Result<(), StoreError> {
        // A group without rows now, in a keyspace that is made when somebody needs it.
        let next = self.shared.generations.next();
        self.shared.switch(group, next)
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.shared.persist()
    }

    fn written_bytes(&self) -> u64 {
        self.shared.written_bytes.load(Ordering::Relaxed)
    }

    fn disk_bytes(&self) -> u64 {
        match self.shared.database.disk_space() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "checkpoint: size on disk is unknown");
                0
            }
        }
    }
}

impl Shared {
    fn keyspace(&self, group: GroupId, generation: u64) -> Result<Keyspace, StoreError> {
        let memtable_bytes_max = self.options.memtable_bytes_max;
        let name = generations::keyspace_name(group, generation);
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes_max);
        self.database.keyspace(&name, options).map_err(read_error)
    }

    /// Makes another keyspace the group's rows, durably with all that was committed before, then gives up the old one.
    fn switch(&self, group: GroupId, generation: u64) -> Result<(), StoreError> {
        self.check_poison()?;
        let switched = self
            .generations
            .switch(&self.database, group, generation, || self.persist());
        let old = switched.map_err(|failure| match failure {
            generations::SwitchError::Engine(error) => self.fail(error),
            generations::SwitchError::Store(error) => error,
        })?;
        self.drop_rows(group, old);
        Ok(())
    }

    /// Deletes a keyspace that nobody needs. What stays after a failure is deleted at the next open.
    fn drop_rows(&self, group: GroupId, generation: u64) {
        let name = generations::keyspace_name(group, generation);
        if let Err(error) = generations::delete_keyspace(&self.database, &name) {
            tracing::warn!(%group, %error, "checkpoint: rows that nobody needs stay on disk");
        }
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.check_poison()?;
        self.database
            .persist(PersistMode::SyncData)
            .map_err(|error| self.fail(error))?;
        metrics::counter!("ringtail_checkpoint_persists_total").increment(1);
        Ok(())
    }

    fn check_poison(&self) -> Result<(), StoreError> {
        match self.poison.get() {
            None => Ok(()),
            Some(cause) => Err(StoreError::Poisoned {
                cause: cause.clone(),
            }),
        }
    }

    /// Refuses large writes while the disk is nearly full, before anything is written: a write that the disk
    /// itself refuses would poison the store.
    fn check_room(&self) -> Result<(), StoreError> {
        self.check_poison()?;
        let free_bytes = self.free_space.free_bytes().map_err(|error| {
            let message = format!("free space is unknown: {error}");
            StoreError::Io { message }
        })?;
        let reserve_bytes = self.options.disk_reserve_bytes;
        if free_bytes < reserve_bytes {
            metrics::counter!("ringtail_checkpoint_full_total").increment(1);
            return Err(StoreError::Full {
                free_bytes,
                reserve_bytes,
            });
        }
        Ok(())
    }

    /// Remembers the first failed write and turns it into an error.
    fn fail(&self, error: fjall::Error) -> StoreError {
        metrics::counter!("ringtail_checkpoint_write_failures_total").increment(1);
        tracing::error!(%error, "checkpoint: a write failed, the store takes no more");
        let failure = write_error(error);
        let cause = self.poison.get_or_init(|| failure.to_string());
        match failure {
            StoreError::Poisoned { .. } => StoreError::Poisoned {
                cause: cause.clone(),
            },
            first => first,
        }
    }
}

fn open_error(path: &Path, error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Locked => StoreError::InUse { path: path.into() },
        fjall::Error::InvalidVersion(found) => StoreError::NotAStore {
            path: path.into(),
            message: format!("the engine's files have format {found:?}"),
        },
        other => read_error(other),
    }
}

fn io_error(error: &std::io::Error) -> StoreError {
    StoreError::Io {
        message: error.to_string(),
    }
}

/// The error of a failed read.
fn read_error(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            io_error(&error)
        }
        other => StoreError::Corrupt {
            message: other.to_string(),
        },
    }
}

/// The error of a failed write.
fn write_error(error: fjall::Error) -> StoreError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            match error.kind() {
                StorageFull | QuotaExceeded => StoreError::RanFull {
                    message: error.to_string(),
                },
                _ => io_error(&error),
            }
        }
        other => StoreError::Poisoned {
            cause: other.to_string(),
        },
    }
}
