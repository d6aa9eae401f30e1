//! Merging, rewriting and verifying: rows are neither lost nor made.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use common::log::{Entry, LogMaker, NOON_MS, PlainItem, items_of_site, plain_item, seal};
use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
use ringtail_archive::{
    Archive, ArchiveError, BuiltObject, Location, MergeOptions, MergePlan, OrphanPlan, Replay,
    Rewritten, RowView, SealBuilder, SealOptions, Selection, Table, VisitAttributes, VisitPart,
    VisitRow, merge, rewrite, verify,
};
use ringtail_proto::{
    Generation, GroupId, HourStart, LogIndex, SiteId, UnixMillis, VisitorId,
    stored::{ArchiveObject, ImportMark},
};

struct Setup {
    store: Arc<InMemory>,
    archive: Arc<Archive>,
}

impl Setup {
    async fn new() -> Self {
        let store = Arc::new(InMemory::new());
        let options = common::options(Location::parse("s3://memory").unwrap());
        let archive = Archive::open_store(store.clone(), options, "ring")
            .await
            .unwrap();
        Self {
            store,
            archive: Arc::new(archive),
        }
    }

    async fn put(&self, built: &[BuiltObject]) -> Vec<ArchiveObject> {
        for object in built {
            self.archive.put(object).await.unwrap();
        }
        built.iter().map(|built| built.object.clone()).collect()
    }

    async fn replay(&self, objects: &[ArchiveObject], site: u64) -> Vec<PlainItem> {
        let selection = Selection::of_site(SiteId(site), LogIndex(0)..=LogIndex(u64::MAX));
        let mut replay = Replay::new(self.archive.clone(), objects, selection).unwrap();
        let mut items = Vec::new();
        while let Some(item) = replay.next().await.unwrap() {
            items.push(plain_item(&item));
        }
        items
    }
}

fn pair(built: &BuiltObject) -> (ArchiveObject, Bytes) {
    (built.object.clone(), built.bytes.clone())
}

fn of_table(built: &[BuiltObject], table: Table) -> Vec<(ArchiveObject, Bytes)> {
    built
        .iter()
        .filter(|built| Table::from_stored(built.object.table) == Some(table))
        .map(pair)
        .collect()
}

#[tokio::test]
async fn merged_objects_replay_as_their_parts_did() {
    for seed in 0..6 {
        let setup = Setup::new().await;
        let log = LogMaker::new(seed, 4).entries(80);
        let parts: Vec<BuiltObject> = log.chunks(9).flat_map(|part| seal(2, part)).collect();
        let mut objects = Vec::new();
        for table in [Table::Events, Table::Changes] {
            let parts = of_table(&parts, table);
            let rows: u64 = parts.iter().map(|(object, _)| object.rows).sum();
            let merged = merge(&parts).unwrap();
            assert_eq!(merged.object.rows, rows);
            assert_eq!(merge(&parts).unwrap(), merged);
            objects.extend(setup.put(&[merged]).await);
            verify(&setup.archive, objects.last().unwrap())
                .await
                .unwrap();
        }
        for site in 0..4 {
            let found = setup.replay(&objects, site).await;
            assert_eq!(found, items_of_site(&log, site), "seed {seed}");
        }
    }
}

#[test]
fn objects_that_do_not_belong_together_are_not_merged() {
    let log = LogMaker::new(1, 3).entries(60);
    let one = of_table(&seal(2, &log[..30]), Table::Events);
    let unlike = [
        of_table(&seal(2, &log[30..]), Table::Changes),
        of_table(&seal(3, &log[30..]), Table::Events),
    ];
    for other in unlike {
        let error = merge(&[one.clone(), other].concat()).unwrap_err();
        assert!(matches!(error, ArchiveError::Unlike { .. }), "{error}");
    }
    let error = merge(&[]).unwrap_err();
    assert!(matches!(error, ArchiveError::Unlike { .. }), "{error}");
    let again = of_table(&seal(2, &log[20..]), Table::Events);
    let error = merge(&[one, again].concat()).unwrap_err();
    assert!(matches!(error, ArchiveError::Overlapping { .. }), "{error}");
}

