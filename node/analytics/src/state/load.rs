//! From rows to memory.

use std::{collections::BTreeMap, sync::Arc};

use ringtail_proto::{HourStart, RowReader, SiteId, SiteRow};

use super::{
    error::StateError,
    hour_sums::HourSums,
    recent::Recent,
    site_row::{SiteRowBody, decode_hot},
    site_state::SiteState,
    value_caps::ValueCaps,
};
use crate::{
    Zone,
    dedup::Dedup,
    interner::Interner,
    rows::{
        minute::Minutes,
        stored_hour::{RowError, damaged},
    },
};

/// What background work on a site's rows has to know.
#[derive(Clone, Debug)]
pub struct SiteOutline {
    /// Its zone.
    pub zone: Zone,
    /// Hours from here on are not in rows; none before the first accepted event.
    pub hot_from: Option<HourStart>,
}

impl SiteOutline {
    /// Reads the site row alone; none for a site never seen.
    ///
    /// # Errors
    /// When the row cannot be read or understood.
    pub fn load(rows: &dyn RowReader) -> Result<Option<Self>, StateError> {
        let Some(bytes) = rows.get(SiteRow::Site)? else {
            return Ok(None);
        };
        let body = SiteRowBody::decode(&bytes).map_err(|source| StateError::Row {
            row: SiteRow::Site,
            source,
        })?;
        Ok(Some(Self {
            zone: body.settings.restore().zone,
            hot_from: body.hot_from,
        }))
    }
}

impl SiteState {
    /// The state that the rows hold; absent rows are a site never seen.
    ///
    /// # Errors
    /// When a row cannot be read or understood.
    pub fn load(site: SiteId, rows: &dyn RowReader) -> Result<Self, StateError> {
        let Some(bytes) = rows.get(SiteRow::Site)? else {
            return Ok(Self::new(site));
        };
        let failed = |source: RowError| StateError::Row {
            row: SiteRow::Site,
            source,
        };
        let body = SiteRowBody::decode(&bytes).map_err(failed)?;
        let mut state = Self::new(site);
        if let Some(stored) = body.chains {
            let chains = &mut state.chains;
            stored.load(&mut state.interner, |home, chain| {
                chains.restore(home, chain);
            });
        }
        state.settings = Arc::new(body.settings.restore());
        state.hot_from = body.hot_from;
        // The newest row first: what an older one says of the same chain, or of chains that have left, no longer counts.
        for slot in body.hot_slots.iter().rev() {
            state.load_hot_row(*slot, rows)?;
        }
        state.hot_slots = body.hot_slots;
        state.recent = load_recent(body.recent, &body.recent_values, &mut state.interner)
            .ok_or_else(|| failed(damaged("recent visitors")))?;
        let mut hours = BTreeMap::new();
        for (hour, minutes, folded) in body.hours {
            let minutes = Minutes::from_stored(minutes)
                .ok_or_else(|| failed(damaged("visitors of a minute")))?;
            let sums = HourSums {
                minutes: Arc::new(minutes),
                folded,
                caps: ValueCaps::default(),
            };
            hours.insert(hour, sums);
        }
        state.hours = hours;
        state.rebuild_caps();
        state.index = body.index;
        state.stamp = body.stamp;
        state.timeout_ms_max = body.timeout_ms_max;
        state.first_hour = body.first_hour;
        state.imports = Arc::new(body.imports);
        state.dropped = Arc::new(body.dropped);
        state.dedup = Dedup::load(&body.dedup, rows)?;
        Ok(state)
    }

    fn load_hot_row(&mut self, slot: u8, rows: &dyn RowReader) -> Result<(), StateError> {
        let row = SiteRow::Hot(slot);
        let bytes = rows.get(row)?.ok_or(StateError::Missing { row })?;
        let stored = decode_hot(&bytes).map_err(|source| StateError::Row { row, source })?;
        let hot_from = self.hot_from.map_or(i64::MIN, |hour| hour.0);
        let timeout_ms = self.settings.visit_timeout_ms;
        let chains = &mut self.chains;
        stored.load(&mut self.interner, |home, mut chain| {
            let has_left = chain.last_ms().saturating_add(timeout_ms) < hot_from;
            if !has_left && !chains.covers(&chain.ids, chain.first_ms(), chain.last_ms()) {
                chain.written_in = Some(slot);
                chains.restore(home, chain);
            }
        });
        Ok(())
    }
}

fn load_recent(
    stored: super::recent::StoredRecent,
    values: &crate::rows::stored_values::StoredValues,
    interner: &mut Interner,
) -> Option<Recent> {
    let mut recent = Recent::from_stored(stored)?;
    recent.remap(&mut values.load(interner));
    Some(recent)
}
