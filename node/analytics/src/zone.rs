//! A site's time zone as the log carries it: transitions, and the local hours, days and months cut from them.

use ringtail_proto::{HourStart, UnixMillis, stored};

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Offsets of a time zone from UTC.
///
/// A local hour is keyed by its UTC start. It never reaches over a transition, so that local hours part time without
/// gap or overlap even where clocks change by half an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    /// Offset that holds before the first transition.
    first_offset_ms: i64,
    /// (instant, offset in ms that holds from it on), ascending.
    transitions: Vec<(i64, i64)>,
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl Zone {
    /// UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self {
            name: "UTC".to_owned(),
            first_offset_ms: 0,
            transitions: Vec::new(),
        }
    }

    /// The zone of a settings command; offsets beyond 18 h are cut to that.
    #[must_use]
    pub fn from_settings(name: &str, transitions: &[stored::ZoneTransition]) -> Self {
        let mut rows: Vec<(i64, i64)> = transitions
            .iter()
            .map(|row| {
                let offset_seconds = i64::from(row.offset_seconds).clamp(-64_800, 64_800);
                (row.from_ms, offset_seconds * 1000)
            })
            .collect();
        rows.sort_unstable();
        rows.dedup_by_key(|row| row.0);
        let first_offset_ms = rows.first().map_or(0, |row| row.1);
        if !rows.is_empty() {
            rows.remove(0);
        }
        Self {
            name: name.to_owned(),
            first_offset_ms,
            transitions: rows,
        }
    }

    /// The IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The offset from UTC at an instant, in milliseconds.
    #[must_use]
    pub fn offset_ms(&self, at: UnixMillis) -> i64 {
        self.segment(at.0).1
    }

    /// The local hour of an instant.
    #[must_use]
    pub fn hour_of(&self, at: UnixMillis) -> HourStart {
        let (from, offset) = self.segment(at.0);
        let local = at.0.saturating_add(offset);
        let start = local.div_euclid(HOUR_MS) * HOUR_MS - offset;
        HourStart(start.max(from))
    }

    /// The first instant after a local hour.
    #[must_use]
    pub fn hour_end(&self, hour: HourStart) -> UnixMillis {
        let (_, offset) = self.segment(hour.0);
        let local = hour.0.saturating_add(offset);
        let end = (local.div_euclid(HOUR_MS) + 1) * HOUR_MS - offset;
        UnixMillis(end.min(self.next_transition(hour.0)))
    }

    /// The local hour after this one.
    #[must_use]
    pub fn next_hour(&self, hour: HourStart) -> HourStart {
        HourStart(self.hour_end(hour).0)
    }

    /// The local hour before this one.
    #[must_use]
    pub fn previous_hour(&self, hour: HourStart) -> HourStart {
        self.hour_of(UnixMillis(hour.0.saturating_sub(1)))
    }

    /// The local hours that meet `from..=to`, in order.
    pub fn hours(&self, from: UnixMillis, to: UnixMillis) -> impl Iterator<Item = HourStart> + '_ {
        let first = self.hour_of(from);
        std::iter::successors(Some(first), |hour| Some(self.next_hour(*hour)))
            .take_while(move |hour| hour.0 <= to.0)
    }

    /// UTC start of the local day of an instant.
    #[must_use]
    pub fn day_of(&self, at: UnixMillis) -> HourStart {
        let local_day = at.0.saturating_add(self.offset_ms(at)).div_euclid(DAY_MS);
        self.instant_of_local(local_day * DAY_MS, at.0)
    }

    /// UTC start of the local month of an instant.
    #[must_use]
    pub fn month_of(&self, at: UnixMillis) -> HourStart {
        let local_day = at.0.saturating_add(self.offset_ms(at)).div_euclid(DAY_MS);
        let first_day = local_day - day_of_month_zero(local_day);
        self.instant_of_local(first_day * DAY_MS, at.0)
    }

    /// True when both zones have the same hours up to an instant.
    #[must_use]
    pub fn agrees_until(&self, other: &Self, until: UnixMillis) -> bool {
        let past = |zone: &Self| {
            let rows: Vec<(i64, i64)> = zone
                .transitions
                .iter()
                .copied()
                .filter(|row| row.0 <= until.0)
                .collect();
            (zone.first_offset_ms, rows)
        };
        self.name == other.name && past(self) == past(other)
    }

    /// The first instant, at or before `known`, from which on the local clock shows `local` or later.
    fn instant_of_local(&self, local: i64, known: i64) -> HourStart {
        let (mut from, mut offset) = self.segment(known);
        loop {
            let start = local - offset;
            if start > from || from == i64::MIN {
                return HourStart(start);
            }
            let (earlier_from, earlier_offset) = self.segment(from - 1);
            if local - earlier_offset >= from {
                return HourStart(from);
            }
            (from, offset) = (earlier_from, earlier_offset);
        }
    }

    /// The offset at an instant and since when it holds.
    fn segment(&self, at: i64) -> (i64, i64) {
        let after = self.transitions.partition_point(|row| row.0 <= at);
        match after.checked_sub(1).and_then(|i| self.transitions.get(i)) {
            Some(row) => *row,
            None => (i64::MIN, self.first_offset_ms),
        }
    }

    fn next_transition(&self, at: i64) -> i64 {
        let after = self.transitions.partition_point(|row| row.0 <= at);
        self.transitions.get(after).map_or(i64::MAX, |row| row.0)
    }

    /// The transitions as the log carries them, for the site row.
    pub(crate) fn to_rows(&self) -> (i64, Vec<(i64, i64)>) {
        (self.first_offset_ms, self.transitions.clone())
    }

    pub(crate) fn from_rows(
        name: String,
        first_offset_ms: i64,
        transitions: Vec<(i64, i64)>,
    ) -> Self {
        Self {
            name,
            first_offset_ms,
            transitions,
        }
    }
}

/// Day of the month, from 0, of a day counted from the Unix epoch (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
fn day_of_month_zero(days: i64) -> i64 {
    let shifted = days + 719_468;
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    day_of_year - (153 * month_shifted + 2) / 5
}