/// What stays of a log when events of a visitor, or of its user id, are erased from one site.
fn without_visitor(items: Vec<PlainItem>, keep: &dyn Fn(u64, u64) -> bool) -> Vec<PlainItem> {
    items
        .into_iter()
        .filter_map(|item| match item {
            PlainItem::Slice {
                entry,
                slice,
                site,
                import,
                events,
                codes,
            } => {
                let kept: Vec<bool> = events
                    .iter()
                    .map(|event| keep(event.visitor(), event.visitor_previous()))
                    .collect();
                let is_empty_now = !events.is_empty() && !kept.contains(&true);
                if is_empty_now && import.is_none() {
                    return None;
                }
                let has_lines = import
                    .as_ref()
                    .is_some_and(|mark| mark.lines.len() == events.len());
                let pick = |position: &usize| kept[*position];
                let import = import.map(|mark| match has_lines {
                    false => mark,
                    true => ImportMark {
                        lines: (0..events.len())
                            .filter(pick)
                            .map(|position| mark.lines[position])
                            .collect(),
                        ..mark
                    },
                });
                Some(PlainItem::Slice {
                    entry,
                    slice,
                    site,
                    import,
                    codes: (0..events.len())
                        .filter(pick)
                        .map(|position| codes[position])
                        .collect(),
                    events: (0..events.len())
                        .filter(pick)
                        .map(|position| events[position].clone())
                        .collect(),
                })
            }
            command @ PlainItem::Command(..) => Some(command),
        })
        .collect()
}

#[tokio::test]
async fn an_erased_visitor_is_gone_and_the_rest_is_as_before() {
    let setup = Setup::new().await;
    let log = LogMaker::new(11, 3).entries(80);
    let built = seal(2, &log);
    let erased = 5 * 0x1234_5678_9abc;
    let keep = |row: &RowView<'_>| {
        row.site != SiteId(1)
            || (row.visitor != Some(VisitorId(erased))
                && row.visitor_previous != Some(VisitorId(erased)))
    };
    let mut objects = Vec::new();
    let mut removed_in_all = 0;
    for built in &built {
        match rewrite(&built.object, built.bytes.clone(), &keep).unwrap() {
            Rewritten::Changed {
                built: rewritten,
                removed,
            } => {
                assert_eq!(rewritten.object.rows + removed, built.object.rows);
                removed_in_all += removed;
                objects.extend(setup.put(&[rewritten]).await);
                verify(&setup.archive, objects.last().unwrap())
                    .await
                    .unwrap();
            }
            Rewritten::Unchanged => objects.extend(setup.put(std::slice::from_ref(built)).await),
            Rewritten::Empty { .. } => panic!("other visitors stay"),
        }
    }
    assert!(removed_in_all > 0);
    for site in [0, 2] {
        assert_eq!(
            setup.replay(&objects, site).await,
            items_of_site(&log, site)
        );
    }
    let wanted = without_visitor(items_of_site(&log, 1), &|visitor, previous| {
        visitor != erased && previous != erased
    });
    assert_eq!(setup.replay(&objects, 1).await, wanted);
}

#[test]
fn retention_and_deleted_sites_leave_nothing_of_what_is_old_or_theirs() {
    let log = LogMaker::new(12, 2).entries(60);
    let built = seal(2, &log);
    let all = built.len();
    for built in &built {
        let bytes = || built.bytes.clone();
        let none = rewrite(&built.object, bytes(), &|_| false).unwrap();
        let removed = built.object.rows;
        assert_eq!(none, Rewritten::Empty { removed });
        let every = rewrite(&built.object, bytes(), &|_| true).unwrap();
        assert_eq!(every, Rewritten::Unchanged);
        let young = rewrite(&built.object, bytes(), &|row| row.time.0 >= NOON_MS).unwrap();
        match young {
            Rewritten::Changed { built, .. } => assert!(built.object.first_ms >= NOON_MS),
            Rewritten::Unchanged => assert!(built.object.first_ms >= NOON_MS),
            Rewritten::Empty { .. } => panic!("some rows are young"),
        }
        let other = rewrite(&built.object, bytes(), &|row| row.site != SiteId(0)).unwrap();
        let Rewritten::Changed { built, .. } = other else {
            panic!("both sites have rows");
        };
        assert_eq!((built.object.first_site, built.object.last_site), (1, 1));
    }
    assert_eq!(all, 2);
}

