//! The segments on disk, and which of them may go.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use ringtail_proto::{GroupId, LogIndex};

use crate::disk::DiskFile;
use crate::segment::SegmentId;

/// What is known of one segment.
pub(crate) struct SegmentInfo {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
    /// Highest index of each group's entries in the segment.
    pub(crate) last_indexes: HashMap<GroupId, LogIndex>,
}

impl SegmentInfo {
    pub(crate) fn note_entry(&mut self, group: GroupId, index: LogIndex) {
        let last = self.last_indexes.entry(group).or_insert(index);
        *last = index.max(*last);
    }
}

pub(crate) type Segments = BTreeMap<SegmentId, SegmentInfo>;

/// Which segments go: the longest prefix of sealed segments that hold no entry anyone needs.
///
/// Only a prefix, because a truncation or purge of a newer segment applies to entries of an older one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetentionPlan {
    /// Moved to `kept/`: they hold entries that nobody has archived.
    pub(crate) keep: Vec<SegmentId>,
    /// Removed: they hold no entry, or none that anyone needs.
    pub(crate) remove: Vec<SegmentId>,
}

impl RetentionPlan {
    /// `purged` is the durable purge point of a group.
    pub(crate) fn new(
        segments: &Segments,
        keeps_purged: bool,
        purged: impl Fn(GroupId) -> Option<LogIndex>,
    ) -> Self {
        let mut plan = Self::default();
        let sealed = segments.len().saturating_sub(1);
        for (id, segment) in segments.iter().take(sealed) {
            let is_needed = segment
                .last_indexes
                .iter()
                .any(|(group, last)| purged(*group) < Some(*last));
            if is_needed {
                break;
            }
            if segment.last_indexes.is_empty() || !keeps_purged {
                plan.remove.push(*id);
            } else {
                plan.keep.push(*id);
            }
        }
        plan
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keep.is_empty() && self.remove.is_empty()
    }
}

impl fmt::Display for RetentionPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("move to kept:")?;
        for id in &self.keep {
            write!(formatter, " {id}")?;
        }
        formatter.write_str("; remove:")?;
        for id in &self.remove {
            write!(formatter, " {id}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::Disk;
    use crate::fault_disk::FaultDisk;

    fn segments(contents: &[&[(u32, u64)]]) -> Segments {
        let file = FaultDisk::new()
            .create(Path::new("/file"))
            .expect("healthy");
        let mut segments = Segments::new();
        for (id, entries) in contents.iter().enumerate() {
            let mut info = SegmentInfo {
                file: file.clone(),
                bytes: 0,
                last_indexes: HashMap::new(),
            };
            for (group, index) in *entries {
                info.note_entry(GroupId(*group), LogIndex(*index));
            }
            segments.insert(SegmentId(id as u32), info);
        }
        segments
    }

    #[test]
    fn only_a_prefix_of_sealed_segments_goes() {
        let check_keeping = |keeps_purged, purged: &[(u32, u64)], expect: &str| {
            let segments = segments(&[&[(1, 10), (2, 5)], &[], &[(1, 20)], &[(2, 9)], &[(1, 21)]]);
            let purged: HashMap<_, _> = purged
                .iter()
                .map(|(group, index)| (GroupId(*group), LogIndex(*index)))
                .collect();
            let plan =
                RetentionPlan::new(&segments, keeps_purged, |group| purged.get(&group).copied());
            assert_eq!(plan.to_string(), expect);
        };
        let check = |purged: &[(u32, u64)], expect: &str| check_keeping(true, purged, expect);
        check_keeping(false, &[(1, 10)], "move to kept:; remove:");
        check_keeping(
            false,
            &[(1, 99), (2, 99)],
            "move to kept:; remove: 00000000 00000001 00000002 00000003",
        );
        check(&[], "move to kept:; remove:");
        check(&[(1, 10)], "move to kept:; remove:");
        check(&[(1, 10), (2, 4)], "move to kept:; remove:");
        check(
            &[(1, 10), (2, 5)],
            "move to kept: 00000000; remove: 00000001",
        );
        check(
            &[(1, 19), (2, 99)],
            "move to kept: 00000000; remove: 00000001",
        );
        check(
            &[(1, 99), (2, 99)],
            "move to kept: 00000000 00000002 00000003; remove: 00000001",
        );
    }
}
