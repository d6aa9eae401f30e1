//! Keys: their golden encodings, and that bytes sort like keys.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt::Write as _;

use bytes::Bytes;
use proptest::prelude::*;
use ringtail_checkpoint::{GroupKey, StoreError};
use ringtail_proto::{Generation, HourStart, LogIndex, SiteGeneration, SiteId, SiteRow};

#[test]
fn encodings_are_the_golden_ones() {
    let site = SiteGeneration {
        site: SiteId(0x0102_0304_0506_0708),
        generation: Generation(0x0a0b_0c0d),
    };
    let rows = [
        SiteRow::Site,
        SiteRow::Hot(63),
        SiteRow::Rows(HourStart(-3_600_000)),
        SiteRow::Rows(HourStart(3_600_000)),
        SiteRow::Page(HourStart(0)),
        SiteRow::DayPage(HourStart(86_400_000), 1003),
        SiteRow::MonthPage(HourStart(i64::MIN), 24),
        SiteRow::Ids(HourStart(i64::MAX), LogIndex(0x1122)),
        SiteRow::IdFilter(HourStart(-1)),
        SiteRow::Notes(LogIndex(0x1122), 3),
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
    let site_key = GroupKey::Site(SiteGeneration::first(SiteId(1)), SiteRow::Hot(1)).encode();
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
    let hour = || any::<i64>().prop_map(HourStart);
    let row = prop_oneof![
        Just(SiteRow::Site),
        any::<u8>().prop_map(SiteRow::Hot),
        hour().prop_map(SiteRow::Rows),
        hour().prop_map(SiteRow::Page),
        (hour(), any::<u32>()).prop_map(|(day, dimension)| SiteRow::DayPage(day, dimension)),
        (hour(), any::<u32>()).prop_map(|(month, dimension)| SiteRow::MonthPage(month, dimension)),
        (hour(), any::<u64>()).prop_map(|(hour, index)| SiteRow::Ids(hour, LogIndex(index))),
        hour().prop_map(SiteRow::IdFilter),
        (any::<u64>(), any::<u32>())
            .prop_map(|(index, number)| SiteRow::Notes(LogIndex(index), number)),
    ];
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..8)
            .prop_map(|name| GroupKey::Group(Bytes::from(name))),
        // Few sites and generations, so that pairs often differ in the row only.
        9 => (0..3_u64, 0..2_u32, row).prop_map(|(site, generation, row)| {
            let site = SiteGeneration {
                site: SiteId(site),
                generation: Generation(generation),
            };
            GroupKey::Site(site, row)
        }),
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
