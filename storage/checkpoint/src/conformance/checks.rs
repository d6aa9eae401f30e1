//! The checks of the suite.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{
    Generation, GroupId, HourStart, LogIndex, RowReader, RowWrite, SiteId, SiteRow,
};

use crate::{
    CheckpointStore, GROUP_NAME_BYTES_MAX, GroupBatch, GroupKey, GroupSnapshot, GroupStore,
    SiteReader, StoreError,
};

/// One check on an empty store.
type Check = fn(&dyn CheckpointStore);

pub(super) const ALL: [Check; 11] = [
    absent_rows_are_none,
    a_batch_is_visible_as_a_whole,
    the_last_change_in_a_batch_counts,
    removed_rows_are_gone,
    ranges_are_inclusive_and_in_order,
    negative_hours_sort_before_positive_ones,
    a_snapshot_does_not_change,
    groups_and_sites_do_not_see_each_other,
    big_values_come_back_whole,
    site_ranges_span_kinds_and_stop_at_a_break,
    limits_are_typed_errors,
];

const GROUP: GroupId = GroupId(3);
const SITE: SiteId = SiteId(7);
const GENERATION: Generation = Generation(0);

fn absent_rows_are_none(store: &dyn CheckpointStore) {
    let snapshot = open(store).snapshot();
    assert_eq!(get(&*snapshot, &GroupKey::named("floor")), None);
    assert_eq!(get(&*snapshot, &site_key(SiteRow::Site)), None);
    assert_eq!(keys(&*snapshot, &first(), &last()), []);
}

fn a_batch_is_visible_as_a_whole(store: &dyn CheckpointStore) {
    let group = open(store);
    let before = store.written_bytes();
    let batch = batch_of(&[(page(1), "one"), (page(2), "two"), (hot(9), "hot")]);
    assert_eq!((batch.len(), batch.value_bytes()), (3, 9));
    assert_eq!(keys(&*group.snapshot(), &first(), &last()), []);
    group.commit(batch).expect("commit");
    assert_eq!(
        keys(&*group.snapshot(), &first(), &last()),
        [hot(9), page(1), page(2)]
    );
    assert_eq!(store.written_bytes() - before, 9);
}

fn the_last_change_in_a_batch_counts(store: &dyn CheckpointStore) {
    let group = open(store);
    let mut batch = batch_of(&[(page(1), "first"), (page(1), "second"), (page(2), "gone")]);
    batch.remove(&page(2));
    batch.remove(&page(3));
    batch.put(&page(3), Bytes::from_static(b"back"));
    group.commit(batch).expect("commit");
    let snapshot = group.snapshot();
    assert_eq!(get(&*snapshot, &page(1)).as_deref(), Some(&b"second"[..]));
    assert_eq!(get(&*snapshot, &page(2)), None);
    assert_eq!(get(&*snapshot, &page(3)).as_deref(), Some(&b"back"[..]));
}

fn removed_rows_are_gone(store: &dyn CheckpointStore) {
    let group = open(store);
    let batch = batch_of(&[(page(1), "one"), (page(2), "two")]);
    group.commit(batch).expect("commit");
    let mut removal = GroupBatch::new();
    removal.remove(&page(1));
    removal.remove(&page(9));
    group.commit(removal).expect("commit");
    assert_eq!(keys(&*group.snapshot(), &first(), &last()), [page(2)]);
    let again = batch_of(&[(page(1), "again")]);
    group.commit(again).expect("commit");
    let value = get(&*group.snapshot(), &page(1));
    assert_eq!(value.as_deref(), Some(&b"again"[..]));
}

fn ranges_are_inclusive_and_in_order(store: &dyn CheckpointStore) {
    let group = open(store);
    let batch = batch_of(&[
        (page(4), ""),
        (page(2), ""),
        (page(3), ""),
        (page(1), ""),
        (GroupKey::named("floor"), "f"),
    ]);
    group.commit(batch).expect("commit");
    let snapshot = group.snapshot();
    let all = [GroupKey::named("floor"), page(1), page(2), page(3), page(4)];
    assert_eq!(keys(&*snapshot, &first(), &last()), all);
    assert_eq!(keys(&*snapshot, &page(2), &page(3)), [page(2), page(3)]);
    assert_eq!(keys(&*snapshot, &page(3), &page(3)), [page(3)]);
    assert_eq!(keys(&*snapshot, &page(5), &page(9)), []);
    assert_eq!(keys(&*snapshot, &page(3), &page(2)), [], "inverted");
}

