//! The log of a node: shared by all its groups.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::{Mutex, RwLock};
use ringtail_proto::GroupId;

use crate::active_segment::ActiveSegment;
use crate::disk::Disk;
use crate::driver::LogDriver;
use crate::error::LogError;
use crate::failure::Failure;
use crate::group_log::GroupLog;
use crate::group_state::GroupState;
use crate::options::LogOptions;
use crate::queue::Queue;
use crate::record::{Record, RecordKind};
use crate::recovery::{self, RecoveryReport};
use crate::segment::SegmentId;
use crate::segments::{RetentionPlan, SegmentInfo, Segments};
use crate::writer::Writer;

/// Where purged segments go, below the log's directory.
const KEPT_DIRECTORY: &str = "kept";

/// The log of a node: shared by all its groups, written by one thread.
///
/// Dropping the last handle closes it: what waits is written, and the last segment is sealed.
pub struct SegmentLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer thread and the groups share.
///
/// Lock order: a group before the segments before the queue; the writer holds one at a time.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    kept_directory: PathBuf,
    pub(crate) options: LogOptions,
    groups: RwLock<HashMap<GroupId, Arc<Mutex<GroupState>>>>,
    pub(crate) segments: Mutex<Segments>,
    pub(crate) queue: Queue,
    pub(crate) failure: Failure,
    pub(crate) is_full: AtomicBool,
    log_bytes: AtomicU64,
    kept_bytes: AtomicU64,
}

