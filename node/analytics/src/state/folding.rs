//! What happens to an hour with too many distinct values.

use ringtail_proto::HourStart;

use super::{
    site_state::SiteState,
    value_caps::{ValueCaps, ValueTable, ValueWeights},
};
use crate::rows::stored_hour::StoredHour;

impl SiteState {
    /// Folds the lightest half of each table over its cap into the hour's remainder. Totals stay exact.
    pub(super) fn fold_lightest(&mut self, hour: HourStart) {
        let Some(sums) = self.hours.get(&hour) else {
            return;
        };
        let tables: Vec<ValueTable> = sums.caps.over().collect();
        let mut weights = ValueWeights::default();
        for part in self.chains.iter().filter_map(|chain| chain.part(hour)) {
            weights.add(part, &tables);
        }
        let mut folded = weights.lightest(self.interner.values());
        if !folded.is_empty() {
            self.chains.for_each_mut(|chain| {
                if let Some(part) = chain.part_mut(hour) {
                    part.remap(&mut folded);
                }
            });
        }
        let mut caps = ValueCaps::default();
        for part in self.chains.iter().filter_map(|chain| chain.part(hour)) {
            caps.note_part(part);
        }
        if let Some(sums) = self.hours.get_mut(&hour) {
            sums.folded.merge(&folded.counts());
            sums.caps = caps;
        }
    }
}

impl StoredHour {
    /// The same for an hour about to be written.
    pub(super) fn cap_values(&mut self) {
        let mut caps = ValueCaps::default();
        for row in &self.rows {
            caps.note_part(&row.part);
        }
        let tables: Vec<ValueTable> = caps.over().collect();
        if tables.is_empty() {
            return;
        }
        let mut weights = ValueWeights::default();
        for row in &self.rows {
            weights.add(&row.part, &tables);
        }
        let mut folded = weights.lightest(self.interner.values());
        self.folded.merge(&folded.counts());
        for row in &mut self.rows {
            row.fold(&mut folded);
        }
    }
}
