//! A rule file as the rules of a site's next generation.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use ringtail_analytics::RuleSet;
use ringtail_metadata::{Site, SitePast, zone};
use ringtail_proto::UnixMillis;
use ringtail_rule_file::RuleFile;

use super::NewReprocess;
use crate::api_error::ApiError;

/// Ids of goals that only rules know; those of the ring's own goals stay far below.
const RULED_GOAL_FIRST: u64 = 1 << 48;

/// The rules as the partition's log carries them; no bytes are no rules.
pub(super) fn encoded(
    wanted: &NewReprocess,
    site: &Site,
    past: Option<&SitePast>,
) -> Result<Vec<u8>, ApiError> {
    let served = past
        .map(|past| past.serving.rules.as_slice())
        .unwrap_or_default();
    let Some(text) = &wanted.rules else {
        return match wanted.from {
            Some(_) => Err(ApiError::invalid(
                "`from` says since when rules hold, and there are none",
            )),
            None => Ok(served.to_vec()),
        };
    };
    let file = RuleFile::parse(text).map_err(ApiError::invalid)?;
    let mut next = RULED_GOAL_FIRST;
    let goal_id = |name: &str| {
        let known = site.settings.goals.iter().find(|goal| goal.name == name);
        known.map_or_else(
            || {
                next += 1;
                next
            },
            |goal| goal.id.0,
        )
    };
    let transitions = |name: &str| zone::transitions(&zone::canonical_name(name)?);
    let mut rules = file
        .rule_set(goal_id, transitions)
        .map_err(ApiError::invalid)?;
    rules.from = wanted
        .from
        .as_deref()
        .map(|from| instant(from, site))
        .transpose()?;
    rules.settings.revision_max = site.settings.revision;
    rules.without = left_out(served)?;
    rules.encode().map_err(ApiError::invalid)
}

/// Whom the served generation leaves out, the next one leaves out, too.
fn left_out(served: &[u8]) -> Result<Vec<ringtail_analytics::Without>, ApiError> {
    match served.is_empty() {
        true => Ok(Vec::new()),
        false => {
            let rules = RuleSet::decode(served).map_err(ApiError::internal)?;
            Ok(rules.without)
        }
    }
}

/// A date begins with its first moment in the site's zone.
fn instant(text: &str, site: &Site) -> Result<UnixMillis, ApiError> {
    let refused = || {
        ApiError::invalid(format!(
            "from {text:?} is neither a date like 2026-01-31 nor an instant like 2026-01-31T12:00:00Z"
        ))
    };
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(UnixMillis(instant.as_millisecond()));
    }
    let date: Date = text.parse().map_err(|_| refused())?;
    let zone = TimeZone::get(&site.timezone).map_err(ApiError::internal)?;
    let start = date.to_zoned(zone).map_err(|_| refused())?;
    Ok(UnixMillis(start.timestamp().as_millisecond()))
}
