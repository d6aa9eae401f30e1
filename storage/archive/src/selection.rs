//! Which rows a reader wants.

use std::ops::RangeInclusive;

use ringtail_proto::{LogIndex, SiteId, UnixMillis, stored::ArchiveObject};

/// The rows of one site or of all, of some entries, of some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Only this site.
    pub site: Option<SiteId>,
    /// Entries with these indexes.
    pub indexes: RangeInclusive<LogIndex>,
    /// Events whose counted time lies within.
    pub times: RangeInclusive<UnixMillis>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            site: None,
            indexes: LogIndex(0)..=LogIndex(u64::MAX),
            times: UnixMillis(i64::MIN)..=UnixMillis(i64::MAX),
        }
    }
}

impl Selection {
    /// All entries of one site in a range.
    #[must_use]
    pub fn of_site(site: SiteId, indexes: RangeInclusive<LogIndex>) -> Self {
        Self {
            site: Some(site),
            indexes,
            ..Self::default()
        }
    }

    /// False when none of the object's rows can be wanted.
    pub(crate) fn may_hold(&self, object: &ArchiveObject) -> bool {
        self.may_hold_sites(object.first_site, object.last_site)
            && self.may_hold_indexes(object.first_index, object.last_index)
            && self.may_hold_times(object.first_ms, object.last_ms)
    }

    pub(crate) fn may_hold_sites(&self, first: u64, last: u64) -> bool {
        self.site
            .is_none_or(|site| first <= site.0 && site.0 <= last)
    }

    pub(crate) fn may_hold_indexes(&self, first: u64, last: u64) -> bool {
        first <= self.indexes.end().0 && self.indexes.start().0 <= last
    }

    pub(crate) fn may_hold_times(&self, first: i64, last: i64) -> bool {
        first <= self.times.end().0 && self.times.start().0 <= last
    }

    pub(crate) fn holds(&self, site: u64, time_ms: i64, index: u64) -> bool {
        self.may_hold_sites(site, site)
            && self.may_hold_indexes(index, index)
            && self.may_hold_times(time_ms, time_ms)
    }
}
