//! Which CQL partition holds a row.

use ringtail_proto::{Generation, GroupId, SiteGeneration, SiteId, SiteRow};
use uuid::Uuid;

use crate::GroupKey;

/// 2^29 ms, a little over six days: a big site's visit rows of that time are some hundred megabytes, what servers like
/// a partition to have at most.
const PERIOD_BITS: u32 = 29;

/// The bucket of rows that belong to no hour, and of the group's own rows, which have site 0 to themselves.
const TIMELESS_BUCKET: i64 = i64::MIN;
pub(super) const GROUP_BUCKET: i64 = i64::MIN + 1;
/// The bucket of a site row: the last one, so that who reads all buckets reads it last.
const SITE_BUCKET: i64 = i64::MAX;

/// All rows of a partition are on the same servers and change together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Partition {
    /// Whose rows: a cluster's, or one set of a store's group.
    pub(super) incarnation: Uuid,
    pub(super) group: i32,
    pub(super) site: i64,
    pub(super) generation: i32,
    pub(super) bucket: i64,
}

impl Partition {
    pub(super) fn of(incarnation: Uuid, group: GroupId, key: &GroupKey) -> Self {
        match key {
            GroupKey::Group(_) => Self::of_group(incarnation, group),
            GroupKey::Site(site, row) => Self::in_site(incarnation, group, *site, bucket_of(*row)),
        }
    }

    pub(super) const fn of_group(incarnation: Uuid, group: GroupId) -> Self {
        let site = SiteGeneration::first(SiteId(0));
        Self::in_site(incarnation, group, site, GROUP_BUCKET)
    }

    pub(super) const fn in_site(
        incarnation: Uuid,
        group: GroupId,
        site: SiteGeneration,
        bucket: i64,
    ) -> Self {
        Self {
            incarnation,
            group: group.0 as i32,
            site: site.site.0 as i64,
            generation: site.generation.0 as i32,
            bucket,
        }
    }

    /// Its key, as the tables have it.
    pub(super) const fn columns(self) -> (Uuid, i32, i64, i32, i64) {
        let Self {
            incarnation,
            group,
            site,
            generation,
            bucket,
        } = self;
        (incarnation, group, site, generation, bucket)
    }
}

/// The site of two columns.
pub(super) const fn site_of(site: i64, generation: i32) -> SiteGeneration {
    SiteGeneration {
        site: SiteId(site as u64),
        generation: Generation(generation as u32),
    }
}

/// The period of a row's hour. Buckets sort as the rows of one kind do, so that ranges go from bucket to bucket.
const fn bucket_of(row: SiteRow) -> i64 {
    match row {
        SiteRow::Site => SITE_BUCKET,
        SiteRow::Hot(_) | SiteRow::Notes(..) => TIMELESS_BUCKET,
        SiteRow::Rows(hour)
        | SiteRow::Page(hour)
        | SiteRow::DayPage(hour, _)
        | SiteRow::MonthPage(hour, _)
        | SiteRow::Ids(hour, _)
        | SiteRow::IdFilter(hour) => hour.0 >> PERIOD_BITS,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use ringtail_proto::{HourStart, LogIndex};

    use super::*;

    #[test]
    fn rows_of_some_days_share_a_partition() {
        let page = |hour: i64| bucket_of(SiteRow::Page(HourStart(hour)));
        let monday = 1_763_337_600_000;
        let day = 86_400_000;
        assert_eq!(page(monday), page(monday + day / 24));
        assert_ne!(page(monday), page(monday + 7 * day));
        let hours = (0..365 * 24).map(|hour| page(monday + hour * day / 24));
        let buckets: BTreeSet<i64> = hours.collect();
        assert!((58..=60).contains(&buckets.len()), "{}", buckets.len());
    }

    proptest! {
        #[test]
        fn buckets_sort_as_rows_of_a_kind_do(left: i64, right: i64, near in -(1_i64 << 31)..1 << 31) {
            let close = left.saturating_add(near);
            for other in [right, close] {
                let (small, great) = (HourStart(left.min(other)), HourStart(left.max(other)));
                prop_assert!(bucket_of(SiteRow::Page(small)) <= bucket_of(SiteRow::Page(great)));
                let (small, great) = (SiteRow::Ids(small, LogIndex(9)), SiteRow::Ids(great, LogIndex(1)));
                prop_assert!(bucket_of(small) <= bucket_of(great));
            }
        }

        #[test]
        fn no_hour_has_a_bucket_of_rows_without_one(hour: i64) {
            let bucket = bucket_of(SiteRow::IdFilter(HourStart(hour)));
            prop_assert!(![TIMELESS_BUCKET, GROUP_BUCKET, SITE_BUCKET].contains(&bucket));
        }

        #[test]
        fn a_site_is_found_again_in_its_columns(site: u64, generation: u32) {
            let site = SiteGeneration { site: SiteId(site), generation: Generation(generation) };
            let partition = Partition::in_site(Uuid::nil(), GroupId(1), site, 0);
            prop_assert_eq!(site_of(partition.site, partition.generation), site);
        }
    }
}