/// Seals of one entry each, with rows of visits.
fn seals_with_visits(rows: impl IntoIterator<Item = Vec<VisitRow>>) -> Vec<BuiltObject> {
    let mut maker = LogMaker::new(1, 1);
    rows.into_iter()
        .flat_map(|rows| {
            let mut builder = SealBuilder::new(GroupId(1), SealOptions::default());
            common::log::add(&mut builder, &maker.entries(1));
            for row in rows {
                builder.visit(row);
            }
            builder.finish().unwrap()
        })
        .collect()
}

#[tokio::test]
async fn of_an_hour_only_the_latest_visits_stay_when_objects_are_merged() {
    let rows = |generation, index, visitors: std::ops::Range<u64>| {
        let rows = visitors.map(move |visitor| visit(generation, index, Some(visitor)));
        rows.collect::<Vec<_>>()
    };
    let none_left = vec![visit(2, 9, None)];
    let seals = seals_with_visits([
        [rows(0, 3, 0..40), rows(1, 3, 0..7)].concat(),
        [rows(0, 5, 0..50), rows(2, 5, 0..9)].concat(),
        [rows(0, 4, 0..99), none_left].concat(),
    ]);
    let merged = merge(&of_table(&seals, Table::Visits)).unwrap();
    // 50 of generation 0 at 5, 7 of generation 1 at 3, and the row that says that generation 2 has none.
    assert_eq!(merged.object.rows, 58);
    let setup = Setup::new().await;
    let object = setup.put(std::slice::from_ref(&merged)).await.remove(0);
    verify(&setup.archive, &object).await.unwrap();
    let mut kept = std::collections::BTreeMap::<(u32, u64), u64>::new();
    let seen = std::cell::RefCell::new(&mut kept);
    rewrite(&object, merged.bytes, &|row| {
        let key = (row.generation.unwrap().0, row.index.0);
        *seen.borrow_mut().entry(key).or_default() += 1;
        true
    })
    .unwrap();
    assert_eq!(
        kept.into_iter().collect::<Vec<_>>(),
        [((0, 5), 50), ((1, 3), 7), ((2, 9), 1)]
    );
}

#[test]
fn rows_of_visits_are_erased_like_events() {
    let rows = (0..40).map(|visitor| visit(0, 1, Some(visitor))).collect();
    let built = seals_with_visits([rows]);
    let (object, bytes) = of_table(&built, Table::Visits).remove(0);
    let keep = |row: &RowView<'_>| row.visitor != Some(VisitorId(7));
    let rewritten = rewrite(&object, bytes, &keep).unwrap();
    assert!(matches!(rewritten, Rewritten::Changed { removed: 1, .. }));
}

