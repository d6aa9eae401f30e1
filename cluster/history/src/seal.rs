//! Entries of the log as objects of the archive.

use ringtail_archive::{ArchiveError, BuiltObject, EntryHead, SealBuilder, SealOptions};
use ringtail_partition::{Unsealed, UnsealedEntry};
use ringtail_proto::{GroupId, LogIndex, Verdict, stored::partition_entry::Body};

/// The objects that hold a group's entries; equal entries with equal verdicts give equal objects.
pub(crate) fn build(group: GroupId, unsealed: &Unsealed) -> Result<Vec<BuiltObject>, ArchiveError> {
    let mut builder = SealBuilder::new(group, SealOptions::default());
    for entry in &unsealed.entries {
        add(&mut builder, unsealed, entry)?;
    }
    builder.finish()
}

fn add(
    builder: &mut SealBuilder,
    unsealed: &Unsealed,
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
                let codes = codes(unsealed, entry.index, slice, events.events.len());
                builder.events(head, slice, batch, events, &codes)?;
            }
        }
        Body::Site(command) => builder.command(head, command)?,
        Body::Archive(_) | Body::Generation(_) | Body::Mirrored(_) => {}
    }
    Ok(())
}

/// What is not noted was plainly accepted.
fn codes(unsealed: &Unsealed, index: LogIndex, slice: u32, events: usize) -> Vec<u8> {
    let noted = unsealed.verdicts.get(&(index, slice));
    noted.map_or_else(|| vec![Verdict::Accepted.code(); events], Clone::clone)
}
