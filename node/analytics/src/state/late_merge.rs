//! Late events: loads what rests in the store around them and joins them to it.

use ringtail_proto::{HourStart, RowReader, UnixMillis};

use super::{error::StateError, site_state::SiteState, store_hours::StoreHours};
use crate::visit::applied_event::AppliedEvent;

impl SiteState {
    /// Joins all late events to the visits around them. The chains that this brings into memory stay until the next
    /// checkpoint has written them.
    pub(super) fn merge_late(&mut self, rows: &dyn RowReader) -> Result<(), StateError> {
        if self.late.is_empty() {
            return Ok(());
        }
        let mut late = std::mem::take(&mut self.late);
        late.sort_by_key(|event| (event.time_ms, event.id));
        let hot_from = self.hot_from.unwrap_or(HourStart(i64::MIN));
        let mut store = StoreHours::new(rows);
        for event in late {
            self.load_neighbours(&event, &mut store)?;
            let hour = self.settings.zone.hour_of(UnixMillis(event.time_ms));
            self.add_to_chains(hour, &event, true);
            self.count(hour, &event, hour < hot_from);
        }
        Ok(())
    }

    /// After the timeout grew: chains that were out of reach of the hot window, and now are not.
    pub(super) fn recall_chains(&mut self, rows: &dyn RowReader) -> Result<(), StateError> {
        let Some(hot_from) = self.hot_from else {
            return Ok(());
        };
        let settings = self.settings.clone();
        let mut store = StoreHours::new(rows);
        let since = hot_from.0.saturating_sub(settings.visit_timeout_ms);
        let until = UnixMillis(hot_from.0 - 1);
        for hour in settings.zone.hours(UnixMillis(since), until) {
            let hour = store.get(hour)?;
            for row in &hour.hour.rows {
                if row.chain_last_ms >= since
                    && !self
                        .chains
                        .covers(&row.ids, row.chain_first_ms, row.chain_last_ms)
                {
                    let chain = store.chain(row, &settings.zone, &mut self.interner)?;
                    self.chains.adopt(chain);
                }
            }
        }
        Ok(())
    }

    /// Brings every stored chain into memory that the event would be joined with.
    fn load_neighbours(
        &mut self,
        event: &AppliedEvent,
        store: &mut StoreHours<'_>,
    ) -> Result<(), StateError> {
        let settings = self.settings.clone();
        let timeout_ms = settings.visit_timeout_ms;
        // Chains that formed under a longer timeout may have longer gaps, and the event may fall into one.
        let reach_ms = timeout_ms.max(self.timeout_ms_max);
        let (mut from_ms, mut to_ms) = (event.time_ms, event.time_ms);
        loop {
            let (ids, first_ms, last_ms) = self.chains.span_with(event, timeout_ms);
            let from = UnixMillis(from_ms.saturating_sub(reach_ms));
            let last_stored = self.hot_from.map_or(i64::MIN, |hour| hour.0 - 1);
            let to = UnixMillis(to_ms.saturating_add(reach_ms).min(last_stored));
            let mut is_any_loaded = false;
            for hour in settings.zone.hours(from, to) {
                let hour = store.get(hour)?;
                for row in ids.iter().flat_map(|id| hour.rows_of(*id)) {
                    let is_near = row.chain_first_ms <= last_ms.saturating_add(timeout_ms)
                        && row.chain_last_ms >= first_ms.saturating_sub(timeout_ms);
                    let (first, last) = (row.chain_first_ms, row.chain_last_ms);
                    if is_near && !self.chains.covers(&row.ids, first, last) {
                        let chain = store.chain(row, &settings.zone, &mut self.interner)?;
                        self.chains.adopt(chain);
                        is_any_loaded = true;
                    }
                }
            }
            // With the ids of the event alone, whatever is near the widened span was joined to it before. Further ids
            // may bring neighbours anywhere along the span.
            let (ids_now, first_now_ms, last_now_ms) = self.chains.span_with(event, timeout_ms);
            let is_wider = ids_now.len() > event.ids().count()
                && (is_any_loaded || first_now_ms < from_ms || last_now_ms > to_ms);
            if !is_wider {
                return Ok(());
            }
            (from_ms, to_ms) = (first_now_ms, last_now_ms);
        }
    }
}