fn visit(generation: u32, index: u64, visitor: Option<u64>) -> VisitRow {
    let part = visitor.map(|visitor| VisitPart {
        visitor: VisitorId(visitor),
        first: UnixMillis(NOON_MS),
        last: UnixMillis(NOON_MS + 1),
        events: 1,
        pageviews: 1,
        engaged_ms: 0,
        attributes: VisitAttributes::default(),
        start: None,
    });
    VisitRow {
        site: SiteId(1),
        generation: Generation(generation),
        hour: HourStart(NOON_MS),
        index: LogIndex(index),
        part,
    }
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let setup = Setup::new().await;
    let built = seal(2, &LogMaker::new(3, 3).entries(40)).swap_remove(0);
    setup.put(std::slice::from_ref(&built)).await;
    let verified = verify(&setup.archive, &built.object).await.unwrap();
    assert_eq!(verified.rows, built.object.rows);
    let object = &built.object;
    let said = [
        ArchiveObject {
            rows: object.rows + 1,
            ..object.clone()
        },
        ArchiveObject {
            first_ms: object.first_ms + 1,
            ..object.clone()
        },
        ArchiveObject {
            last_site: object.last_site + 1,
            ..object.clone()
        },
        ArchiveObject {
            table: Table::Changes.to_stored() as i32,
            ..object.clone()
        },
        ArchiveObject {
            last_index: object.last_index + 1,
            ..object.clone()
        },
    ];
    for wrong in said {
        let error = verify(&setup.archive, &wrong).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    }
    let path = Path::from(std::str::from_utf8(&object.path).unwrap());
    for position in [0, built.bytes.len() / 2, built.bytes.len() - 3] {
        let mut altered = built.bytes.to_vec();
        altered[position] ^= 4;
        setup.store.put(&path, altered.into()).await.unwrap();
        let error = verify(&setup.archive, object).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    }
    let half = built.bytes.slice(..built.bytes.len() / 2);
    setup.store.put(&path, half.into()).await.unwrap();
    let error = verify(&setup.archive, object).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    setup.store.delete(&path).await.unwrap();
    let error = verify(&setup.archive, object).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn bytes_that_are_no_file_of_ours_are_refused_even_when_their_hash_is_right() {
    let setup = Setup::new().await;
    let real = seal(2, &LogMaker::new(3, 3).entries(40)).swap_remove(0);
    let mut footless = real.bytes.to_vec();
    let end = footless.len() - 20;
    footless[end..].fill(0);
    for bytes in [Vec::new(), b"PAR1".to_vec(), vec![7; 5000], footless] {
        let hash = blake3::hash(&bytes);
        let start = real.object.path.len() - ".parquet".len() - 16;
        let mut path = real.object.path.to_vec();
        path[start..start + 16].copy_from_slice(&hash.to_hex().as_bytes()[..16]);
        let fake = BuiltObject {
            object: ArchiveObject {
                path: path.into(),
                hash: Bytes::copy_from_slice(hash.as_bytes()),
                bytes: bytes.len() as u64,
                ..real.object.clone()
            },
            bytes: bytes.into(),
        };
        setup.put(std::slice::from_ref(&fake)).await;
        let error = verify(&setup.archive, &fake.object).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
        let mut replay =
            Replay::new(setup.archive.clone(), &[fake.object], Selection::default()).unwrap();
        let error = replay.next().await.unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_plan_names_neighbours_and_leaves_large_objects_alone() {
    let object = |first: u64, rows: u64| {
        ArchiveObject {
        path: format!(
            "v1/table=events/group=4/received=2026-11-22/{first:020}-{:020}-1-0123456789abcdef.parquet",
            first + 9
        )
        .into(),
        rows,
        bytes: rows * 30,
        first_index: first,
        last_index: first + 9,
        table: Table::Events.to_stored() as i32,
        ..ArchiveObject::default()
    }
    };
    let sizes = [10, 20, 600, 30, 40, 50, 900, 5];
    let mut objects: Vec<ArchiveObject> = sizes
        .iter()
        .zip(0..)
        .map(|(rows, number)| object(number * 10, *rows))
        .collect();
    objects.reverse();
    objects.push(ArchiveObject {
        path: "somewhere/else".into(),
        ..ArchiveObject::default()
    });
    let options = MergeOptions {
        rows_max: 1_000,
        bytes_max: 1 << 20,
        objects_min: 3,
    };
    let day = |text: &str| text.parse().unwrap();
    let plan = MergePlan::new(&objects, day("2026-11-22"), options);
    assert_eq!(
        plan.to_string(),
        "merge 3 objects of events of group 4 of 2026-11-22: entries 30..=59, 120 rows, 3600 bytes"
    );
    let plan = MergePlan::new(&objects, day("2026-11-23"), options);
    assert_eq!(
        plan.to_string(),
        "merge 2 objects of events of group 4 of 2026-11-22: entries 0..=19, 30 rows, 900 bytes\n\
         merge 3 objects of events of group 4 of 2026-11-22: entries 30..=59, 120 rows, 3600 bytes"
    );
    let tight = MergeOptions {
        rows_max: 90,
        objects_min: 2,
        ..options
    };
    let plan = MergePlan::new(&objects, day("2026-11-22"), tight);
    assert_eq!(
        plan.to_string(),
        "merge 2 objects of events of group 4 of 2026-11-22: entries 0..=19, 30 rows, 900 bytes\n\
         merge 2 objects of events of group 4 of 2026-11-22: entries 30..=49, 70 rows, 2100 bytes"
    );
    assert_eq!(
        MergePlan::new([], day("2026-11-22"), options).to_string(),
        "nothing to merge"
    );
}

#[test]
fn a_merged_object_spans_no_entries_of_another_one() {
    let object = |name: &str, first: u64| ArchiveObject {
        path: name
            .replace("FIRST", &format!("{first:020}-{:020}", first + 9))
            .into(),
        rows: 10,
        bytes: 300,
        first_index: first,
        last_index: first + 9,
        table: Table::Events.to_stored() as i32,
        ..ArchiveObject::default()
    };
    let of_day = |day: u64| {
        format!("v1/table=events/group=4/received=2026-11-2{day}/FIRST-1-0123456789abcdef.parquet")
    };
    // A leader whose clock was behind went on with the day before.
    let days = [1, 1, 2, 1, 1, 2, 2];
    let mut objects: Vec<ArchiveObject> = (0..)
        .zip(days)
        .map(|(number, day)| object(&of_day(day), 10 * number))
        .collect();
    objects.push(object("v1/named/otherwise/FIRST", 70));
    objects.extend([80, 90].map(|first| object(&of_day(2), first)));
    let options = MergeOptions {
        objects_min: 2,
        ..MergeOptions::default()
    };
    let plan = MergePlan::new(&objects, "2026-11-23".parse().unwrap(), options);
    let spans: Vec<_> = plan.merges.iter().map(|merge| merge.indexes()).collect();
    let expected = [(0, 19), (30, 49), (50, 69), (80, 99)];
    assert_eq!(
        spans,
        expected.map(|(first, last)| (LogIndex(first), LogIndex(last)))
    );
    let long = MergePlan::new(&objects[8..], "2026-11-23".parse().unwrap(), options);
    assert_eq!(long.merges.len(), 1);
    let spared = long.sparing(|object| object.first_index == 80);
    assert_eq!(spared, MergePlan::default(), "one alone is not merged");
}

#[test]
fn entries_without_rows_make_no_objects() {
    assert_eq!(seal(1, &[]), Vec::new());
    let commands: Vec<Entry> = LogMaker::new(2, 1)
        .entries(60)
        .into_iter()
        .filter(|entry| matches!(entry, Entry::Command { .. }))
        .collect();
    assert_eq!(seal(1, &commands).len(), 1);
}

#[tokio::test]
async fn objects_that_nobody_names_are_found_once_their_term_is_decided() {
    let setup = Setup::new().await;
    let log = LogMaker::new(8, 2).entries(60);
    let put = async |objects: Vec<BuiltObject>, term: u64| {
        let objects = objects.into_iter().map(|built| built.of_term(term));
        setup.put(&objects.collect::<Vec<_>>()).await
    };
    let named = put(seal(7, &log[..30]), 3).await;
    let lost = put(seal(7, &log[30..]), 5).await;
    // Another group's, and something that is not ours.
    put(seal(70, &log), 3).await;
    let foreign = Path::from("v1/table=events/group=7/notes.txt");
    setup.store.put(&foreign, "x".into()).await.unwrap();
    let manifest: BTreeMap<Bytes, ArchiveObject> = named
        .iter()
        .map(|object| (object.path.clone(), object.clone()))
        .collect();
    let find = async |decided_term| {
        OrphanPlan::find(&setup.archive, GroupId(7), &manifest, decided_term)
            .await
            .unwrap()
    };
    let plan = find(5).await;
    let mut paths: Vec<&[u8]> = lost.iter().map(|object| object.path.as_ref()).collect();
    paths.sort_unstable();
    let found: Vec<&[u8]> = plan
        .objects
        .iter()
        .map(|object| object.path.as_bytes())
        .collect();
    assert_eq!(found, paths);
    assert!(
        plan.to_string().starts_with("delete 2 objects of "),
        "{plan}"
    );
    assert_eq!(find(4).await, OrphanPlan::default(), "not decided yet");
    for object in &plan.objects {
        setup.archive.delete(&object.path).await.unwrap();
    }
    assert_eq!(find(5).await, OrphanPlan::default());
    for object in &named {
        verify(&setup.archive, object).await.unwrap();
    }
}
