//! Hours read back from the store while late events are merged.

use std::{collections::BTreeMap, rc::Rc};

use hashbrown::HashMap;
use ringtail_proto::{HourStart, RowReader, SiteRow};

use super::{error::StateError, id_hash::IdMap};
use crate::{
    Zone,
    interner::Interner,
    rows::{
        stored_hour::{StoredHour, StoredRow},
        stored_values::Transfer,
    },
    visit::chain::Chain,
};

/// So many rows of hours are kept at hand; late events come in the order of time, so the earliest hours go first.
const ROWS_KEPT_MAX: usize = 500_000;
const HOURS_KEPT_MAX: usize = 256;

/// A small cache of decoded hours.
pub(super) struct StoreHours<'a> {
    rows: &'a dyn RowReader,
    hours: BTreeMap<HourStart, Rc<StoreHour>>,
    rows_kept: usize,
}

/// An hour with its rows by visitor id.
#[derive(Default)]
pub(super) struct StoreHour {
    pub(super) hour: StoredHour,
    by_id: IdMap<u64, Vec<usize>>,
}

impl StoreHour {
    /// The rows that carry a visitor id.
    pub(super) fn rows_of(&self, id: u64) -> impl Iterator<Item = &StoredRow> {
        let positions = self.by_id.get(&id).map_or(&[][..], Vec::as_slice);
        positions
            .iter()
            .filter_map(|position| self.hour.rows.get(*position))
    }
}

impl<'a> StoreHours<'a> {
    pub(super) fn new(rows: &'a dyn RowReader) -> Self {
        Self {
            rows,
            hours: BTreeMap::new(),
            rows_kept: 0,
        }
    }

    /// The rows of an hour; none when it has no rows.
    pub(super) fn get(&mut self, hour: HourStart) -> Result<Rc<StoreHour>, StateError> {
        if let Some(known) = self.hours.get(&hour) {
            return Ok(known.clone());
        }
        let hour_of_store = Rc::new(index(read_hour(self.rows, hour)?.unwrap_or_default()));
        self.rows_kept += hour_of_store.hour.rows.len();
        self.hours.insert(hour, hour_of_store.clone());
        while self.rows_kept > ROWS_KEPT_MAX || self.hours.len() > HOURS_KEPT_MAX {
            let Some((_, gone)) = self.hours.pop_first() else {
                break;
            };
            self.rows_kept -= gone.hour.rows.len();
        }
        Ok(hour_of_store)
    }

    /// The whole chain to which a row belongs, with values of the interner.
    pub(super) fn chain(
        &mut self,
        row: &StoredRow,
        zone: &Zone,
        interner: &mut Interner,
    ) -> Result<Chain, StateError> {
        let mut parts = Vec::new();
        let hours: Vec<HourStart> = zone
            .hours(row.chain_first_ms.into(), row.chain_last_ms.into())
            .collect();
        for hour in hours {
            let hour = self.get(hour)?;
            let id = row.ids.first().copied().unwrap_or(0);
            let same = hour.rows_of(id).filter(|other| {
                other.chain_first_ms == row.chain_first_ms
                    && other.chain_last_ms == row.chain_last_ms
                    && other.ids == row.ids
            });
            for other in same {
                let mut part = other.part.clone();
                part.remap(&mut Transfer::new(hour.hour.interner.values(), interner));
                parts.push(part);
            }
        }
        Ok(Chain::from_parts(&row.ids, parts))
    }
}

/// Reads the rows of an hour.
pub(super) fn read_hour(
    rows: &dyn RowReader,
    hour: HourStart,
) -> Result<Option<StoredHour>, StateError> {
    let row = SiteRow::Rows(hour);
    let Some(bytes) = rows.get(row)? else {
        return Ok(None);
    };
    let hour = StoredHour::decode(&bytes).map_err(|source| StateError::Row { row, source })?;
    Ok(Some(hour))
}

fn index(hour: StoredHour) -> StoreHour {
    let mut by_id: IdMap<u64, Vec<usize>> = HashMap::default();
    for (position, row) in hour.rows.iter().enumerate() {
        for id in &row.ids {
            by_id.entry(*id).or_default().push(position);
        }
    }
    StoreHour { hour, by_id }
}
