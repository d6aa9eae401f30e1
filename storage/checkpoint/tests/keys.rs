//! Keys: their golden encodings, and that bytes sort like keys.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt::Write as _;

use bytes::Bytes;
use proptest::prelude::*;
use ringtail_checkpoint::{GroupKey, StoreError};
use ringtail_proto::{Generation, HourStart, LogIndex, SiteId, SiteRow};

#[test]
fn encodings_are_the_golden_ones() {
    let site = SiteId(0x0102_0304_0506_0708);
    let generation = Generation(0x0a0b_0c0d);
    let rows = [
        SiteRow::Site,
        SiteRow::Hot(generation, 63),
        SiteRow::Rows(generation, HourStart(-3_600_000)),
        SiteRow::Rows(generation, HourStart(3_600_000)),
        SiteRow::Page(generation, HourStart(0)),
        SiteRow::DayPage(generation, HourStart(86_400_000), 1003),
        SiteRow::MonthPage(generation, HourStart(i64::MIN), 24),
        SiteRow::Ids(HourStart(i64::MAX), LogIndex(0x1122)),
        SiteRow::IdFilter(HourStart(-1)),
    ];
    let keys = [GroupKey::named("floor")]
        .into_iter()
        .chain(rows.map(|row| GroupKey::Site(site, row)));
    let mut text = String::new();
    for key in keys {
        let hex: String = key.encode().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(text, "{hex} {key:?}").unwrap();
    }
    assert_eq!(text, include_str!("golden/keys.txt"));
}

#[test]
fn bytes_that_no_key_has_are_damage() {
    let site_key = GroupKey::Site(SiteId(1), SiteRow::Hot(Generation(0), 1)).encode();
    let longer = [&site_key[..], b"x"].concat();
    for bytes in [
        &[][..],
        &[0],
        &[99, 0, 0, 0, 0, 0, 0, 0, 0],
        &site_key[..site_key.len() - 1],
        &site_key[..4],
        &longer,
    ] {
        let error = GroupKey::decode(bytes).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{bytes:?}");
    }
}

fn any_key() -> impl Strategy<Value = GroupKey> {
    let generation = || any::<u32>().prop_map(Generation);
    let hour = || any::<i64>().prop_map(HourStart);
    let row = prop_oneof![
        Just(SiteRow::Site),
        (generation(), any::<u8>()).prop_map(|(generation, chunk)| SiteRow::Hot(generation, chunk)),
        (generation(), hour()).prop_map(|(generation, hour)| SiteRow::Rows(generation, hour)),
        (generation(), hour()).prop_map(|(generation, hour)| SiteRow::Page(generation, hour)),
        (generation(), hour(), any::<u32>())
            .prop_map(|(generation, day, dimension)| SiteRow::DayPage(generation, day, dimension)),
        (generation(), hour(), any::<u32>()).prop_map(|(generation, month, dimension)| {
            SiteRow::MonthPage(generation, month, dimension)
        }),
        (hour(), any::<u64>()).prop_map(|(hour, index)| SiteRow::Ids(hour, LogIndex(index))),
        hour().prop_map(SiteRow::IdFilter),
    ];
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..8)
            .prop_map(|name| GroupKey::Group(Bytes::from(name))),
        // Few sites, so that pairs often differ in the row only.
        9 => (0..3_u64, row).prop_map(|(site, row)| GroupKey::Site(SiteId(site), row)),
    ]
}

proptest! {
    #[test]
    fn bytes_sort_like_keys(left in any_key(), right in any_key()) {
        prop_assert_eq!(left.cmp(&right), left.encode().cmp(&right.encode()));
    }

    #[test]
    fn a_key_survives_its_bytes(key in any_key()) {
        prop_assert_eq!(GroupKey::decode(&key.encode()).unwrap(), key);
    }
}