impl SegmentLog {
    /// Opens or creates the log in a directory that nobody else uses.
    ///
    /// A torn tail is cut and reported; any other damage is refused, and nothing is changed. Blocks while it reads
    /// the whole log.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: LogOptions,
    ) -> Result<(Arc<Self>, RecoveryReport), LogError> {
        let (shared, writer, report) = open_shared(disk, directory, options)?;
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| LogError::io("start the writer of", directory, error))?;
        let log = Arc::new(Self {
            shared,
            writer: Mutex::new(Some(thread)),
        });
        Ok((log, report))
    }

    /// Like [`SegmentLog::open`], but without a thread: nothing is written until the driver says so. For simulators,
    /// in which a disk takes virtual time.
    pub fn open_driven(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: LogOptions,
    ) -> Result<(Arc<Self>, LogDriver, RecoveryReport), LogError> {
        let (shared, writer, report) = open_shared(disk, directory, options)?;
        let log = Arc::new(Self {
            shared,
            writer: Mutex::new(None),
        });
        Ok((log, LogDriver::new(writer), report))
    }

    /// The log of one group; it comes into being with its first entry.
    #[must_use]
    pub fn group(self: &Arc<Self>, group: GroupId) -> GroupLog {
        GroupLog::new(self.clone(), group, self.shared.group(group))
    }

    /// The groups that the log knows, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self.shared.groups.read().keys().copied().collect();
        groups.sort_unstable();
        groups
    }

    /// The error that stopped the log, if it has failed. The node must exit then: nobody knows what is on disk.
    #[must_use]
    pub fn failure(&self) -> Option<LogError> {
        self.shared.failure.get()
    }

    /// Resolves when the log fails, which a healthy log never does.
    pub fn failed(&self) -> impl Future<Output = LogError> + Send + '_ {
        self.shared.failure.wait()
    }

    /// True while the log waits for space on a full disk, or for a file that it may open. Callers shed what they can; nothing is lost.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.is_full.load(Ordering::Relaxed)
    }

    /// Bytes of the segments that are part of the log.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.shared.log_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the purged segments in `kept/`.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.shared.kept_bytes.load(Ordering::Relaxed)
    }

    /// Writes what waits, seals the last segment and stops the writer. Later requests fail with
    /// [`LogError::Closed`]. Blocks; does nothing the second time.
    pub fn close(&self) {
        self.shared.queue.close();
        let Some(writer) = self.writer.lock().take() else {
            return;
        };
        // A callback may hold the last handle; the writer cannot wait for itself, and ends anyway.
        if writer.thread().id() == thread::current().id() {
            return;
        }
        if writer.join().is_err() {
            self.shared.failure.set(LogError::Closed);
            tracing::error!("log writer panicked");
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// Reads or makes what is on disk, and a writer for it.
fn open_shared(
    disk: Arc<dyn Disk>,
    directory: &Path,
    options: LogOptions,
) -> Result<(Arc<Shared>, Writer, RecoveryReport), LogError> {
    options.validate()?;
    let kept_directory = directory.join(KEPT_DIRECTORY);
    disk.create_directory(&kept_directory)
        .map_err(|error| LogError::io("create", &kept_directory, error))?;
    disk.sync_directory(directory)
        .map_err(|error| LogError::io("sync", directory, error))?;
    let kept_bytes = recovery::kept_bytes(disk.as_ref(), &kept_directory)?;
    let recovered = recovery::recover(disk.as_ref(), directory)?;
    let mut segments = recovered.segments;
    let next = segments
        .last_key_value()
        .map_or(SegmentId(1), |(last, _)| last.next());
    let active = ActiveSegment::create(disk.as_ref(), directory, next, &recovered.heads)?;
    let info = SegmentInfo {
        file: active.file.clone(),
        bytes: active.bytes,
        last_indexes: HashMap::new(),
    };
    segments.insert(next, info);
    let groups = recovered
        .groups
        .into_iter()
        .map(|(group, state)| (group, Arc::new(Mutex::new(state))))
        .collect();
    let shared = Arc::new(Shared {
        disk,
        directory: directory.to_owned(),
        kept_directory,
        options,
        groups: RwLock::new(groups),
        segments: Mutex::new(segments),
        queue: Queue::default(),
        failure: Failure::default(),
        is_full: AtomicBool::new(false),
        log_bytes: AtomicU64::new(0),
        kept_bytes: AtomicU64::new(kept_bytes),
    });
    shared.measure_segments();
    let mut writer = Writer::new(shared.clone(), active, recovered.heads);
    // A crash may have come between a durable purge record and the end of the segments that it freed.
    writer.retire_segments();
    Ok((shared, writer, recovered.report))
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    pub(crate) fn group(&self, group: GroupId) -> Arc<Mutex<GroupState>> {
        if let Some(state) = self.groups.read().get(&group) {
            return state.clone();
        }
        self.groups.write().entry(group).or_default().clone()
    }

    /// Stops the log for good, unless there only was no space while it was being closed.
    pub(crate) fn fail(&self, error: &LogError) {
        if self.failure.get().is_none() {
            tracing::error!(%error, "log has failed and takes nothing more");
            metrics::counter!("ringtail_log_failures_total").increment(1);
        }
        self.failure.set(error.clone());
    }

    pub(crate) fn count_commit(&self, records: usize, bytes: u64) {
        metrics::counter!("ringtail_log_syncs_total").increment(1);
        metrics::counter!("ringtail_log_records_total").increment(records as u64);
        metrics::counter!("ringtail_log_written_bytes_total").increment(bytes);
        self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn measure_segments(&self) {
        let segments = self.segments.lock();
        let bytes = segments.values().map(|segment| segment.bytes).sum();
        self.log_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Commit points that no append has carried to disk yet.
    pub(crate) fn take_unwritten_committed(&self) -> Vec<Record> {
        let groups = self.groups.read();
        let mut records = Vec::new();
        for (group, state) in groups.iter() {
            let mut state = state.lock();
            if state.committed_is_unwritten
                && let Some(committed) = state.committed
            {
                state.committed_is_unwritten = false;
                records.push(Record::positioned(RecordKind::Committed, *group, committed));
            }
        }
        records
    }

    /// Carries out the plan, oldest segment first, so that a crash in between leaves a gapless log. After an error the
    /// rest of the plan is still to be done.
    pub(crate) fn retire(&self, plan: &RetentionPlan) -> Result<(), LogError> {
        let mut ids: Vec<SegmentId> = plan.keep.iter().chain(&plan.remove).copied().collect();
        ids.sort_unstable();
        let mut ids = ids.into_iter();
        let moved = ids.try_for_each(|id| self.retire_one(id, plan.keep.contains(&id)));
        self.measure_segments();
        moved?;
        for directory in [&self.kept_directory, &self.directory] {
            self.disk
                .sync_directory(directory)
                .map_err(|error| LogError::io("sync", directory, error))?;
        }
        Ok(())
    }

    fn retire_one(&self, id: SegmentId, is_kept: bool) -> Result<(), LogError> {
        let name = id.file_name();
        let path = self.directory.join(&name);
        let done = if is_kept {
            self.disk.rename(&path, &self.kept_directory.join(&name))
        } else {
            self.disk.remove(&path)
        };
        done.map_err(|error| LogError::io("retire", &path, error))?;
        let retired = self.segments.lock().remove(&id);
        if let Some(segment) = retired
            && is_kept
        {
            self.kept_bytes.fetch_add(segment.bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}
