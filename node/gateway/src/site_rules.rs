//! What enrichment has to know about one site, prepared once for each revision of its settings.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{Timestamp, tz::TimeZone};
use parking_lot::Mutex;
use ringtail_proto::{SiteId, UnixMillis};

use crate::rate::Bucket;

/// The facts of a site from which [`SiteRules`] are made.
#[derive(Clone, Debug, Default)]
pub struct SiteRulesInput {
    /// The site.
    pub id: SiteId,
    /// Its main domain.
    pub domain: String,
    /// All hosts whose pages are its own: domain, aliases, further allowed origins.
    pub hosts: Vec<String>,
    /// IANA name of its zone; an unknown one counts as UTC.
    pub timezone: String,
    /// Events of a paused site are dropped.
    pub is_paused: bool,
    /// Events from other hosts are dropped.
    pub checks_origin: bool,
    /// Events without consent are dropped.
    pub requires_consent: bool,
    /// Events of browsers that ask not to be tracked are dropped.
    pub obeys_do_not_track: bool,
    /// Query parameters kept in the page, beside the usual ones that are read and left out.
    pub allowed_query_parameters: Vec<String>,
    /// The site's secret of visitor hashes that must last.
    pub sketch_key: u64,
}

/// One site as enrichment sees it.
#[derive(Debug)]
pub struct SiteRules {
    pub(crate) id: SiteId,
    pub(crate) domain: String,
    pub(crate) is_paused: bool,
    pub(crate) checks_origin: bool,
    pub(crate) requires_consent: bool,
    pub(crate) obeys_do_not_track: bool,
    pub(crate) allowed_query_parameters: Vec<String>,
    pub(crate) sketch_key: u64,
    /// Tells these rules from all others of this process, so that caches need not know why rules differ.
    pub(crate) stamp: u64,
    pub(crate) rate: Bucket,
    pub(crate) stored_drops: Bucket,
    hosts: Vec<String>,
    zone: TimeZone,
    day: Mutex<LocalDay>,
}

/// A local calendar day.
#[derive(Clone, Copy, Debug, Default)]
struct LocalDay {
    from_ms: i64,
    until_ms: i64,
    /// Days since 1970-01-01 of the local calendar.
    day: i32,
}

static STAMPS: AtomicU64 = AtomicU64::new(1);

impl SiteRules {
    /// Prepares the rules of a site.
    #[must_use]
    pub fn new(input: SiteRulesInput) -> Self {
        let zone = TimeZone::get(&input.timezone).unwrap_or(TimeZone::UTC);
        Self {
            id: input.id,
            domain: input.domain,
            is_paused: input.is_paused,
            checks_origin: input.checks_origin,
            requires_consent: input.requires_consent,
            obeys_do_not_track: input.obeys_do_not_track,
            allowed_query_parameters: input.allowed_query_parameters,
            sketch_key: input.sketch_key,
            stamp: STAMPS.fetch_add(1, Ordering::Relaxed),
            rate: Bucket::default(),
            stored_drops: Bucket::default(),
            hosts: input
                .hosts
                .iter()
                .map(|host| without_www(host).to_ascii_lowercase())
                .collect(),
            zone,
            day: Mutex::new(LocalDay::default()),
        }
    }

    /// The site.
    #[must_use]
    pub const fn id(&self) -> SiteId {
        self.id
    }

    /// The main domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// True for the site's own hosts and whatever is below them. The host is in lower case.
    pub(crate) fn owns_host(&self, host: &str) -> bool {
        let host = without_www(host);
        self.hosts.iter().any(|own| {
            host.strip_suffix(own.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }

    /// The local day at a moment, in days since 1970-01-01 of the local calendar.
    pub(crate) fn local_day(&self, at: UnixMillis) -> i32 {
        let mut known = self.day.lock();
        if !(known.from_ms..known.until_ms).contains(&at.0) {
            *known = self.compute_day(at);
        }
        known.day
    }

    fn compute_day(&self, at: UnixMillis) -> LocalDay {
        let moment = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let date = self.zone.to_datetime(moment).date();
        let day = date
            .since(jiff::civil::date(1970, 1, 1))
            .map_or(0, |span| span.get_days());
        let starts = |date: jiff::civil::Date| {
            date.to_zoned(self.zone.clone())
                .map_or(at.0, |zoned| zoned.timestamp().as_millisecond())
        };
        LocalDay {
            from_ms: starts(date),
            until_ms: date.tomorrow().map_or(at.0, starts),
            day,
        }
    }
}

/// The host as people say it.
pub(crate) fn without_www(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_hosts_are_the_domains_and_what_is_below_them() {
        let rules = SiteRules::new(SiteRulesInput {
            hosts: vec!["www.Example.com".into(), "shop.example.net".into()],
            ..SiteRulesInput::default()
        });
        let check = |host: &str, expect: bool| assert_eq!(rules.owns_host(host), expect, "{host}");
        check("example.com", true);
        check("www.example.com", true);
        check("blog.example.com", true);
        check("badexample.com", false);
        check("example.com.evil.net", false);
        check("example.net", false);
        check("shop.example.net", true);
        check("", false);
    }

    #[test]
    fn the_local_day_follows_the_zone_and_its_changes() {
        let day = |zone: &str, at: &str| {
            let rules = SiteRules::new(SiteRulesInput {
                timezone: zone.into(),
                ..SiteRulesInput::default()
            });
            let at: Timestamp = at.parse().unwrap();
            let first = rules.local_day(UnixMillis(at.as_millisecond()));
            assert_eq!(first, rules.local_day(UnixMillis(at.as_millisecond())));
            first
        };
        assert_eq!(day("UTC", "1970-01-02T00:00:00Z"), 1);
        assert_eq!(day("UTC", "1970-01-01T23:59:59.999Z"), 0);
        assert_eq!(day("Pacific/Kiritimati", "1970-01-10T13:00:00Z"), 9);
        assert_eq!(
            day("Pacific/Kiritimati", "2026-11-21T09:59:59Z"),
            day("UTC", "2026-11-21T00:00:00Z")
        );
        assert_eq!(
            day("Pacific/Kiritimati", "2026-11-21T10:00:00Z"),
            day("UTC", "2026-11-22T00:00:00Z")
        );
        // Berlin's day of 23 hours ends at 22:00 UTC.
        assert_eq!(
            day("Europe/Berlin", "2026-03-29T21:59:59Z"),
            day("UTC", "2026-03-29T12:00:00Z")
        );
        assert_eq!(
            day("Europe/Berlin", "2026-03-29T22:00:00Z"),
            day("UTC", "2026-03-30T12:00:00Z")
        );
    }

    #[test]
    fn the_remembered_day_ends_at_midnight() {
        let rules = SiteRules::new(SiteRulesInput {
            timezone: "Asia/Kolkata".into(),
            ..SiteRulesInput::default()
        });
        let at = |text: &str| UnixMillis(text.parse::<Timestamp>().unwrap().as_millisecond());
        let before = rules.local_day(at("2026-11-21T18:29:59.999Z"));
        assert_eq!(rules.local_day(at("2026-11-21T18:30:00Z")), before + 1);
        assert_eq!(rules.local_day(at("2026-11-21T18:29:59.999Z")), before);
    }
}
