//! From memory to rows: one batch that brings the store to the state's index.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use ringtail_proto::{HourStart, RowReader, RowWrite, SiteRow};

use super::{
    error::StateError,
    site_row::{SiteRowBody, StoredSettings, encode_hot},
    site_state::{REBUILD_BYTES_MIN, SiteState},
    store_hours::read_hour,
};
use crate::{
    cell::{fold_hour, remove_pages_over},
    interner::Interner,
    rows::{
        hour_rows::Touches,
        stored_hour::{StoredChains, StoredHour, rows_of_chain},
        stored_values::{Transfer, ValuesWriter},
    },
    visit::chain::Chain,
};

/// With more hot rows than this all chains are written anew, into one.
const HOT_ROWS_MAX: usize = 128;

impl SiteState {
    /// The rows that bring the store from the last checkpoint to this state. Afterwards the state is clean: late events are
    /// merged, hours that left the hot window are rows and pages, chains that nothing can join any more are gone.
    ///
    /// If the store refuses the rows, the state must be thrown away.
    ///
    /// # Errors
    /// When a row that is needed cannot be read; the state must then be thrown away.
    pub fn checkpoint(&mut self, rows: &dyn RowReader) -> Result<Vec<RowWrite>, StateError> {
        self.merge_late(rows)?;
        let mut writes = Vec::new();
        if let Some(hot_from) = self.hot_from {
            self.leave_hours(hot_from, rows, &mut writes)?;
        }
        self.dedup
            .checkpoint(self.stamp, self.index, rows, &mut writes)?;
        if self.interner.bytes() >= self.rebuild_at_bytes {
            self.rebuild_dictionary();
        }
        self.write_hot(&mut writes);
        writes.push(RowWrite {
            row: SiteRow::Site,
            value: Some(self.site_row().encode()),
        });
        self.dirty_since = None;
        self.incomplete_since = None;
        self.is_checkpoint_wanted = false;
        Ok(writes)
    }

    /// Moves the hot window up to the stamp; writes hours that left it and hours whose rows are out of date.
    fn leave_hours(
        &mut self,
        old_hot_from: HourStart,
        rows: &dyn RowReader,
        writes: &mut Vec<RowWrite>,
    ) -> Result<(), StateError> {
        let settings = self.settings.clone();
        let zone = &settings.zone;
        let hot_from = zone
            .previous_hour(zone.hour_of(self.stamp))
            .max(old_hot_from);
        let left = self.hours.range(..hot_from).map(|(hour, _)| *hour);
        self.stale.extend(left);
        let stale = std::mem::take(&mut self.stale);
        self.write_hours(&stale, old_hot_from, rows, writes)?;
        self.hours.retain(|hour, _| *hour >= hot_from);
        self.chains
            .evict(|chain| chain.last_ms().saturating_add(settings.visit_timeout_ms) < hot_from.0);
        self.hot_from = Some(hot_from);
        Ok(())
    }

    /// Rows and pages of these hours; the store has rows of those before `stored_before`.
    fn write_hours(
        &self,
        stale: &BTreeSet<HourStart>,
        stored_before: HourStart,
        rows: &dyn RowReader,
        writes: &mut Vec<RowWrite>,
    ) -> Result<(), StateError> {
        let mut chains: HashMap<HourStart, Vec<&Chain>> = HashMap::new();
        for chain in self.chains.iter() {
            for part in chain.parts.iter().filter(|part| stale.contains(&part.hour)) {
                chains.entry(part.hour).or_default().push(chain);
            }
        }
        for hour in stale {
            let stored = match *hour < stored_before {
                true => read_hour(rows, *hour)?,
                false => None,
            };
            let chains = chains.remove(hour).unwrap_or_default();
            let stored = self.refold(*hour, stored.unwrap_or_default(), chains);
            let hour_rows = stored.hour_rows(Touches::All);
            let page = fold_hour(hour_rows.iter(), &hour_rows, self.settings.sketch_key);
            writes.push(RowWrite {
                row: SiteRow::Rows(*hour),
                value: Some(stored.encode()),
            });
            writes.push(RowWrite {
                row: SiteRow::Page(*hour),
                value: Some(page.encode()),
            });
            for write in remove_pages_over(rows, &self.settings.zone, *hour)? {
                if !writes.contains(&write) {
                    writes.push(write);
                }
            }
        }
        Ok(())
    }

