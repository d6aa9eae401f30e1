//! Opening: reads every segment, cuts a provably torn tail, refuses any other damage.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ringtail_proto::{GroupId, LogIndex};

use crate::active_segment::ActiveSegment;
use crate::disk::{Disk, DiskFile};
use crate::error::LogError;
use crate::group_head::GroupHead;
use crate::group_state::{GroupState, Location};
use crate::record::{self, Record, RecordKind};
use crate::segment::{self, SEGMENT_HEADER_BYTES, SegmentId};
use crate::segments::{SegmentInfo, Segments};

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments read.
    pub segments: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Entries that are kept, over all groups.
    pub entries: u64,
    /// The end of the last segment that was cut off, if any.
    pub torn_tail: Option<TornTail>,
}

/// Bytes that were being written when the node stopped; none of them was ever acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub segment: SegmentId,
    /// Where it was cut, in bytes from its start.
    pub offset: u64,
    /// Bytes cut off.
    pub bytes: u64,
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} entries in {} segments, {} bytes",
            self.entries, self.segments, self.log_bytes
        )?;
        if let Some(tail) = self.torn_tail {
            write!(
                formatter,
                "; torn tail of {} bytes cut off segment {} at byte {}",
                tail.bytes, tail.segment, tail.offset
            )?;
        }
        Ok(())
    }
}

/// What opening rebuilt.
#[derive(Default)]
pub(crate) struct Recovered {
    pub(crate) groups: BTreeMap<GroupId, GroupState>,
    pub(crate) heads: BTreeMap<GroupId, GroupHead>,
    pub(crate) segments: Segments,
    pub(crate) report: RecoveryReport,
    /// Groups whose first segments are gone, with the first index that is not: a purge must cover what is before.
    unread: HashMap<GroupId, LogIndex>,
}

/// Reads all segments of the directory. Changes nothing but a torn tail, the missing seal and unfinished segments.
pub(crate) fn recover(disk: &dyn Disk, directory: &Path) -> Result<Recovered, LogError> {
    let ids = list_segments(disk, directory)?;
    let mut recovered = Recovered::default();
    let mut previous: Option<SegmentId> = None;
    for id in &ids {
        if let Some(previous) = previous
            && previous.next() != *id
        {
            return Err(LogError::MissingSegment {
                segment: previous.next(),
            });
        }
        previous = Some(*id);
        recovered.read_segment(disk, directory, *id, ids.last() == Some(id))?;
    }
    recovered.check_unread()?;
    Ok(recovered)
}

