//! What readers see of what writers write.

use std::time::Duration;

use bytes::Bytes;
use ringtail_checkpoint::{
    GroupKey,
    cassandra::{CassandraOptions, Mirror, MirrorError},
};
use ringtail_proto::{Generation, GroupId, LogIndex, SiteGeneration, SiteId, SiteRow};

use crate::server::{CLUSTER, Changes, KEYSPACE, SITE, Server, page, until, value};

pub(crate) fn pinned(server: &mut Server) {
    let group = GroupId(50);
    let mirror = server.mirror();
    let reader = mirror.reader();
    let pin = || server.runtime.block_on(reader.pin(group, SITE)).unwrap();
    assert_eq!(pin(), None);
    let first: Changes = vec![
        (page(1), value("one")),
        (page(2), value("two")),
        (SiteRow::Site, value("10")),
    ];
    server.write(&mirror, group, 10, &first).unwrap();
    let old = pin().unwrap();
    let second: Changes = vec![
        (page(1), value("one, later")),
        (page(2), None),
        (page(3), value("three")),
        (SiteRow::Site, value("20")),
    ];
    server.write(&mirror, group, 20, &second).unwrap();
    let at = |pin, row| {
        let read = server.runtime.block_on(reader.read_pinned(pin, row));
        read.unwrap()
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
    };
    let new = pin().unwrap();
    assert_eq!((old.version.0, new.version.0), (10, 20));
    let check = |row, before: Option<&str>, now: Option<&str>| {
        assert_eq!(at(&old, row).as_deref(), before, "{row:?}");
        assert_eq!(at(&new, row).as_deref(), now, "{row:?}");
    };
    check(page(1), Some("one"), Some("one, later"));
    check(page(2), Some("two"), None);
    check(page(3), None, Some("three"));
    check(SiteRow::Site, Some("10"), Some("20"));
    let sites = server.runtime.block_on(reader.sites(group)).unwrap();
    assert_eq!(sites, [SITE]);
    // Another generation is another site.
    let next = SiteGeneration {
        site: SITE.site,
        generation: Generation(u32::MAX),
    };
    let far = SiteGeneration::first(SiteId(u64::MAX));
    for site in [next, far] {
        let rows = vec![(GroupKey::Site(site, SiteRow::Site), value("new"))];
        let writer = mirror.writer();
        let written = writer.write(group, site, LogIndex(5), rows);
        server.runtime.block_on(written).unwrap();
    }
    let sites = server.runtime.block_on(reader.sites(group)).unwrap();
    assert_eq!(sites, [SITE, next, far]);
    assert_eq!(server.read_all(&mirror, group).1.len(), 3);
}

pub(crate) fn site_row_last(server: &mut Server) {
    let group = GroupId(51);
    let mirror = server.mirror();
    let big = Bytes::from(vec![3; 1 << 20]);
    let rows = [
        SiteRow::Hot(3),
        page(-4),
        page(0),
        page(1),
        page(2),
        SiteRow::MonthPage(ringtail_proto::HourStart(0), 2),
        SiteRow::Notes(LogIndex(4), 1),
    ];
    let mut changes: Changes = rows.iter().map(|row| (*row, Some(big.clone()))).collect();
    changes.insert(2, (SiteRow::Site, Some(big.clone())));
    for week in 100..400 {
        changes.push((page(week), Some(Bytes::new())));
    }
    server.write(&mirror, group, 3, &changes).unwrap();
    let (version, read) = server.read_all(&mirror, group);
    assert_eq!((version, read.len()), (3, changes.len()));
    assert_eq!(read.last().map(|(row, _)| *row), Some(SiteRow::Site));
    for (row, value) in &changes {
        let found = read.iter().find(|(found, _)| found == row);
        assert!(found.map(|(_, value)| value) == value.as_ref(), "{row:?}");
    }
}

