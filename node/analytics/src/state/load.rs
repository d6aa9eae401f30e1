//! From rows to memory.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use ringtail_proto::{Generation, HourStart, RowReader, SiteId, SiteRow};

use super::{
    error::StateError,
    hot_chains::HotChains,
    hour_sums::HourSums,
    recent::Recent,
    site_row::{Layout, SiteRowBody, decode_chunk},
    site_state::SiteState,
    value_caps::ValueCaps,
};
use crate::{
    Zone,
    dedup::Dedup,
    interner::Interner,
    rows::{
        minute::Minutes,
        stored_hour::{RowError, StoredChains, damaged},
    },
};

/// What background work on a site's rows has to know.
#[derive(Clone, Debug)]
pub struct SiteOutline {
    /// The generation of its rows and pages.
    pub generation: Generation,
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
            generation: body.generation,
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
        let mut chunks = Vec::new();
        state.chains = match body.layout {
            Layout::Inline => HotChains::default(),
            Layout::Chunks(count) => {
                chunks = read_chunks(body.generation, count, rows)?;
                HotChains::with_chunks(usize::from(count))
            }
        };
        for stored in body.chains.into_iter().chain(chunks) {
            let chains = &mut state.chains;
            stored.load(&mut state.interner, |home, chain| {
                chains.restore(home, chain);
            });
        }
        state.chains.set_clean();
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
        state.generation = body.generation;
        state.settings = Arc::new(body.settings.restore());
        state.timeout_ms_max = body.timeout_ms_max;
        state.hot_from = body.hot_from;
        state.first_hour = body.first_hour;
        state.imports = Arc::new(body.imports);
        state.dropped = Arc::new(body.dropped);
        state.dedup = Dedup::load(&body.dedup, rows)?;
        state.layout = body.layout;
        Ok(state)
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

fn read_chunks(
    generation: Generation,
    count: u8,
    rows: &dyn RowReader,
) -> Result<Vec<StoredChains>, StateError> {
    let mut chunks = Vec::new();
    let mut failed = None;
    rows.range(
        SiteRow::Hot(generation, 0),
        SiteRow::Hot(generation, count.saturating_sub(1)),
        &mut |row, bytes| match decode_chunk(&bytes) {
            Ok(chunk) => {
                chunks.push(chunk);
                ControlFlow::Continue(())
            }
            Err(source) => {
                failed = Some(StateError::Row { row, source });
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(Ok(chunks), Err)
}
