//! The segment that is being written.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringtail_proto::GroupId;

use crate::disk::{Disk, DiskFile};
use crate::error::LogError;
use crate::group_head::GroupHead;
use crate::record::{Place, RECORD_HEADER_BYTES, Record};
use crate::segment::{self, SEGMENT_HEADER_BYTES, SegmentId};

/// The segment that is being written, and how far it is written and durable.
pub(crate) struct ActiveSegment {
    pub(crate) id: SegmentId,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    synced_up_to: u64,
}

impl ActiveSegment {
    /// Makes a segment that is durable before it has its name.
    pub(crate) fn create(
        disk: &dyn Disk,
        directory: &Path,
        id: SegmentId,
        heads: &BTreeMap<GroupId, GroupHead>,
    ) -> Result<Self, LogError> {
        let unfinished = directory.join(id.unfinished_file_name());
        let created = Self::create_unfinished(disk, &unfinished, id, heads);
        if created.is_err()
            && let Err(error) = disk.remove(&unfinished)
        {
            // The next open removes it.
            tracing::debug!(%error, segment = %id, "unfinished log segment stays");
        }
        let mut active = created?;
        let path = directory.join(id.file_name());
        disk.rename(&unfinished, &path)
            .map_err(|error| LogError::io("name", &path, error).unproven("name", &path))?;
        disk.sync_directory(directory)
            .map_err(|error| LogError::io("sync", directory, error).unproven("sync", directory))?;
        active.path = path;
        Ok(active)
    }

    fn create_unfinished(
        disk: &dyn Disk,
        path: &Path,
        id: SegmentId,
        heads: &BTreeMap<GroupId, GroupHead>,
    ) -> Result<Self, LogError> {
        let records: Vec<Record> = heads
            .iter()
            .map(|(group, head)| head.to_record(*group))
            .collect();
        let head_bytes = SEGMENT_HEADER_BYTES + records.iter().map(Record::len).sum::<usize>();
        let header = segment::encode_header(id, head_bytes as u32);
        let file = disk
            .create(path)
            .map_err(|error| LogError::io("create", path, error))?;
        file.write_all_at(&mut [IoSlice::new(&header)], 0)
            .map_err(|error| LogError::io("write", path, error))?;
        let mut active = Self {
            id,
            file,
            path: path.to_owned(),
            bytes: SEGMENT_HEADER_BYTES as u64,
            synced_up_to: SEGMENT_HEADER_BYTES as u64,
        };
        active.write(&records.iter().collect::<Vec<_>>())?;
        active.sync()?;
        Ok(active)
    }

    /// A segment found by recovery: all its bytes are durable.
    pub(crate) fn recovered(
        id: SegmentId,
        file: Arc<dyn DiskFile>,
        path: PathBuf,
        bytes: u64,
    ) -> Self {
        Self {
            id,
            file,
            path,
            bytes,
            synced_up_to: bytes,
        }
    }

    /// Writes the records after what is there and returns where each stands. Durable after [`Self::sync`].
    ///
    /// [`LogError::NoSpace`] promises that nothing of them is in the file.
    pub(crate) fn write(&mut self, records: &[&Record]) -> Result<Vec<u32>, LogError> {
        let mut headers = Vec::with_capacity(records.len() * RECORD_HEADER_BYTES);
        let mut offsets = Vec::with_capacity(records.len());
        let mut end = self.bytes;
        for record in records {
            let place = Place {
                segment: self.id,
                offset: u32::try_from(end).expect("limits keep a segment below 4 GiB"),
                synced_up_to: u32::try_from(self.synced_up_to).expect("never beyond the offset"),
            };
            record.encode_header(place, &mut headers);
            offsets.push(place.offset);
            end += record.len() as u64;
        }
        let mut slices = Vec::with_capacity(records.len() * 2);
        for (header, record) in headers.chunks(RECORD_HEADER_BYTES).zip(records) {
            slices.push(IoSlice::new(header));
            if !record.payload.is_empty() {
                slices.push(IoSlice::new(&record.payload));
            }
        }
        match self.file.write_all_at(&mut slices, self.bytes) {
            Ok(()) => {
                self.bytes = end;
                Ok(offsets)
            }
            Err(error) => Err(self.undo_write(LogError::io("write", &self.path, error))),
        }
    }

    /// Removes what a write on a full disk left behind; what cannot be proven absent is no mere lack of space.
    fn undo_write(&self, error: LogError) -> LogError {
        if !matches!(error, LogError::NoSpace(_)) {
            return error;
        }
        let is_absent = self.file.truncate(self.bytes).is_ok()
            && self.file.bytes().is_ok_and(|bytes| bytes == self.bytes);
        if is_absent {
            error
        } else {
            error.unproven("undo a write to", &self.path)
        }
    }

    /// Makes everything written durable. No error of a sync is a mere lack of space: the data may be lost.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        self.file.sync_data().map_err(|error| {
            LogError::io("sync", &self.path, error).unproven("sync", &self.path)
        })?;
        self.synced_up_to = self.bytes;
        Ok(())
    }

    /// Writes the record that says that everything before it is durable and nothing follows.
    pub(crate) fn seal(&mut self) -> Result<(), LogError> {
        self.write(&[&Record::seal()])?;
        self.sync()
    }
}