pub(crate) fn in_pieces(server: &mut Server) {
    let group = GroupId(58);
    let mirror = server.mirror();
    let writer = mirror.writer();
    let key = |row| GroupKey::Site(SITE, row);
    let before: Changes = vec![(page(1), value("1")), (SiteRow::Site, value("1"))];
    server.write(&mirror, group, 1, &before).unwrap();
    let put = |version: u64, rows: &[(SiteRow, &str)]| {
        let mut write = writer.begin(group, SITE, LogIndex(version)).unwrap();
        for (row, text) in rows {
            let piece = vec![(key(*row), value(*text))];
            server.runtime.block_on(write.put(piece)).unwrap();
        }
        write
    };
    // One that is never finished, and one above it that is.
    drop(put(2, &[(page(1), "2"), (page(9), "2")]));
    let write = put(3, &[(page(2), "3"), (page(3), "3")]);
    let held = |expect: &[(SiteRow, &str)]| {
        let (_, rows) = server.read_all(&mirror, group);
        let expect = expect
            .iter()
            .map(|(row, text)| (*row, value(*text).unwrap()));
        assert_eq!(rows, expect.collect::<Vec<_>>());
    };
    held(&[(page(1), "1"), (SiteRow::Site, "1")]);
    let finished = write.finish(Bytes::from("3"));
    server.runtime.block_on(finished).unwrap();
    held(&[
        (page(1), "1"),
        (page(2), "3"),
        (page(3), "3"),
        (SiteRow::Site, "3"),
    ]);
    let mut write = put(4, &[]);
    let refused = write.put(vec![(key(SiteRow::Site), value("4"))]);
    let refused = server.runtime.block_on(refused);
    assert!(matches!(refused, Err(MirrorError::BadWrite { .. })));
    assert!(writer.begin(group, SITE, LogIndex(0)).is_err());
}

pub(crate) fn bad_writes(server: &mut Server) {
    let group = GroupId(52);
    let mirror = server.mirror();
    let writer = mirror.writer();
    let site_key = || GroupKey::Site(SITE, SiteRow::Site);
    let check = |version: u64, keys: &[GroupKey], expect: &str| {
        let rows = keys.iter().map(|key| (key.clone(), value("x"))).collect();
        let written = writer.write(group, SITE, LogIndex(version), rows);
        match server.runtime.block_on(written) {
            Err(MirrorError::BadWrite { message }) => {
                assert!(message.contains(expect), "{message:?} lacks {expect:?}");
            }
            outcome => panic!("{outcome:?}, wanted: {expect}"),
        }
    };
    let other = SiteGeneration::first(SiteId(8));
    check(1, &[], "no site row");
    check(1, &[GroupKey::Site(SITE, page(1))], "no site row");
    check(
        1,
        &[site_key(), GroupKey::Site(other, page(1))],
        "is no row of site",
    );
    check(
        1,
        &[site_key(), GroupKey::named("floor")],
        "is no row of site",
    );
    check(1, &[site_key(), site_key()], "twice");
    check(0, &[site_key()], "0 is no version");
    check(u64::MAX, &[site_key()], "is no version");
    check(i64::MAX as u64, &[site_key()], "is no version");
    let pinned = server.runtime.block_on(mirror.reader().pin(group, SITE));
    assert_eq!(pinned, Ok(None));
}

