//! Entries of the log as objects of the archive.

use std::collections::BTreeMap;

use ringtail_archive::{ArchiveError, BuiltObject, EntryHead, SealBuilder, SealOptions};
use ringtail_partition::UnsealedEntry;
use ringtail_proto::{GroupId, LogIndex, Verdict, stored::partition_entry::Body};

/// The verdicts of those slices of which not every event was plainly accepted.
type Verdicts = BTreeMap<(LogIndex, u32), Vec<u8>>;

/// The objects that hold a group's entries; equal entries with equal verdicts give equal objects.
pub(crate) fn build(
    group: GroupId,
    entries: &[UnsealedEntry],
    verdicts: &Verdicts,
) -> Result<Vec<BuiltObject>, ArchiveError> {
    let mut builder = SealBuilder::new(group, SealOptions::default());
    for entry in entries {
        add(&mut builder, verdicts, entry)?;
    }
    builder.finish()
}

fn add(
    builder: &mut SealBuilder,
    verdicts: &Verdicts,
    entry: &UnsealedEntry,
) -> Result<(), ArchiveError> {
    let head = EntryHead {
        index: entry.index,
        stamp: entry.stamp,
        version: entry.version,
    };
    match &entry.body {
        Body::Events(batch) => {
            for (slice, events) in (0..).zip(&batch.sites) {
                let codes = codes(verdicts, entry.index, slice, events.events.len());
                builder.events(head, slice, batch, events, &codes)?;
            }
        }
        Body::Site(command) => builder.command(head, command)?,
        Body::Archive(_) | Body::Generation(_) | Body::Mirrored(_) => {}
    }
    Ok(())
}

/// What is not noted was plainly accepted.
fn codes(verdicts: &Verdicts, index: LogIndex, slice: u32, events: usize) -> Vec<u8> {
    let noted = verdicts.get(&(index, slice));
    noted.map_or_else(|| vec![Verdict::Accepted.code(); events], Clone::clone)
}
