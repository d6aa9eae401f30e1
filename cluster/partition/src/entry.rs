//! A decoded entry and the parts of it that concern one site.

use std::sync::Arc;

use bytes::Bytes;
use ringtail_proto::{
    GroupId, LogIndex, SiteId, UnixMillis,
    stored::{EntryError, PartitionEntry, partition_entry::Body as EntryBody},
};
use ringtail_raft::{Body, Committed};

use crate::{ApplyAt, PartitionError, SiteChange, UnsealedEntry, group_history::HistoryCommand};

/// An entry of the partition's log, decoded once and shared by the actors of its sites.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) at: ApplyAt,
    body: EntryBody,
}

/// One slice of an entry: what it says to one site.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    entry: Arc<Entry>,
    position: usize,
}

impl Entry {
    /// Reads a command. None for one that says nothing: it is broken alike on every replica, and the log has checked
    /// that these are the bytes that were proposed.
    pub(crate) fn decode(
        group: GroupId,
        index: LogIndex,
        command: Bytes,
    ) -> Result<Option<Arc<Self>>, PartitionError> {
        let decoded = decode(group, index, command)?;
        Ok(decoded.map(|(stamp, body)| {
            let at = ApplyAt { index, stamp };
            Arc::new(Self { at, body })
        }))
    }

    /// True when sites are told something.
    pub(crate) const fn says_something_to_sites(&self) -> bool {
        matches!(self.body, EntryBody::Events(_) | EntryBody::Site(_))
    }

    /// What the entry says about the group's past.
    pub(crate) fn history(&self) -> Option<HistoryCommand> {
        match &self.body {
            EntryBody::Archive(change) => Some(HistoryCommand::Archive(change.clone())),
            EntryBody::Generation(command) => Some(HistoryCommand::Generation(command.clone())),
            EntryBody::Mirrored(mirrored) => {
                Some(HistoryCommand::Mirrored(LogIndex(mirrored.index)))
            }
            EntryBody::Events(_) | EntryBody::Site(_) => None,
        }
    }

    /// The entry's slices in order, with their sites.
    pub(crate) fn slices(self: &Arc<Self>) -> impl Iterator<Item = (SiteId, Slice)> {
        let count = match &self.body {
            EntryBody::Events(batch) => batch.sites.len(),
            EntryBody::Site(_) => 1,
            EntryBody::Archive(_) | EntryBody::Generation(_) | EntryBody::Mirrored(_) => 0,
        };
        (0..count).map(|position| {
            let slice = Slice {
                entry: self.clone(),
                position,
            };
            (slice.site(), slice)
        })
    }
}

impl Slice {
    pub(crate) fn at(&self) -> ApplyAt {
        self.entry.at
    }

    pub(crate) fn change(&self) -> SiteChange<'_> {
        match &self.entry.body {
            EntryBody::Events(batch) => SiteChange::Events {
                batch,
                events: batch
                    .sites
                    .get(self.position)
                    .expect("slices are made for the sites that a batch has"),
            },
            EntryBody::Site(command) => SiteChange::Command(command),
            EntryBody::Archive(_) | EntryBody::Generation(_) | EntryBody::Mirrored(_) => {
                unreachable!("an entry about history has no slices")
            }
        }
    }

    /// The number of codes that the slice is answered with: one for each event, one for a command.
    pub(crate) fn codes(&self) -> usize {
        match self.change() {
            SiteChange::Events { events, .. } => events.events.len(),
            SiteChange::Command(_) => 1,
        }
    }

    /// The number of verdicts that the machine answers.
    pub(crate) fn events(&self) -> usize {
        match self.change() {
            SiteChange::Events { events, .. } => events.events.len(),
            SiteChange::Command(_) => 0,
        }
    }

    /// Which of the entry's slices it is.
    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn is_command(&self) -> bool {
        matches!(self.entry.body, EntryBody::Site(_))
    }

    fn site(&self) -> SiteId {
        match self.change() {
            SiteChange::Events { events, .. } => SiteId(events.site),
            SiteChange::Command(command) => SiteId(command.site),
        }
    }
}

/// The slices of one site in entries that were read from the log again.
pub(crate) fn slices_of(
    group: GroupId,
    site: SiteId,
    entries: Vec<Committed>,
) -> Result<Vec<Slice>, PartitionError> {
    let mut slices = Vec::new();
    for committed in entries {
        let Body::Command(command) = committed.body else {
            continue;
        };
        if let Some(entry) = Entry::decode(group, committed.position.index, command)? {
            let own = entry.slices().filter(|(owner, _)| *owner == site);
            slices.extend(own.map(|(_, slice)| slice));
        }
    }
    Ok(slices)
}

/// An entry for the archive; none for one that says nothing to sites.
pub(crate) fn decode_body(
    group: GroupId,
    index: LogIndex,
    command: Bytes,
) -> Result<Option<UnsealedEntry>, PartitionError> {
    let version = command.first().copied().unwrap_or_default();
    let decoded = decode(group, index, command)?;
    Ok(decoded.and_then(|(stamp, body)| match body {
        EntryBody::Events(_) | EntryBody::Site(_) => Some(UnsealedEntry {
            index,
            version,
            stamp,
            body,
        }),
        EntryBody::Archive(_) | EntryBody::Generation(_) | EntryBody::Mirrored(_) => None,
    }))
}

fn decode(
    group: GroupId,
    index: LogIndex,
    command: Bytes,
) -> Result<Option<(UnixMillis, EntryBody)>, PartitionError> {
    match PartitionEntry::from_log(command) {
        Ok(PartitionEntry {
            stamp_ms,
            body: Some(body),
        }) => Ok(Some((UnixMillis(stamp_ms), body))),
        Ok(PartitionEntry { body: None, .. }) => {
            tracing::error!(%group, %index, "aggregate: skipped an entry that says nothing");
            Ok(None)
        }
        Err(error @ EntryError::Newer { .. }) => Err(PartitionError::Entry {
            group,
            index,
            message: error.to_string(),
        }),
        Err(error) => {
            tracing::error!(%group, %index, %error, "aggregate: skipped a broken entry");
            Ok(None)
        }
    }
}
