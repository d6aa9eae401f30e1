//! The writer thread: one write and one sync for everything that waits, over all groups.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ringtail_proto::GroupId;

use crate::active_segment::ActiveSegment;
use crate::error::LogError;
use crate::group_head::GroupHead;
use crate::group_state::Location;
use crate::queue::Request;
use crate::record::{Record, RecordKind};
use crate::segment_log::Shared;
use crate::segments::{RetentionPlan, SegmentInfo};

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    active: ActiveSegment,
    /// What is on disk of each group, in disk order: the heads of the next segment.
    heads: BTreeMap<GroupId, GroupHead>,
    /// The last attempt to let segments go failed.
    is_retire_failing: bool,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        active: ActiveSegment,
        heads: BTreeMap<GroupId, GroupHead>,
    ) -> Self {
        Self {
            shared,
            active,
            heads,
            is_retire_failing: false,
        }
    }

    /// Works until the queue is closed and empty. Every request is answered, whatever happens.
    pub(crate) fn run(mut self) {
        while let Some(requests) = self.shared.queue.take() {
            self.commit_all(requests);
        }
        self.finish();
    }

    /// Commits requests in as few writes as the limits allow.
    pub(crate) fn commit_all(&mut self, requests: Vec<Request>) {
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let mut batch_bytes = 0;
            let batch: Vec<Request> = std::iter::from_fn(|| {
                let fits = batch_bytes < self.shared.options.batch_bytes_max;
                let request = if fits { requests.next() } else { None }?;
                batch_bytes += request.bytes();
                Some(request)
            })
            .collect();
            self.commit(batch, batch_bytes);
        }
    }

    fn commit(&mut self, batch: Vec<Request>, batch_bytes: u64) {
        let result = match self.shared.failure.get() {
            Some(error) => Err(error),
            None => self.write_durably(&batch, batch_bytes),
        };
        if let Err(error) = &result {
            self.shared.fail(error);
        }
        for request in batch {
            request.answer(result.clone());
        }
        if result.is_ok()
            && let Err(error) = self.tidy_up()
        {
            self.shared.fail(&error);
        }
    }

    fn write_durably(&mut self, batch: &[Request], batch_bytes: u64) -> Result<(), LogError> {
        if self.active.bytes + batch_bytes > u64::from(u32::MAX) {
            self.roll()?;
        }
        let records: Vec<&Record> = batch.iter().flat_map(|request| &request.records).collect();
        let offsets = self.when_there_is_space(|writer| writer.active.write(&records))?;
        self.active.sync()?;
        self.shared.count_commit(records.len(), batch_bytes);
        self.publish(batch, offsets);
        Ok(())
    }

    /// Repeats what found the disk or the table of open files full until it succeeds or the log is closed. Either
    /// undoes itself when someone makes room, and until then nothing is lost: everyone simply waits.
    fn when_there_is_space<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        loop {
            let result = work(self);
            let shortage = match &result {
                Err(error @ LogError::NoSpace(_)) => Some(error),
                _ => None,
            };
            let was_full = self
                .shared
                .is_full
                .swap(shortage.is_some(), Ordering::Relaxed);
            let Some(error) = shortage else {
                if was_full {
                    tracing::info!("log has space again");
                }
                return result;
            };
            if !was_full {
                tracing::error!(%error, "log waits for space");
            }
            if self
                .shared
                .queue
                .pause(self.shared.options.space_retry_interval)
            {
                return result;
            }
        }
    }

    /// Tells the groups where their entries are, and follows the records in disk order.
    fn publish(&mut self, batch: &[Request], offsets: Vec<u32>) {
        let mut offsets = offsets.into_iter();
        let mut entries = Vec::new();
        for request in batch {
            for (record, offset) in request.records.iter().zip(offsets.by_ref()) {
                self.heads.entry(record.group).or_default().follow(record);
                if record.kind == RecordKind::Entry {
                    entries.push((record, offset, request.truncations));
                }
            }
        }
        for run in entries.chunk_by(|(left, ..), (right, ..)| left.group == right.group) {
            let Some((first, ..)) = run.first() else {
                continue;
            };
            let group = self.shared.group(first.group);
            let mut group = group.lock();
            for (record, offset, truncations) in run {
                let location = Location {
                    segment: self.active.id,
                    offset: *offset,
                    payload_bytes: record.payload.len() as u32,
                };
                group.locate(record.position.index, *truncations, location);
            }
            group.shrink_cache(self.shared.options.group_cache_bytes_max);
        }
        let mut segments = self.shared.segments.lock();
        if let Some(info) = segments.get_mut(&self.active.id) {
            for (record, ..) in &entries {
                info.note_entry(record.group, record.position.index);
            }
            info.bytes = self.active.bytes;
        }
    }

    /// What a commit may have made due: a new segment, and the end of old ones.
    fn tidy_up(&mut self) -> Result<(), LogError> {
        if self.active.bytes >= self.shared.options.segment_bytes_max {
            self.roll()?;
        }
        self.retire_segments();
        Ok(())
    }

    fn roll(&mut self) -> Result<(), LogError> {
        self.when_there_is_space(|writer| writer.active.seal())?;
        let next = self.active.id.next();
        let active = self.when_there_is_space(|writer| {
            let shared = &writer.shared;
            ActiveSegment::create(shared.disk.as_ref(), &shared.directory, next, &writer.heads)
        })?;
        let mut segments = self.shared.segments.lock();
        if let Some(info) = segments.get_mut(&self.active.id) {
            info.bytes = self.active.bytes;
        }
        let info = SegmentInfo {
            file: active.file.clone(),
            bytes: active.bytes,
            last_indexes: HashMap::new(),
        };
        segments.insert(next, info);
        drop(segments);
        self.active = active;
        self.shared.measure_segments();
        Ok(())
    }

    /// Lets segments go whose entries are all purged. The purge records are on disk: `heads` follows only what is.
    ///
    /// A segment that cannot go costs space and nothing else: it stays in the log, and the next commit tries again.
    pub(crate) fn retire_segments(&mut self) {
        let plan = {
            let segments = self.shared.segments.lock();
            let keeps_purged = self.shared.options.keeps_purged;
            RetentionPlan::new(&segments, keeps_purged, |group| {
                Some(self.heads.get(&group)?.purged?.index)
            })
        };
        if plan.is_empty() {
            return;
        }
        let result = self.shared.retire(&plan);
        let was_failing = std::mem::replace(&mut self.is_retire_failing, result.is_err());
        match result {
            Ok(()) => tracing::info!(%plan, "purged log segments have left the log"),
            Err(error) => {
                metrics::counter!("ringtail_log_retire_failures_total").increment(1);
                // Once for all repetitions.
                if !was_failing {
                    tracing::error!(%error, %plan, "purged log segments cannot leave the log");
                }
            }
        }
    }

    /// Leaves a sealed segment behind, so that every byte of it is known to have been durable.
    pub(crate) fn finish(mut self) {
        if self.shared.failure.get().is_some() {
            return;
        }
        let committed = self.shared.take_unwritten_committed();
        let written = self.active.write(&committed.iter().collect::<Vec<_>>());
        if let Err(error) = written.and_then(|_| self.active.seal()) {
            // Nothing acknowledged depends on the seal: without it the next open looks for a torn tail.
            tracing::warn!(%error, "log segment is left without its seal");
        }
    }
}
