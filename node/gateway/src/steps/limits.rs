//! Refuses what is longer than its limit, or lies outside all time.

use ringtail_proto::{DropReason, UnixMillis};

use crate::enricher::{Mode, Work};

/// Characters of an address.
pub(crate) const URL_CHARS_MAX: usize = 2_000;
/// Characters of an event's name.
pub(crate) const NAME_CHARS_MAX: usize = 120;
/// Properties of an event.
pub(crate) const PROPERTIES_MAX: usize = 30;
/// Characters of a property's key.
pub(crate) const PROPERTY_KEY_CHARS_MAX: usize = 300;
/// Characters of a property's value.
pub(crate) const PROPERTY_VALUE_CHARS_MAX: usize = 2_000;
/// Bytes of an id that a client chose for a visitor or a user.
pub(crate) const CLIENT_ID_BYTES_MAX: usize = 256;

/// 1995-01-01, before any log worth importing.
const EARLIEST: UnixMillis = UnixMillis(788_918_400_000);
/// Clocks go wrong by hours and zones, not by days.
const AHEAD_MS_MAX: i64 = 24 * 3_600_000;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    let hit = work.hit;
    if hit.name.trim().is_empty() || hit.url.is_empty() {
        return Err(DropReason::Malformed);
    }
    let is_too_long = is_longer(&hit.url, URL_CHARS_MAX)
        || is_longer(&hit.name, NAME_CHARS_MAX)
        || hit.properties.len() > PROPERTIES_MAX
        || hit.properties.iter().any(|(key, value)| {
            is_longer(key, PROPERTY_KEY_CHARS_MAX) || is_longer(value, PROPERTY_VALUE_CHARS_MAX)
        })
        || [&hit.visitor, &hit.user_id]
            .into_iter()
            .flatten()
            .any(|id| id.len() > CLIENT_ID_BYTES_MAX);
    if is_too_long {
        return Err(DropReason::TooLong);
    }
    match hit.time {
        Some(time) if time < EARLIEST => Err(DropReason::AbsurdTime),
        // Apply takes the receipt for a time that is a little ahead; an import has no receipt to take.
        Some(time) if time.0 > work.receipt.0.saturating_add(AHEAD_MS_MAX) => {
            Err(DropReason::AbsurdTime)
        }
        None if matches!(work.mode, Mode::Import { .. }) => Err(DropReason::AbsurdTime),
        _ => Ok(()),
    }
}

/// Counts characters only where bytes do not decide.
pub(crate) fn is_longer(text: &str, chars_max: usize) -> bool {
    text.len() > chars_max && text.chars().count() > chars_max
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Hit,
        steps::bench::{Bench, NOW},
    };

    #[test]
    fn what_is_over_its_limit_is_dropped_and_what_is_at_it_passes() {
        let bench = Bench::new();
        let check = |change: &dyn Fn(&mut Hit<'_>), expect: Result<(), DropReason>| {
            let mut hit = Hit::new("example.com", "https://example.com/");
            change(&mut hit);
            assert_eq!(bench.run(run, &hit).0, expect, "{hit:?}");
        };
        let url = |chars: usize| format!("https://example.com/{}", "ü".repeat(chars - 20));
        check(&|hit| hit.url = url(2_000).into(), Ok(()));
        check(&|hit| hit.url = url(2_001).into(), Err(DropReason::TooLong));
        check(&|hit| hit.url = "".into(), Err(DropReason::Malformed));
        check(&|hit| hit.name = "n".repeat(120).into(), Ok(()));
        check(
            &|hit| hit.name = "n".repeat(121).into(),
            Err(DropReason::TooLong),
        );
        check(&|hit| hit.name = " ".into(), Err(DropReason::Malformed));
        let properties = |count: usize, key: usize, value: usize| {
            vec![("k".repeat(key).into(), "v".repeat(value).into()); count]
        };
        check(&|hit| hit.properties = properties(30, 300, 2_000), Ok(()));
        check(
            &|hit| hit.properties = properties(31, 1, 1),
            Err(DropReason::TooLong),
        );
        check(
            &|hit| hit.properties = properties(1, 301, 1),
            Err(DropReason::TooLong),
        );
        check(
            &|hit| hit.properties = properties(1, 1, 2_001),
            Err(DropReason::TooLong),
        );
        check(
            &|hit| hit.visitor = Some("v".repeat(257).into()),
            Err(DropReason::TooLong),
        );
        check(
            &|hit| hit.user_id = Some("u".repeat(257).into()),
            Err(DropReason::TooLong),
        );
        for (time, expect) in [
            (NOW.0, Ok(())),
            (NOW.0 - 400 * 86_400_000, Ok(())),
            (NOW.0 + 86_400_000, Ok(())),
            (NOW.0 + 86_400_001, Err(DropReason::AbsurdTime)),
            (0, Err(DropReason::AbsurdTime)),
            (i64::MIN, Err(DropReason::AbsurdTime)),
            (i64::MAX, Err(DropReason::AbsurdTime)),
        ] {
            check(&|hit| hit.time = Some(UnixMillis(time)), expect);
        }
    }
}