fn list_segments(disk: &dyn Disk, directory: &Path) -> Result<Vec<SegmentId>, LogError> {
    let names = disk
        .list_files(directory)
        .map_err(|error| LogError::io("list", directory, error))?;
    let mut ids = Vec::new();
    for name in names {
        if let Some(id) = SegmentId::from_file_name(&name) {
            ids.push(id);
        } else if segment::is_unfinished(&name) {
            let path = directory.join(name);
            disk.remove(&path)
                .map_err(|error| LogError::io("remove", &path, error))?;
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

impl Recovered {
    fn read_segment(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
        id: SegmentId,
        is_last: bool,
    ) -> Result<(), LogError> {
        let path = directory.join(id.file_name());
        let file = disk
            .open(&path)
            .map_err(|error| LogError::io("open", &path, error))?;
        let bytes = read_file(file.as_ref(), &path)?;
        let mut info = SegmentInfo {
            file: file.clone(),
            bytes: bytes.len() as u64,
            last_indexes: HashMap::new(),
        };
        let end = self.follow_records(&bytes, id, &mut info)?;
        let good_bytes = match end {
            End::Sealed => bytes.len() as u64,
            End::Open if !is_last => {
                return Err(LogError::Corrupt {
                    segment: id,
                    offset: bytes.len() as u64,
                    reason: "a sealed segment ends without its seal",
                });
            }
            End::Open => bytes.len() as u64,
            End::Bad {
                offset,
                reason,
                synced_up_to,
            } => {
                let is_torn = is_last && proven_durable(&bytes, id, offset, synced_up_to) <= offset;
                if !is_torn {
                    return Err(LogError::Corrupt {
                        segment: id,
                        offset: offset as u64,
                        reason,
                    });
                }
                self.report.torn_tail = Some(TornTail {
                    segment: id,
                    offset: offset as u64,
                    bytes: (bytes.len() - offset) as u64,
                });
                file.truncate(offset as u64)
                    .map_err(|error| LogError::io("cut", &path, error))?;
                offset as u64
            }
        };
        if !matches!(end, End::Sealed) {
            // What was read may be in the page cache only; from here on it is trusted, so it must be on disk.
            file.sync_data()
                .map_err(|error| LogError::io("sync", &path, error))?;
            let mut active = ActiveSegment::recovered(id, file, path, good_bytes);
            active.seal()?;
            info.bytes = active.bytes;
        }
        self.report.segments += 1;
        self.report.log_bytes += info.bytes;
        self.segments.insert(id, info);
        Ok(())
    }

    fn follow_records(
        &mut self,
        bytes: &Bytes,
        id: SegmentId,
        info: &mut SegmentInfo,
    ) -> Result<End, LogError> {
        let mut synced_up_to = segment::check_header(bytes, id)? as usize;
        let mut offset = SEGMENT_HEADER_BYTES;
        while offset < bytes.len() {
            let (record, place) = match record::decode(bytes, id, offset) {
                Ok(decoded) => decoded,
                Err(reason) => {
                    return Ok(End::Bad {
                        offset,
                        reason,
                        synced_up_to,
                    });
                }
            };
            synced_up_to = synced_up_to.max(place.synced_up_to as usize);
            let location = Location {
                segment: id,
                offset: place.offset,
                payload_bytes: record.payload.len() as u32,
            };
            self.follow(&record, location, info)?;
            offset += record.len();
            if record.kind == RecordKind::Seal {
                if offset < bytes.len() {
                    return Err(LogError::Corrupt {
                        segment: id,
                        offset: offset as u64,
                        reason: "bytes follow the seal",
                    });
                }
                return Ok(End::Sealed);
            }
        }
        if synced_up_to > offset {
            return Ok(End::Bad {
                offset,
                reason: "segment is shorter than it was",
                synced_up_to,
            });
        }
        Ok(End::Open)
    }

    fn follow(
        &mut self,
        record: &Record,
        location: Location,
        info: &mut SegmentInfo,
    ) -> Result<(), LogError> {
        let group = record.group;
        match record.kind {
            RecordKind::Seal => return Ok(()),
            RecordKind::GroupHead => return self.follow_head(record, location),
            _ => {}
        }
        let state = self.groups.entry(group).or_default();
        match record.kind {
            RecordKind::Entry => {
                let found = record.position.index;
                if let Some(expected) = state.next()
                    && expected != found.0
                {
                    return Err(LogError::Hole {
                        group,
                        expected: LogIndex(expected),
                        found,
                    });
                }
                state.push_recovered(record.position, record.tag, location);
                info.note_entry(group, found);
            }
            RecordKind::Truncate => {
                if self.unread.contains_key(&group) {
                    state.start_below(record.position.index);
                }
                state.truncate(record.position.index);
            }
            RecordKind::Purge => state.purge(record.position),
            RecordKind::Vote => state.vote = Some(record.as_vote()),
            RecordKind::Committed => state.committed = Some(record.position),
            RecordKind::GroupHead | RecordKind::Seal => {}
        }
        self.heads.entry(group).or_default().follow(record);
        Ok(())
    }

    /// The first segment's heads stand for the segments that are gone; any later head repeats what was read.
    fn follow_head(&mut self, record: &Record, location: Location) -> Result<(), LogError> {
        let corrupt = |reason| LogError::Corrupt {
            segment: location.segment,
            offset: u64::from(location.offset),
            reason,
        };
        let group = record.group;
        let head =
            GroupHead::from_record(record).ok_or_else(|| corrupt("group head is cut short"))?;
        if !self.segments.is_empty() {
            let known = self.heads.get(&group).copied().unwrap_or_default();
            if known != head {
                return Err(corrupt("group head contradicts the segments before it"));
            }
            return Ok(());
        }
        let state = self.groups.entry(group).or_default();
        state.vote = head.vote;
        state.committed = head.committed;
        if let Some(purged) = head.purged {
            state.purge(purged);
        }
        if let Some(next) = head.next {
            state.start_at(next);
            self.unread.insert(group, next);
        }
        self.heads.insert(group, head);
        Ok(())
    }

    /// Entries that were in segments that are gone must have been purged.
    fn check_unread(&mut self) -> Result<(), LogError> {
        for (group, found) in &self.unread {
            let state = self.groups.get(group);
            let purged = state.and_then(|state| state.purged);
            let expected = LogIndex(purged.map_or(0, |purged| purged.index.0 + 1));
            if expected < *found {
                return Err(LogError::Hole {
                    group: *group,
                    expected,
                    found: *found,
                });
            }
        }
        for state in self.groups.values() {
            let first = state.first_entry().map_or(0, |entry| entry.index.0);
            let next = state.next().filter(|_| state.first_entry().is_some());
            self.report.entries += next.map_or(0, |next| next - first);
        }
        Ok(())
    }
}

/// How the records of a segment end.
enum End {
    /// With a seal, at the end of the file.
    Sealed,
    /// With a good record, at the end of the file.
    Open,
    /// At a bad record.
    Bad {
        offset: usize,
        reason: &'static str,
        /// Highest durable mark of the records before.
        synced_up_to: usize,
    },
}

/// How much of the segment is known to have been durable once, from the records before and after the bad one.
fn proven_durable(bytes: &Bytes, id: SegmentId, bad: usize, synced_up_to: usize) -> usize {
    let mut durable = synced_up_to;
    let mut from = bad + 1;
    while let Some(candidate) = record::next_marker(bytes, from) {
        from = candidate + 1;
        if let Ok((record, place)) = record::decode(bytes, id, candidate) {
            durable = durable.max(place.synced_up_to as usize);
            from = candidate + record.len();
        }
    }
    durable
}

fn read_file(file: &dyn DiskFile, path: &Path) -> Result<Bytes, LogError> {
    let length = file
        .bytes()
        .map_err(|error| LogError::io("measure", path, error))?;
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0)
        .map_err(|error| LogError::io("read", path, error))?;
    Ok(Bytes::from(bytes))
}

/// Bytes of the files in the directory of purged segments.
pub(crate) fn kept_bytes(disk: &dyn Disk, kept_directory: &Path) -> Result<u64, LogError> {
    let names = disk
        .list_files(kept_directory)
        .map_err(|error| LogError::io("list", kept_directory, error))?;
    let mut total = 0;
    for name in names {
        let path = kept_directory.join(name);
        let file: Arc<dyn DiskFile> = disk
            .open(&path)
            .map_err(|error| LogError::io("open", &path, error))?;
        total += file
            .bytes()
            .map_err(|error| LogError::io("measure", &path, error))?;
    }
    Ok(total)
}
