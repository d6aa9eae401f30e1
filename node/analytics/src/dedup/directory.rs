//! The hours whose ids are remembered.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use ringtail_proto::{HourStart, LogIndex, RowReader, RowWrite, SiteRow, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{
    id_filter::IdFilter,
    id_rows::{self, IdRows},
};
use crate::{
    state::{error::StateError, id_hash::IdMap},
    values::Chunked,
    zone::HOUR_MS,
};

/// Ids of an hour of stamps are remembered for so many hours from its start: events are accepted for 72 hours of their
/// time, which may be a minute ahead of the stamp; an hour for the length of the hour itself, and one for that minute.
const REMEMBERED_HOURS: i64 = 72 + 2;

/// All remembered hours. What is remembered at a stamp follows from the stamp alone, not from when it is tidied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dedup {
    /// By UTC start of the hour.
    hours: BTreeMap<HourStart, IdHour>,
}

#[derive(Clone, Debug)]
enum IdHour {
    /// All ids in memory, with the index of first acceptance; and those that no row holds yet.
    Open {
        known: IdMap<u64, u64>,
        unsaved: Chunked<(u64, u64)>,
    },
    /// All ids in rows.
    Closed(IdFilter),
}

/// What the site row says about the hours; true for closed ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StoredDedup {
    hours: Vec<(HourStart, bool)>,
}

impl Dedup {
    /// Reads the filters of closed hours and the ids of open ones.
    pub(crate) fn load(stored: &StoredDedup, rows: &dyn RowReader) -> Result<Self, StateError> {
        let mut hours = BTreeMap::new();
        for (hour, is_closed) in &stored.hours {
            let ids = if *is_closed {
                let row = SiteRow::IdFilter(*hour);
                let bytes = rows.get(row)?.ok_or(StateError::Missing { row })?;
                let filter = IdFilter::from_row(bytes);
                IdHour::Closed(filter.map_err(|source| StateError::Row { row, source })?)
            } else {
                let mut known = IdMap::default();
                for_each_part(*hour, rows, |ids| {
                    known.extend(ids.iter());
                    ControlFlow::Continue(())
                })?;
                IdHour::Open {
                    known,
                    unsaved: Chunked::default(),
                }
            };
            hours.insert(*hour, ids);
        }
        Ok(Self { hours })
    }

    pub(crate) fn to_stored(&self) -> StoredDedup {
        StoredDedup {
            hours: self
                .hours
                .iter()
                .map(|(hour, ids)| (*hour, matches!(ids, IdHour::Closed(_))))
                .collect(),
        }
    }

    /// The index under which an id was first accepted, if that is still remembered at this stamp.
    pub(crate) fn find(
        &self,
        hash: u64,
        stamp: UnixMillis,
        rows: &dyn RowReader,
    ) -> Result<Option<LogIndex>, StateError> {
        for (hour, ids) in self.hours.iter().rev() {
            if is_forgotten(*hour, stamp) {
                break;
            }
            match ids {
                IdHour::Open { known, .. } => {
                    if let Some(index) = known.get(&hash) {
                        return Ok(Some(LogIndex(*index)));
                    }
                }
                IdHour::Closed(filter) if filter.may_contain(hash) => {
                    if let Some(index) = find_in_rows(*hour, hash, rows)? {
                        return Ok(Some(LogIndex(index)));
                    }
                }
                IdHour::Closed(_) => {}
            }
        }
        Ok(None)
    }

    /// Remembers an id that was not found.
    pub(crate) fn insert(&mut self, hash: u64, stamp: UnixMillis, index: LogIndex) {
        let hour = utc_hour(stamp);
        let ids = self.hours.entry(hour).or_insert_with(|| IdHour::Open {
            known: IdMap::default(),
            unsaved: Chunked::default(),
        });
        if let IdHour::Open { known, unsaved } = ids {
            known.insert(hash, index.0);
            unsaved.push((hash, index.0));
        }
    }

