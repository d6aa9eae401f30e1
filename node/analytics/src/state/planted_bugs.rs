//! Faults that checkers must catch. Compiled only for the tests that plant them.

use super::site_state::SiteState;
use crate::dedup::Dedup;

impl SiteState {
    /// Forgets which events were counted.
    pub fn forget_ids(&mut self) {
        self.dedup = Dedup::default();
    }
}
