//! A range of a group's log becomes objects.

use jiff::civil::Date;
use ringtail_proto::{
    GroupId, LogIndex, UnixMillis,
    stored::{EventBatch, SiteCommand, SiteEvents},
};

use crate::{
    change::ChangeWriter,
    error::ArchiveError,
    event::writer::EventWriter,
    object_path::received_date,
    object_writer::{BuiltObject, ObjectWriter},
    table::Table,
    visit::{self, VisitRow},
};

/// What a row says about its log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryHead {
    /// Where it stands in the log.
    pub index: LogIndex,
    /// The leader's stamp.
    pub stamp: UnixMillis,
    /// The version byte in front of it: which rules apply followed.
    pub version: u8,
}

/// How much one seal may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealOptions {
    /// A seal with so many rows is full; what is then collected takes about 300 bytes a row.
    pub rows_max: usize,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self { rows_max: 1 << 20 }
    }
}

/// Collects entries of one group and one UTC day; equal input makes equal bytes.
pub struct SealBuilder {
    group: GroupId,
    options: SealOptions,
    received: Option<Date>,
    events: EventWriter,
    changes: ChangeWriter,
    visits: Vec<VisitRow>,
}

impl SealBuilder {
    /// An empty seal.
    #[must_use]
    pub fn new(group: GroupId, options: SealOptions) -> Self {
        Self {
            group,
            options,
            received: None,
            events: EventWriter::default(),
            changes: ChangeWriter::default(),
            visits: Vec::new(),
        }
    }

    /// Rows so far.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.events.len() + self.changes.len() + self.visits.len()
    }

    /// True when the seal should end with the entry that was added last.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.rows() >= self.options.rows_max
    }

    /// True when an entry with this stamp belongs into this seal: paths name the UTC date of what they hold.
    #[must_use]
    pub fn takes(&self, stamp: UnixMillis) -> bool {
        self.received
            .is_none_or(|received| received == received_date(stamp))
    }

    /// Adds one site's slice of an entry; `slice` is its position in the batch, and there is a verdict's code for each
    /// event, as the partition replied.
    ///
    /// # Errors
    /// When the entry is of another day or the codes are not as many as the events; nothing was added.
    pub fn events(
        &mut self,
        entry: EntryHead,
        slice: u32,
        batch: &EventBatch,
        events: &SiteEvents,
        codes: &[u8],
    ) -> Result<(), ArchiveError> {
        self.enter(entry)?;
        if codes.len() != events.events.len() {
            return Err(ArchiveError::Entry {
                index: entry.index.0,
                message: format!(
                    "slice {slice} has {} events and {} verdicts",
                    events.events.len(),
                    codes.len()
                ),
            });
        }
        self.changes.push_slice(entry, slice, events);
        self.events.push_slice(entry, slice, batch, events, codes);
        Ok(())
    }

    /// Adds a command of a site.
    ///
    /// # Errors
    /// When the entry is of another day; nothing was added.
    pub fn command(&mut self, entry: EntryHead, command: &SiteCommand) -> Result<(), ArchiveError> {
        self.enter(entry)?;
        self.changes.push_command(entry, command);
        Ok(())
    }

    /// Adds a row of the table of visits; it may be of any hour. It is left out when a row of the same site, generation
    /// and hour with a higher index is added too.
    pub fn visit(&mut self, row: VisitRow) {
        self.visits.push(row);
    }

    fn enter(&mut self, entry: EntryHead) -> Result<(), ArchiveError> {
        let date = received_date(entry.stamp);
        let received = *self.received.get_or_insert(date);
        if received == date {
            return Ok(());
        }
        Err(ArchiveError::Entry {
            index: entry.index.0,
            message: format!("it is of {date}, the seal of {received}"),
        })
    }

    /// At most one object for each table; none for a table without rows.
    ///
    /// # Errors
    /// When there are visits but no entry, so that no date is known, or when rows cannot be encoded.
    pub fn finish(self) -> Result<Vec<BuiltObject>, ArchiveError> {
        let Some(received) = self.received else {
            return match self.visits.first() {
                None => Ok(Vec::new()),
                Some(row) => Err(ArchiveError::Entry {
                    index: row.index.0,
                    message: "visits are sealed with entries, there is none".to_owned(),
                }),
            };
        };
        let mut objects = Vec::new();
        let mut build = |table, rows| -> Result<(), ArchiveError> {
            let mut writer = ObjectWriter::new(table, self.group, received)?;
            writer.write(&rows)?;
            objects.extend(writer.finish()?);
            Ok(())
        };
        build(Table::Events, self.events.finish()?)?;
        build(Table::Visits, visit::to_batch(self.visits)?)?;
        build(Table::Changes, self.changes.finish()?)?;
        Ok(objects)
    }
}
