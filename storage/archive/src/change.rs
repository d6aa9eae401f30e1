//! The table `changes`: what the log says about a site beside its events.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, RecordBatch,
    cast::AsArray,
    types::{Int64Type, UInt8Type, UInt32Type, UInt64Type},
};
use bytes::Bytes;
use prost::Message;
use ringtail_proto::stored::{SiteCommand, SiteEvents, site_command::Change};

use crate::{
    error::ArchiveError,
    event::{
        columns::{Texts, at, primitive, u32s, u64s},
        writer::{in_order, optional, required},
    },
    intern::Interned,
    seal::EntryHead,
    table::{SortKey, Table},
};

const SETTINGS: &str = "settings";
const IMPORT_FINISHED: &str = "import_finished";
const OTHER: &str = "other";
const SLICE: &str = "slice";

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ChangeRow {
    /// A command as it stood in the log.
    Command(SiteCommand),
    /// A slice without its events: its import mark, or only that it was there.
    Slice(u32, SiteEvents),
}

/// Collects rows in any order.
#[derive(Default)]
pub(crate) struct ChangeWriter {
    keys: Vec<SortKey>,
    slices: Vec<Option<u32>>,
    rule_versions: Vec<u8>,
    kinds: Interned<Bytes>,
    values: Vec<Vec<u8>>,
}

impl ChangeWriter {
    pub(crate) const fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn push_command(&mut self, entry: EntryHead, command: &SiteCommand) {
        let kind = match command.change {
            Some(Change::Settings(_)) => SETTINGS,
            Some(Change::ImportFinished(_)) => IMPORT_FINISHED,
            None => OTHER,
        };
        self.push(entry, command.site, None, kind, command.encode_to_vec());
    }

    /// Keeps what rows of events do not tell of a slice.
    ///
    /// A mark stands here and not in the events' rows, because it counts even when erasure takes the events away.
    pub(crate) fn push_slice(&mut self, entry: EntryHead, slice: u32, events: &SiteEvents) {
        if events.import.is_none() && !events.events.is_empty() {
            return;
        }
        let mut mark = events.import.clone();
        if let Some(mark) = &mut mark
            && mark.lines.len() == events.events.len()
        {
            // Each event's row has its line.
            mark.lines.clear();
        }
        let rest = SiteEvents {
            site: events.site,
            events: Vec::new(),
            import: mark,
        };
        self.push(entry, events.site, Some(slice), SLICE, rest.encode_to_vec());
    }

    fn push(
        &mut self,
        entry: EntryHead,
        site: u64,
        slice: Option<u32>,
        kind: &'static str,
        value: Vec<u8>,
    ) {
        let key = (site, entry.stamp.0, entry.index.0, slice.unwrap_or(0), 0);
        self.keys.push(key);
        self.slices.push(slice);
        self.rule_versions.push(entry.version);
        self.kinds.push(Some(&Bytes::from_static(kind.as_bytes())));
        self.values.push(value);
    }

    /// The rows in the order of their keys.
    pub(crate) fn finish(self) -> Result<RecordBatch, ArchiveError> {
        let mut order: Vec<u32> = (0..self.keys.len() as u32).collect();
        order.sort_by_key(|row| self.keys.get(*row as usize));
        let order = order.as_slice();
        let keys: Vec<SortKey> = in_order(&self.keys, order).collect();
        let values = order
            .iter()
            .filter_map(|row| self.values.get(*row as usize).map(Vec::as_slice));
        let columns: Vec<ArrayRef> = vec![
            required::<UInt64Type>(keys.iter().map(|key| key.0)),
            required::<Int64Type>(keys.iter().map(|key| key.1)),
            required::<UInt64Type>(keys.iter().map(|key| key.2)),
            optional::<UInt32Type>(in_order(&self.slices, order)),
            required::<UInt8Type>(in_order(&self.rule_versions, order)),
            Arc::new(self.kinds.text_column(order)),
            Arc::new(BinaryArray::from_iter_values(values)),
        ];
        RecordBatch::try_new(Table::Changes.schema(), columns).map_err(ArchiveError::encode)
    }
}

/// The rows of a batch with their entries; none when one is not what we write.
pub(crate) fn read(batch: &RecordBatch) -> Option<Vec<(EntryHead, ChangeRow)>> {
    let stamps = primitive::<Int64Type>(batch, "stamp_ms")?;
    let indexes = u64s(batch, "log_index")?;
    let slices = u32s(batch, "slice")?;
    let versions = primitive::<UInt8Type>(batch, "rule_version")?;
    let kinds = Texts::of(batch, "kind")?;
    let values = batch.column_by_name("value")?.as_binary_opt::<i32>()?;
    (0..batch.num_rows())
        .map(|row| {
            let entry = EntryHead {
                index: indexes.value(row).into(),
                stamp: stamps.value(row).into(),
                version: versions.value(row),
            };
            let value = values.value(row);
            let change = match (kinds.get(row)?, at(slices, row)) {
                (SLICE, Some(slice)) => ChangeRow::Slice(slice, SiteEvents::decode(value).ok()?),
                (SETTINGS | IMPORT_FINISHED | OTHER, None) => {
                    ChangeRow::Command(SiteCommand::decode(value).ok()?)
                }
                _ => return None,
            };
            Some((entry, change))
        })
        .collect()
}