    /// The rows of an hour as memory knows them: stored rows of chains that memory holds give way to those chains' own.
    fn refold(&self, hour: HourStart, mut stored: StoredHour, chains: Vec<&Chain>) -> StoredHour {
        stored.rows.retain(|row| {
            !self
                .chains
                .covers(&row.ids, row.chain_first_ms, row.chain_last_ms)
        });
        let mut transfer = Transfer::new(self.interner.values(), &mut stored.interner);
        for chain in chains {
            for mut row in rows_of_chain(chain, |wanted| wanted == hour) {
                row.translate(&mut transfer);
                stored.rows.push(row);
            }
        }
        if let Some(sums) = self.hours.get(&hour) {
            stored.minutes.merge(&sums.minutes);
            stored.folded.merge(&sums.folded);
        }
        stored.cap_values();
        stored
    }

    /// The chains of a big site rest in hot rows, each with the chains that changed since the row before: a chain is written
    /// once per checkpoint in which it changed. Rows of which nothing counts any more are removed; that takes no longer
    /// than chains stay in memory. A small site's chains rest in its site row.
    fn write_hot(&mut self, writes: &mut Vec<RowWrite>) {
        let remove = |slot: u8| RowWrite {
            row: SiteRow::Hot(slot),
            value: None,
        };
        if self.chains.is_small() {
            if !self.hot_slots.is_empty() {
                writes.extend(std::mem::take(&mut self.hot_slots).into_iter().map(remove));
                self.chains.set_unwritten();
            }
            return;
        }
        if self.hot_slots.len() >= HOT_ROWS_MAX {
            self.chains.set_unwritten();
        }
        let used: BTreeSet<u8> = self
            .chains
            .iter()
            .filter_map(|chain| chain.written_in)
            .collect();
        let mut slots = Vec::new();
        for slot in std::mem::take(&mut self.hot_slots) {
            match used.contains(&slot) {
                true => slots.push(slot),
                false => writes.push(remove(slot)),
            }
        }
        if self.chains.unwritten().next().is_some() {
            let free = (0..=u8::MAX).find(|slot| !slots.contains(slot));
            let slot = free.expect("there are more slots than HOT_ROWS_MAX");
            let chains = StoredChains::of(self.chains.unwritten(), self.interner.values());
            writes.retain(|write| write.row != SiteRow::Hot(slot));
            writes.push(RowWrite {
                row: SiteRow::Hot(slot),
                value: Some(encode_hot(&chains)),
            });
            self.chains.set_written(slot);
            slots.push(slot);
        }
        self.hot_slots = slots;
    }

    fn site_row(&self) -> SiteRowBody {
        let values = self.interner.values();
        let chains = self
            .chains
            .is_small()
            .then(|| StoredChains::of(self.chains.with_homes(), values));
        let mut recent_values = ValuesWriter::new(values);
        self.recent.collect(&mut recent_values);
        let stored_values = recent_values.finish();
        let mut recent = self.recent.clone();
        recent.remap(&mut recent_values);
        SiteRowBody {
            index: self.index,
            stamp: self.stamp,
            settings: StoredSettings::of(&self.settings),
            timeout_ms_max: self.timeout_ms_max,
            hot_from: self.hot_from,
            first_hour: self.first_hour,
            imports: (*self.imports).clone(),
            dropped: (*self.dropped).clone(),
            dedup: self.dedup.to_stored(),
            hours: self
                .hours
                .iter()
                .map(|(hour, sums)| (*hour, sums.minutes.to_stored(), sums.folded.clone()))
                .collect(),
            recent_values: stored_values,
            recent: recent.to_stored(),
            hot_slots: self.hot_slots.clone(),
            chains,
        }
    }

    /// A dictionary of what is in use only. Stored rows have dictionaries of their own, so that none of them changes.
    fn rebuild_dictionary(&mut self) {
        let old = std::mem::take(&mut self.interner);
        let mut interner = Interner::default();
        let mut transfer = Transfer::new(old.values(), &mut interner);
        self.chains.translate(&mut transfer);
        self.recent.remap(&mut transfer);
        self.interner = interner;
        self.rebuild_at_bytes = REBUILD_BYTES_MIN.max(2 * self.interner.bytes());
        self.rebuild_caps();
    }

    /// The distinct values of each hot hour, from its parts.
    pub(super) fn rebuild_caps(&mut self) {
        let mut caps: BTreeMap<HourStart, super::value_caps::ValueCaps> = BTreeMap::new();
        for part in self.chains.iter().flat_map(|chain| &chain.parts) {
            if self.hours.contains_key(&part.hour) {
                caps.entry(part.hour).or_default().note_part(part);
            }
        }
        for (hour, caps) in caps {
            if let Some(sums) = self.hours.get_mut(&hour) {
                sums.caps = caps;
            }
        }
    }
}
