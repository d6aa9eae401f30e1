//! The checks of the suite.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{
    Generation, GroupId, HourStart, LogIndex, RowReader, RowWrite, SiteGeneration, SiteId, SiteRow,
};

use crate::{
    CheckpointStore, GROUP_NAME_BYTES_MAX, GroupBatch, GroupKey, GroupReplacement, GroupSnapshot,
    GroupStore, RawRow, SiteReader, StoreError,
};

/// One check on an empty store.
type Check = fn(&dyn CheckpointStore);

pub(super) const ALL: [Check; 17] = [
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
    rows_come_in_bounded_pieces_and_in_order,
    rows_replace_others_all_at_once,
    a_replacement_that_is_given_up_changes_nothing,
    rows_that_cannot_be_are_refused,
    a_replaced_group_serves_old_snapshots_and_takes_no_old_batches,
    a_removed_group_is_empty_and_can_be_filled_again,
];

const GROUP: GroupId = GroupId(3);
const SITE: SiteGeneration = SiteGeneration::first(SiteId(7));
/// Lies right beside it, but is another's.
const NEXT_GENERATION: SiteGeneration = SiteGeneration {
    generation: Generation(1),
    ..SITE
};

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
    for site in [SITE, NEXT_GENERATION, SiteGeneration::first(SiteId(8))] {
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
        SiteRow::Hot(3),
        SiteRow::Rows(HourStart(-5)),
        SiteRow::Page(HourStart(-5)),
        SiteRow::DayPage(HourStart(0), 2),
        SiteRow::MonthPage(HourStart(0), 2),
        SiteRow::Ids(HourStart(0), LogIndex(4)),
        SiteRow::IdFilter(HourStart(0)),
        SiteRow::Notes(LogIndex(4), 0),
    ];
    let mut batch = GroupBatch::new();
    let [before, after] = [6, 8].map(|site| SiteGeneration::first(SiteId(site)));
    for site in [before, SITE, NEXT_GENERATION, after] {
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
            SiteRow::Rows(HourStart(-4)),
            SiteRow::DayPage(HourStart(0), 1)
        ),
        [SiteRow::Page(HourStart(-5))]
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

fn rows_come_in_bounded_pieces_and_in_order(store: &dyn CheckpointStore) {
    let group = open(store);
    assert_eq!(raw(&*group.snapshot(), 100), Vec::<Vec<RawRow>>::new());
    let mut batch = GroupBatch::new();
    for hour in -5..5 {
        batch.put(&page(hour), Bytes::from(vec![1; 10]));
    }
    batch.put(&hot(1), Bytes::from(vec![2; 1_000]));
    batch.put(&GroupKey::named("floor"), Bytes::from_static(b"f"));
    group.commit(batch).expect("commit");
    let snapshot = group.snapshot();
    let mut wanted = Vec::new();
    let visit = &mut |key: GroupKey, value| {
        wanted.push((key.encode(), value));
        ControlFlow::Continue(())
    };
    snapshot.range(&first(), &last(), visit).expect("range");
    for bytes_max in [0, 1, 100, 1_200, u64::MAX] {
        let pieces = raw(&*snapshot, bytes_max);
        for piece in &pieces {
            let bytes: usize = piece
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum();
            assert!(piece.len() == 1 || bytes as u64 <= bytes_max);
        }
        assert_eq!(pieces.concat(), wanted, "in pieces of {bytes_max} bytes");
    }
}

fn rows_replace_others_all_at_once(store: &dyn CheckpointStore) {
    let group = open(store);
    let other = store.group(GroupId(4)).expect("open a group");
    let old = [
        (page(1), "old"),
        (page(2), "old"),
        (GroupKey::named("floor"), "f"),
    ];
    group.commit(batch_of(&old)).expect("commit");
    other.commit(batch_of(&old)).expect("commit");
    let before = store.written_bytes();
    let mut replacement = store.replace_group(GROUP).expect("begin");
    put(
        &mut *replacement,
        &[(GroupKey::named("floor"), "g"), (hot(1), "new")],
    );
    put(&mut *replacement, &[]);
    put(&mut *replacement, &[(page(2), "new"), (page(3), "new")]);
    assert_eq!(
        get(&*open(store).snapshot(), &page(1)).as_deref(),
        Some(&b"old"[..])
    );
    replacement.finish().expect("finish");
    assert_eq!(store.written_bytes() - before, 10);
    let now = open(store).snapshot();
    let wanted = [GroupKey::named("floor"), hot(1), page(2), page(3)];
    assert_eq!(keys(&*now, &first(), &last()), wanted);
    assert_eq!(get(&*now, &page(2)).as_deref(), Some(&b"new"[..]));
    assert_eq!(keys(&*other.snapshot(), &first(), &last()).len(), 3);
    other.commit(batch_of(&old)).expect("another group goes on");
    open(store)
        .commit(batch_of(&old))
        .expect("and so do the new rows");
}