    /// Writes the new ids, closes hours before the one before the stamp's, forgets what is too old.
    pub(crate) fn checkpoint(
        &mut self,
        stamp: UnixMillis,
        index: LogIndex,
        rows: &dyn RowReader,
        writes: &mut Vec<RowWrite>,
    ) -> Result<(), StateError> {
        self.forget(stamp, rows, writes)?;
        let open_from = HourStart(utc_hour(stamp).0 - HOUR_MS);
        for (hour, ids) in &mut self.hours {
            let IdHour::Open { known, unsaved } = ids else {
                continue;
            };
            if unsaved.len() > 0 {
                let unsaved = std::mem::take(unsaved);
                writes.push(RowWrite {
                    row: SiteRow::Ids(*hour, index),
                    value: Some(id_rows::encode(unsaved.iter().copied().collect())),
                });
            }
            if *hour < open_from {
                let mut hashes: Vec<u64> = known.keys().copied().collect();
                hashes.sort_unstable();
                let filter = IdFilter::of(&hashes);
                writes.push(RowWrite {
                    row: SiteRow::IdFilter(*hour),
                    value: Some(filter.to_row()),
                });
                *ids = IdHour::Closed(filter);
            }
        }
        Ok(())
    }

    /// What a view needs to find ids: hours with rows, and the ids that no row holds yet.
    pub(crate) fn view(&self) -> DedupView {
        let unsaved = |ids: &IdHour| match ids {
            IdHour::Open { unsaved, .. } => unsaved.clone(),
            IdHour::Closed(_) => Chunked::default(),
        };
        DedupView {
            hours: self
                .hours
                .iter()
                .map(|(hour, ids)| (*hour, unsaved(ids)))
                .collect(),
        }
    }

    /// About how many bytes the ids take in memory.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |ids: &IdHour| match ids {
            IdHour::Open { known, unsaved } => known.capacity() * 17 + unsaved.len() * 16,
            IdHour::Closed(filter) => filter.to_row().len(),
        };
        self.hours.values().map(bytes).sum()
    }

    fn forget(
        &mut self,
        stamp: UnixMillis,
        rows: &dyn RowReader,
        writes: &mut Vec<RowWrite>,
    ) -> Result<(), StateError> {
        while let Some(oldest) = self.hours.first_entry() {
            let hour = *oldest.key();
            if !is_forgotten(hour, stamp) {
                break;
            }
            oldest.remove();
            let mut gone = vec![SiteRow::IdFilter(hour)];
            rows.range(
                SiteRow::Ids(hour, LogIndex(0)),
                SiteRow::Ids(hour, LogIndex(u64::MAX)),
                &mut |row, _| {
                    gone.push(row);
                    ControlFlow::Continue(())
                },
            )?;
            writes.extend(gone.into_iter().map(|row| RowWrite { row, value: None }));
        }
        Ok(())
    }
}

/// The ids as of the moment of a view.
#[derive(Clone, Debug)]
pub(crate) struct DedupView {
    hours: Vec<(HourStart, Chunked<(u64, u64)>)>,
}

impl DedupView {
    /// The index of first acceptance. Searches rows, so it may take milliseconds.
    pub(crate) fn find(
        &self,
        hash: u64,
        stamp: UnixMillis,
        rows: &dyn RowReader,
    ) -> Result<Option<LogIndex>, StateError> {
        for (hour, unsaved) in self.hours.iter().rev() {
            if is_forgotten(*hour, stamp) {
                break;
            }
            if let Some((_, index)) = unsaved.iter().find(|(known, _)| *known == hash) {
                return Ok(Some(LogIndex(*index)));
            }
            if let Some(index) = find_in_rows(*hour, hash, rows)? {
                return Ok(Some(LogIndex(index)));
            }
        }
        Ok(None)
    }
}

fn is_forgotten(hour: HourStart, stamp: UnixMillis) -> bool {
    hour.0.saturating_add(REMEMBERED_HOURS * HOUR_MS) <= stamp.0
}

fn utc_hour(stamp: UnixMillis) -> HourStart {
    HourStart(stamp.0.div_euclid(HOUR_MS) * HOUR_MS)
}

fn find_in_rows(
    hour: HourStart,
    hash: u64,
    rows: &dyn RowReader,
) -> Result<Option<u64>, StateError> {
    let mut found = None;
    for_each_part(hour, rows, |ids| {
        found = ids.find(hash);
        match found {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    })?;
    Ok(found)
}

fn for_each_part(
    hour: HourStart,
    rows: &dyn RowReader,
    mut visit: impl FnMut(IdRows<'_>) -> ControlFlow<()>,
) -> Result<(), StateError> {
    let mut failed = None;
    let mut each = |row: SiteRow, value: Bytes| match IdRows::read(&value) {
        Ok(ids) => visit(ids),
        Err(source) => {
            failed = Some(StateError::Row { row, source });
            ControlFlow::Break(())
        }
    };
    rows.range(
        SiteRow::Ids(hour, LogIndex(0)),
        SiteRow::Ids(hour, LogIndex(u64::MAX)),
        &mut each,
    )?;
    failed.map_or(Ok(()), Err)
}