pub(crate) fn pruned(server: &mut Server) {
    let group = GroupId(53);
    let options = CassandraOptions {
        grace: Duration::from_secs(3),
        ..server.options()
    };
    let mirror = server
        .runtime
        .block_on(Mirror::open(options, CLUSTER))
        .unwrap();
    let (writer, reader) = (mirror.writer(), mirror.reader());
    let write = |version: u64, changes: &Changes| {
        let rows = changes
            .iter()
            .map(|(row, value)| (GroupKey::Site(SITE, *row), value.clone()));
        let written = writer.write(group, SITE, LogIndex(version), rows.collect());
        server.runtime.block_on(written).unwrap();
    };
    let session = server.session();
    let versions = || {
        let text = format!(
            "SELECT version FROM {KEYSPACE}.row_versions WHERE group_id = 53 ALLOW FILTERING"
        );
        let answer = server
            .runtime
            .block_on(session.query_unpaged(text, ()))
            .unwrap();
        let answer = answer.into_rows_result().unwrap();
        let mut versions: Vec<i64> = answer
            .rows::<(i64,)>()
            .unwrap()
            .map(|row| row.unwrap().0)
            .collect();
        versions.sort_unstable();
        versions
    };
    write(
        10,
        &vec![
            (page(1), value("a")),
            (page(2), value("b")),
            (SiteRow::Site, value("10")),
        ],
    );
    let old = server
        .runtime
        .block_on(reader.pin(group, SITE))
        .unwrap()
        .unwrap();
    write(
        20,
        &vec![
            (page(1), value("c")),
            (page(2), None),
            (SiteRow::Site, value("20")),
        ],
    );
    assert_eq!(versions(), [10, 10, 10, 20, 20, 20]);
    let prune_all = || {
        let mut rows = 0;
        until("versions are pruned", || {
            rows += server.runtime.block_on(writer.prune()).unwrap();
            rows == 6
        });
    };
    prune_all();
    // The mark of a removal goes with what it removed.
    assert_eq!(versions(), [20, 20]);
    assert_eq!(
        server.read_all(&mirror, group),
        (
            20,
            vec![
                (page(1), Bytes::from("c")),
                (SiteRow::Site, Bytes::from("20"))
            ]
        )
    );
    // The pin is older than what it needs was kept: that is an error, not an absent row.
    until("the pin expires", || old.age() > Duration::from_secs(3));
    let late = server.runtime.block_on(reader.read_pinned(&old, page(2)));
    assert!(
        matches!(late, Err(MirrorError::PinExpired { .. })),
        "{late:?}"
    );
    // What a frozen writer sends now is of a version that is gone.
    write(
        10,
        &vec![
            (page(1), value("a")),
            (page(2), value("b")),
            (SiteRow::Site, value("10")),
        ],
    );
    assert_eq!(versions(), [20, 20]);
    assert_eq!(server.read_all(&mirror, group).1.len(), 2);
}

pub(crate) fn removed(server: &mut Server) {
    let group = GroupId(54);
    let mirror = server.mirror();
    let changes: Changes = (0..20)
        .map(|week| (page(week), value("x")))
        .chain([(SiteRow::Site, value("10"))])
        .collect();
    server.write(&mirror, group, 10, &changes).unwrap();
    let (writer, reader) = (mirror.writer(), mirror.reader());
    let removed = writer.remove_site(group, SITE, LogIndex(10));
    server.runtime.block_on(removed).unwrap();
    let none = || {
        let pin = server.runtime.block_on(reader.pin(group, SITE)).unwrap();
        let sites = server.runtime.block_on(reader.sites(group)).unwrap();
        let key = GroupKey::Site(SITE, page(3));
        let row = server
            .runtime
            .block_on(reader.read_row(group, &key, LogIndex(99)))
            .unwrap();
        assert_eq!((pin, sites, row), (None, Vec::new(), None));
    };
    none();
    let late = writer.write(
        group,
        SITE,
        LogIndex(9),
        vec![(GroupKey::Site(SITE, SiteRow::Site), value("9"))],
    );
    server.runtime.block_on(late).unwrap();
    let pin = server.runtime.block_on(reader.pin(group, SITE)).unwrap();
    assert_eq!(pin, None, "a leader of yesterday brings nothing back");
}