fn a_replacement_that_is_given_up_changes_nothing(store: &dyn CheckpointStore) {
    let group = open(store);
    group.commit(batch_of(&[(page(1), "old")])).expect("commit");
    for group in [GROUP, GroupId(5)] {
        let mut replacement = store.replace_group(group).expect("begin");
        put(&mut *replacement, &[(page(7), "new")]);
    }
    // Begun and finished while another one is under way: each has its own rows.
    let mut left = store.replace_group(GroupId(6)).expect("begin");
    let mut kept = store.replace_group(GroupId(6)).expect("begin");
    put(&mut *left, &[(page(1), "left")]);
    put(&mut *kept, &[(page(1), "kept")]);
    kept.finish().expect("finish");
    drop(left);
    group.commit(batch_of(&[(page(2), "old")])).expect("commit");
    assert_eq!(
        keys(&*open(store).snapshot(), &first(), &last()),
        [page(1), page(2)]
    );
    let fresh = store.group(GroupId(5)).expect("open a group");
    assert_eq!(keys(&*fresh.snapshot(), &first(), &last()), []);
    let finished = store.group(GroupId(6)).expect("open a group");
    assert_eq!(
        get(&*finished.snapshot(), &page(1)).as_deref(),
        Some(&b"kept"[..])
    );
}

fn rows_that_cannot_be_are_refused(store: &dyn CheckpointStore) {
    let check = |rows: &[(&[u8], usize)], expect: &str| {
        let mut replacement = store.replace_group(GROUP).expect("begin");
        put(
            &mut *replacement,
            &[(GroupKey::named("floor"), "f"), (page(1), "x")],
        );
        let rows = rows
            .iter()
            .map(|(key, size)| (Bytes::copy_from_slice(key), Bytes::from(vec![0; *size])));
        let error = replacement.put(rows.collect()).expect_err("refused");
        assert!(error.is_before_the_write());
        assert!(error.to_string().contains(expect), "{error}");
    };
    let (next, later) = (page(2).encode(), page(3).encode());
    check(&[(b"", 1)], "no row has the key");
    check(&[(b"\xffodd", 1)], "no row has the key");
    check(&[(&[&next[..], b"more"].concat(), 1)], "no row has the key");
    check(&[(&page(1).encode(), 1)], "does not come after");
    check(&[(&hot(1).encode(), 1)], "does not come after");
    check(&[(&later, 1), (&next, 1)], "does not come after");
    check(&[(&next, 1), (&next, 1)], "does not come after");
    let mut replacement = store.replace_group(GROUP).expect("begin");
    let name = GroupKey::Group(Bytes::from(vec![b'n'; GROUP_NAME_BYTES_MAX + 1]));
    let error = replacement.put(vec![(name.encode(), Bytes::new())]);
    assert!(matches!(
        error,
        Err(StoreError::TooLarge { bytes: 256, .. })
    ));
    drop(replacement);
    assert_eq!(keys(&*open(store).snapshot(), &first(), &last()), []);
}

fn a_replaced_group_serves_old_snapshots_and_takes_no_old_batches(store: &dyn CheckpointStore) {
    let old = open(store);
    old.commit(batch_of(&[(page(1), "old")])).expect("commit");
    let snapshot = old.snapshot();
    let mut replacement = store.replace_group(GROUP).expect("begin");
    put(&mut *replacement, &[(page(2), "new")]);
    replacement.finish().expect("finish");
    let error = old.commit(batch_of(&[(page(3), "late")]));
    assert_eq!(error, Err(StoreError::Replaced { group: GROUP }));
    store.persist().expect("persist");
    assert_eq!(keys(&*snapshot, &first(), &last()), [page(1)]);
    assert_eq!(raw(&*snapshot, 1).len(), 1);
    store.remove_group(GROUP).expect("remove");
    assert_eq!(get(&*snapshot, &page(1)).as_deref(), Some(&b"old"[..]));
    assert_eq!(keys(&*open(store).snapshot(), &first(), &last()), []);
}

