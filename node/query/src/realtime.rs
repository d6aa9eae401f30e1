//! Who is here now.

use ringtail_analytics::{Precision, Uniques};
use ringtail_proto::UnixMillis;

use crate::{period::MINUTE_MS, source::SiteSource};

/// Current visitors are those of so many minutes.
const CURRENT_MINUTES: i64 = 5;

/// Distinct visitors of the last five minutes and of the minute under way, at an instant: minutes are the finest that
/// is kept, so that somebody seen five and a half minutes ago may still count.
#[must_use]
pub fn realtime_visitors(source: &dyn SiteSource, now: UnixMillis) -> u64 {
    let minute = now.0.div_euclid(MINUTE_MS) * MINUTE_MS;
    let from = UnixMillis(minute - CURRENT_MINUTES * MINUTE_MS);
    let to = UnixMillis(minute + MINUTE_MS);
    let mut visitors = Uniques::new(Precision::Total);
    for minute in source.minutes(from, to) {
        visitors.merge(&minute.visitors);
    }
    visitors.estimate()
}