/// A leader dies in the middle of a write. Its successor writes other rows: those that it left, some of them in part, lie
/// below every later pin and belong to none.
pub(crate) fn unfinished(server: &mut Server) {
    let group = GroupId(56);
    let options = CassandraOptions {
        grace: Duration::ZERO,
        concurrency_max: 1,
        ..server.options()
    };
    let opened = server.runtime.block_on(Mirror::open(options, CLUSTER));
    let mirror = opened.unwrap();
    let (writer, reading) = (mirror.writer(), server.mirror());
    let reader = reading.reader();
    let first: Changes = vec![(page(1), value("first")), (SiteRow::Site, value("10"))];
    server.write(&mirror, group, 10, &first).unwrap();
    let big = Bytes::from(vec![5; 2 << 20]);
    let rows = (1..60)
        .map(|week| (GroupKey::Site(SITE, page(week)), Some(big.clone())))
        .chain([(GroupKey::Site(SITE, SiteRow::Site), value("20"))]);
    let rows: Vec<_> = rows.collect();
    let dying = {
        let writer = writer.clone();
        let write = async move { writer.write(group, SITE, LogIndex(20), rows).await };
        server.runtime.spawn(write)
    };
    let left = |week| {
        let key = GroupKey::Site(SITE, page(week));
        let read = reader.read_row(group, &key, LogIndex(99));
        let read = server.runtime.block_on(read);
        // Whole or not.
        !matches!(&read, Ok(None)) && !matches!(&read, Ok(Some(value)) if value == "first")
    };
    until("the leader is in the middle of it", || (2..60).any(left));
    dying.abort();
    let ended = server.runtime.block_on(dying);
    assert!(ended.is_err(), "it was to be cut off, and ended: {ended:?}");
    assert_eq!(
        server.read_all(&reading, group),
        (
            10,
            vec![
                (page(1), Bytes::from("first")),
                (SiteRow::Site, Bytes::from("10"))
            ]
        )
    );
    let check = |version: u64| {
        let rows = vec![
            (page(1), Bytes::from("second")),
            (SiteRow::Site, Bytes::from(version.to_string())),
        ];
        assert_eq!(server.read_all(&reading, group), (version, rows));
        let pin = server
            .runtime
            .block_on(reader.pin(group, SITE))
            .unwrap()
            .unwrap();
        for week in 2..60 {
            let read = server
                .runtime
                .block_on(reader.read_pinned(&pin, page(week)));
            assert_eq!(read, Ok(None), "week {week}");
        }
    };
    for version in [30, 40, 50] {
        let changes: Changes = vec![
            (page(1), value("second")),
            (SiteRow::Site, value(version.to_string())),
        ];
        server.write(&mirror, group, version, &changes).unwrap();
        check(version);
        while server.runtime.block_on(writer.prune()).unwrap() > 0 {}
        check(version);
    }
    assert!((2..60).any(left), "there is nothing to leave out");
}

pub(crate) fn torn(server: &mut Server) {
    let group = GroupId(55);
    let mirror = server.mirror();
    let big = Bytes::from(
        (0..1 << 20)
            .map(|at: u32| (at % 253) as u8)
            .collect::<Vec<_>>(),
    );
    let changes: Changes = vec![(page(1), Some(big.clone())), (SiteRow::Site, value("10"))];
    server.write(&mirror, group, 10, &changes).unwrap();
    let reader = mirror.reader();
    let key = GroupKey::Site(SITE, page(1));
    let read = || {
        server
            .runtime
            .block_on(reader.read_row(group, &key, LogIndex(10)))
    };
    assert!(read().unwrap().as_ref() == Some(&big));
    let session = server.session();
    let bucket = (7 * 86_400_000_i64) >> 29;
    let row = format!(
        "incarnation = {CLUSTER} AND group_id = 55 AND site = 7 AND generation = 0 AND bucket = {bucket} \
         AND row_key = 0x{} AND version = 10",
        hex(&key.encode())
    );
    let table = format!("{KEYSPACE}.row_versions");
    let check = |change: &str, expect: &str| {
        server.run(&session, change);
        match read() {
            Err(MirrorError::Damaged { message, .. }) => {
                assert!(message.contains(expect), "{message:?} lacks {expect:?}");
            }
            outcome => panic!("{:?}", outcome.map(|value| value.map(|value| value.len()))),
        }
        let stream = server.runtime.block_on(async {
            let pin = reader.pin(group, SITE).await?.unwrap();
            futures::TryStreamExt::try_collect::<Vec<_>>(reader.read_site(pin)).await
        });
        assert!(matches!(stream, Err(MirrorError::Damaged { .. })));
    };
    check(
        &format!("UPDATE {table} USING TIMESTAMP 11 SET value = 0x00 WHERE {row} AND chunk = 2"),
        "its hash differs",
    );
    check(
        &format!("DELETE FROM {table} USING TIMESTAMP 12 WHERE {row} AND chunk = 3"),
        "4 chunks were written, 3 are there",
    );
    check(
        &format!("DELETE FROM {table} USING TIMESTAMP 12 WHERE {row} AND chunk = 0"),
        "begins with chunk 1",
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
