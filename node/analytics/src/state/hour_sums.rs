//! What memory holds of an hour beside its visits.

use std::sync::Arc;

use super::value_caps::ValueCaps;
use crate::rows::{hour_rows::Folded, minute::Minutes};

/// Minutes and caps of one hour. For an hour that rests in the store, the minutes are what came since.
#[derive(Clone, Debug, Default)]
pub(crate) struct HourSums {
    /// Shared with views.
    pub(crate) minutes: Arc<Minutes>,
    /// Values folded into the remainder.
    pub(crate) folded: Folded,
    pub(crate) caps: ValueCaps,
}