fn negative_hours_sort_before_positive_ones(store: &dyn CheckpointStore) {
    let group = open(store);
    let hours = [i64::MIN, -3_600_000, -1, 0, 1, 3_600_000, i64::MAX];
    let mut batch = GroupBatch::new();
    for hour in hours.iter().rev() {
        batch.put(&page(*hour), Bytes::from(hour.to_be_bytes().to_vec()));
    }
    group.commit(batch).expect("commit");
    let found = keys(&*group.snapshot(), &page(i64::MIN), &page(i64::MAX));
    assert_eq!(found, hours.map(page));
    let negative = keys(&*group.snapshot(), &page(i64::MIN), &page(-1));
    assert_eq!(negative, [i64::MIN, -3_600_000, -1].map(page));
}

fn a_snapshot_does_not_change(store: &dyn CheckpointStore) {
    let group = open(store);
    let batch = batch_of(&[(page(1), "old"), (page(2), "removed later")]);
    group.commit(batch).expect("commit");
    let old = group.snapshot();
    let mut batch = batch_of(&[(page(1), "new"), (page(3), "added later")]);
    batch.remove(&page(2));
    group.commit(batch).expect("commit");
    store.persist().expect("persist");
    assert_eq!(get(&*old, &page(1)).as_deref(), Some(&b"old"[..]));
    assert_eq!(keys(&*old, &first(), &last()), [page(1), page(2)]);
    let new = group.snapshot();
    assert_eq!(get(&*new, &page(1)).as_deref(), Some(&b"new"[..]));
    assert_eq!(keys(&*new, &first(), &last()), [page(1), page(3)]);
}

fn groups_and_sites_do_not_see_each_other(store: &dyn CheckpointStore) {
    let group = open(store);
    let other = store.group(GroupId(4)).expect("open a group");
    assert_eq!((group.group(), other.group()), (GROUP, GroupId(4)));
    let mut batch = GroupBatch::new();
    for site in [SITE, SiteId(8)] {
        let value = Some(Bytes::from(site.to_string()));
        let row = SiteRow::Site;
        batch.write(site, RowWrite { row, value });
    }
    group.commit(batch).expect("commit");
    assert_eq!(keys(&*other.snapshot(), &first(), &last()), []);
    let reader = SiteReader::new(group.snapshot(), SITE);
    assert_eq!(rows(&reader, SiteRow::Site, last_row()), [SiteRow::Site]);
    let value = reader.get(SiteRow::Site).expect("get");
    assert_eq!(value.as_deref(), Some(&b"7"[..]));
    // Two handles of a group are the same rows.
    let same = open(store).snapshot();
    assert_eq!(
        keys(&*same, &first(), &last()),
        keys(&*group.snapshot(), &first(), &last())
    );
}

fn big_values_come_back_whole(store: &dyn CheckpointStore) {
    let group = open(store);
    let big: Bytes = (0..8_u32 << 18).flat_map(u32::to_le_bytes).collect();
    for hour in 0..3 {
        let mut batch = GroupBatch::new();
        batch.put(&page(hour), big.clone());
        batch.put(&hot(hour as u8), Bytes::new());
        group.commit(batch).expect("commit");
    }
    store.persist().expect("persist");
    let snapshot = group.snapshot();
    for hour in 0..3 {
        assert!(get(&*snapshot, &page(hour)) == Some(big.clone()));
        assert_eq!(get(&*snapshot, &hot(hour as u8)), Some(Bytes::new()));
    }
}

