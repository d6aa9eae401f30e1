//! Which CQL partition holds a row.

use ringtail_proto::{GroupId, SiteId, SiteRow};
use uuid::Uuid;

use crate::GroupKey;

/// 2^29 ms, a little over six days: a big site's visit rows of that time are some hundred megabytes, what servers like
/// a partition to have at most.
const PERIOD_BITS: u32 = 29;

/// The bucket of the group's own rows; they have site 0.
pub(super) const GROUP_BUCKET: i64 = -2;
/// The bucket of a site row.
pub(super) const SITE_BUCKET: i64 = -1;

/// All rows of a partition are on the same servers and change together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Partition {
    /// Whose rows: a cluster's, or one set of a store's group.
    pub(super) incarnation: Uuid,
    pub(super) group: i32,
    pub(super) site: i64,
    pub(super) bucket: i64,
}

impl Partition {
    pub(super) fn of(incarnation: Uuid, group: GroupId, key: &GroupKey) -> Self {
        let (site, bucket) = match key {
            GroupKey::Group(_) => (0, GROUP_BUCKET),
            GroupKey::Site(site, row) => (site.0 as i64, bucket_of(*row)),
        };
        Self {
            incarnation,
            group: group.0 as i32,
            site,
            bucket,
        }
    }

    pub(super) const fn in_site(
        incarnation: Uuid,
        group: GroupId,
        site: SiteId,
        bucket: i64,
    ) -> Self {
        Self {
            incarnation,
            group: group.0 as i32,
            site: site.0 as i64,
            bucket,
        }
    }
}

/// A row's bucket: its generation, then the period of its hour. Taken as an unsigned number, buckets sort as the rows
/// of one kind do, so that ranges go from bucket to bucket.
pub(super) fn bucket_of(row: SiteRow) -> i64 {
    let (generation, period) = match row {
        SiteRow::Site => return SITE_BUCKET,
        SiteRow::Hot(generation, _) => (generation.0, 0),
        SiteRow::Rows(generation, hour)
        | SiteRow::Page(generation, hour)
        | SiteRow::DayPage(generation, hour, _)
        | SiteRow::MonthPage(generation, hour, _) => (generation.0, period_of(hour.0)),
        SiteRow::Ids(hour, _) | SiteRow::IdFilter(hour) => (0, period_of(hour.0)),
    };
    (u64::from(generation) << 32 | u64::from(period)) as i64
}

/// From 1 on; hours that no calendar reaches share the first and the last.
fn period_of(hour: i64) -> u32 {
    let middle = 1_i64 << 31;
    ((hour >> PERIOD_BITS) + middle).clamp(1, i64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringtail_proto::{Generation, HourStart, LogIndex};

    use super::*;

    #[test]
    fn rows_of_some_days_share_a_partition() {
        let page = |hour: i64| bucket_of(SiteRow::Page(Generation(1), HourStart(hour)));
        let monday = 1_763_337_600_000;
        let day = 86_400_000;
        assert_eq!(page(monday), page(monday + day / 24));
        assert_ne!(page(monday), page(monday + 7 * day));
        let buckets: std::collections::BTreeSet<i64> = (0..365 * 24)
            .map(|hour| page(monday + hour * day / 24))
            .collect();
        assert!((58..=60).contains(&buckets.len()), "{}", buckets.len());
    }

    proptest! {
        #[test]
        fn buckets_sort_as_rows_of_a_kind_do(
            left in (any::<u32>(), any::<i64>()),
            right in (any::<u32>(), any::<i64>()),
            near in -10_000_000_000_i64..10_000_000_000,
        ) {
            let page = |(generation, hour)| SiteRow::Page(Generation(generation), HourStart(hour));
            let close = page((left.0, left.1.saturating_add(near)));
            for (one, other) in [(page(left), page(right)), (page(left), close)] {
                let (small, great) = (one.min(other), one.max(other));
                prop_assert!(bucket_of(small) as u64 <= bucket_of(great) as u64);
            }
            let ids = |hour| SiteRow::Ids(HourStart(hour), LogIndex(1));
            let (small, great) = (left.1.min(right.1), left.1.max(right.1));
            prop_assert!(bucket_of(ids(small)) as u64 <= bucket_of(ids(great)) as u64);
        }
    }
}
