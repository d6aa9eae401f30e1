//! Who is here now.

use ringtail_analytics::{Precision, Uniques};
use ringtail_proto::{RowReader, UnixMillis};

use crate::{
    error::QueryError,
    period::{MINUTE_MS, whole_minute},
    source::SiteSource,
};

/// Current visitors are those of so many minutes.
pub(crate) const CURRENT_MINUTES: i64 = 5;

/// Distinct visitors of the last five minutes and of the minute under way, at an instant: minutes are the finest that
/// is kept, so that somebody seen five and a half minutes ago may still count.
///
/// # Errors
/// When a minute lies in an hour that is not hot and its rows cannot be read.
pub fn realtime_visitors(
    source: &dyn SiteSource,
    rows: &dyn RowReader,
    now: UnixMillis,
) -> Result<u64, QueryError> {
    let minute = whole_minute(now);
    let from = UnixMillis(minute - CURRENT_MINUTES * MINUTE_MS);
    let to = UnixMillis(minute + MINUTE_MS);
    let mut visitors = Uniques::new(Precision::Total);
    for (_, minute) in source.minutes(from, to, rows)? {
        visitors.merge(&minute.visitors);
    }
    Ok(visitors.estimate())
}