fn site_ranges_span_kinds_and_stop_at_a_break(store: &dyn CheckpointStore) {
    let group = open(store);
    let written = [
        SiteRow::Site,
        SiteRow::Hot(GENERATION, 3),
        SiteRow::Rows(GENERATION, HourStart(-5)),
        SiteRow::Page(GENERATION, HourStart(-5)),
        SiteRow::DayPage(GENERATION, HourStart(0), 2),
        SiteRow::MonthPage(GENERATION, HourStart(0), 2),
        SiteRow::Ids(HourStart(0), LogIndex(4)),
        SiteRow::IdFilter(HourStart(0)),
    ];
    let mut batch = GroupBatch::new();
    for site in [SiteId(6), SITE, SiteId(8)] {
        for row in written {
            batch.put(&GroupKey::Site(site, row), Bytes::from_static(b"x"));
        }
    }
    group.commit(batch).expect("commit");
    let reader = SiteReader::new(group.snapshot(), SITE);
    assert_eq!(rows(&reader, SiteRow::Site, last_row()), written);
    assert_eq!(
        rows(
            &reader,
            SiteRow::Rows(GENERATION, HourStart(-4)),
            SiteRow::DayPage(GENERATION, HourStart(0), 1)
        ),
        [SiteRow::Page(GENERATION, HourStart(-5))]
    );
    let mut visited = Vec::new();
    let stop_at_third = &mut |row, _| {
        visited.push(row);
        match visited.len() {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    reader
        .range(SiteRow::Site, last_row(), stop_at_third)
        .expect("range");
    assert!(visited.iter().eq(written.iter().take(3)));
}

fn limits_are_typed_errors(store: &dyn CheckpointStore) {
    let group = open(store);
    let mut batch = GroupBatch::new();
    let name = Bytes::from(vec![b'n'; GROUP_NAME_BYTES_MAX]);
    batch.put(&GroupKey::Group(name), Bytes::new());
    group.commit(batch).expect("the longest name is taken");
    let mut batch = batch_of(&[(page(1), "not kept")]);
    let name = Bytes::from(vec![b'n'; GROUP_NAME_BYTES_MAX + 1]);
    batch.put(&GroupKey::Group(name), Bytes::new());
    let error = group.commit(batch).expect_err("the name is too long");
    assert!(matches!(error, StoreError::TooLarge { bytes: 256, .. }));
    assert!(error.is_before_the_write());
    assert_eq!(get(&*group.snapshot(), &page(1)), None);
    group
        .commit(GroupBatch::new())
        .expect("an empty batch is nothing to fail at");
}

pub(super) fn write_before_reopen(store: &dyn CheckpointStore) {
    let group = open(store);
    for round in 0..50_i64 {
        let mut batch = batch_of(&[(page(round), "kept"), (GroupKey::named("floor"), "f")]);
        batch.remove(&page(round - 10));
        group.commit(batch).expect("commit");
    }
    store.persist().expect("persist");
}

pub(super) fn find_after_reopen(store: &dyn CheckpointStore) {
    let snapshot = open(store).snapshot();
    let expected: Vec<_> = (40..50).map(page).collect();
    let found = keys(&*snapshot, &page(i64::MIN), &page(i64::MAX));
    assert_eq!(found, expected);
    let floor = get(&*snapshot, &GroupKey::named("floor"));
    assert_eq!(floor.as_deref(), Some(&b"f"[..]));
}

fn open(store: &dyn CheckpointStore) -> Arc<dyn GroupStore> {
    store.group(GROUP).expect("open a group")
}

fn site_key(row: SiteRow) -> GroupKey {
    GroupKey::Site(SITE, row)
}

fn page(hour: i64) -> GroupKey {
    site_key(SiteRow::Page(GENERATION, HourStart(hour)))
}

fn hot(chunk: u8) -> GroupKey {
    site_key(SiteRow::Hot(GENERATION, chunk))
}

fn first() -> GroupKey {
    GroupKey::named("")
}

fn last() -> GroupKey {
    GroupKey::Site(SiteId(u64::MAX), last_row())
}

const fn last_row() -> SiteRow {
    SiteRow::IdFilter(HourStart(i64::MAX))
}

fn batch_of(rows: &[(GroupKey, &'static str)]) -> GroupBatch {
    let mut batch = GroupBatch::new();
    for (key, value) in rows {
        batch.put(key, Bytes::from_static(value.as_bytes()));
    }
    batch
}

fn get(snapshot: &dyn GroupSnapshot, key: &GroupKey) -> Option<Bytes> {
    snapshot.get(key).expect("get")
}

fn keys(snapshot: &dyn GroupSnapshot, from: &GroupKey, to: &GroupKey) -> Vec<GroupKey> {
    let mut keys = Vec::new();
    let visit = &mut |key, _| {
        keys.push(key);
        ControlFlow::Continue(())
    };
    snapshot.range(from, to, visit).expect("range");
    keys
}

fn rows(reader: &SiteReader, from: SiteRow, to: SiteRow) -> Vec<SiteRow> {
    let mut rows = Vec::new();
    let visit = &mut |row, _| {
        rows.push(row);
        ControlFlow::Continue(())
    };
    reader.range(from, to, visit).expect("range");
    rows
}