fn a_removed_group_is_empty_and_can_be_filled_again(store: &dyn CheckpointStore) {
    store.remove_group(GroupId(9)).expect("nothing to remove");
    let other = store.group(GroupId(4)).expect("open a group");
    other
        .commit(batch_of(&[(page(1), "other")]))
        .expect("commit");
    for round in 0..3 {
        let group = open(store);
        assert_eq!(keys(&*group.snapshot(), &first(), &last()), []);
        group
            .commit(batch_of(&[(page(round), "x")]))
            .expect("commit");
        store.remove_group(GROUP).expect("remove");
        let error = group.commit(batch_of(&[(page(1), "late")]));
        assert_eq!(error, Err(StoreError::Replaced { group: GROUP }));
    }
    assert_eq!(keys(&*other.snapshot(), &first(), &last()), [page(1)]);
}

/// Returns what was not finished: a crash drops nothing in order.
pub(super) fn replace_before_crash(store: &dyn CheckpointStore) -> Vec<Box<dyn GroupReplacement>> {
    let mut unfinished = Vec::new();
    for (group, finishes) in [(1, true), (2, false), (3, true), (4, false)] {
        let group = GroupId(group);
        if group.0 <= 2 {
            let rows = store.group(group).expect("open a group");
            rows.commit(batch_of(&[(page(1), "old")])).expect("commit");
        }
        let mut replacement = store.replace_group(group).expect("begin");
        put(&mut *replacement, &[(page(2), "new"), (page(3), "new")]);
        match finishes {
            true => replacement.finish().expect("finish"),
            false => unfinished.push(replacement),
        }
    }
    let removed = store.group(GroupId(5)).expect("open a group");
    removed
        .commit(batch_of(&[(page(1), "old")]))
        .expect("commit");
    store.remove_group(GroupId(5)).expect("remove");
    store.persist().expect("persist");
    unfinished
}

pub(super) fn find_replaced_after_crash(store: &dyn CheckpointStore) {
    let check = |group: u32, expect: &[GroupKey]| {
        let rows = store.group(GroupId(group)).expect("open a group");
        assert_eq!(
            keys(&*rows.snapshot(), &first(), &last()),
            expect,
            "group {group}"
        );
    };
    check(1, &[page(2), page(3)]);
    check(2, &[page(1)]);
    check(3, &[page(2), page(3)]);
    check(4, &[]);
    check(5, &[]);
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
    site_key(SiteRow::Page(HourStart(hour)))
}

fn hot(chunk: u8) -> GroupKey {
    site_key(SiteRow::Hot(chunk))
}

fn first() -> GroupKey {
    GroupKey::named("")
}

fn last() -> GroupKey {
    GroupKey::Site(SiteGeneration::MAX, last_row())
}

const fn last_row() -> SiteRow {
    SiteRow::Notes(LogIndex(u64::MAX), u32::MAX)
}

fn batch_of(rows: &[(GroupKey, &'static str)]) -> GroupBatch {
    let mut batch = GroupBatch::new();
    for (key, value) in rows {
        batch.put(key, Bytes::from_static(value.as_bytes()));
    }
    batch
}

fn put(replacement: &mut dyn GroupReplacement, rows: &[(GroupKey, &'static str)]) {
    let rows = rows
        .iter()
        .map(|(key, value)| (key.encode(), Bytes::from_static(value.as_bytes())));
    replacement.put(rows.collect()).expect("put");
}

/// All rows, in pieces.
fn raw(snapshot: &dyn GroupSnapshot, bytes_max: u64) -> Vec<Vec<RawRow>> {
    let mut pieces: Vec<Vec<RawRow>> = Vec::new();
    loop {
        let after = pieces.last().and_then(|piece| piece.last());
        let after = after.map(|(key, _)| key.clone());
        let piece = snapshot
            .rows_after(after.as_deref(), bytes_max)
            .expect("rows");
        if piece.is_empty() {
            return pieces;
        }
        pieces.push(piece);
    }
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
