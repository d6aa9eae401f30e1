//! A leader that was frozen in the middle of its writes and goes on long after another one took its place.

use std::time::Duration;

use bytes::Bytes;
use ringtail_checkpoint::{
    GroupKey,
    cassandra::{CassandraOptions, Mirror},
};
use ringtail_proto::{GroupId, LogIndex, SiteRow};

use crate::server::{CLUSTER, KEYSPACE, SITE, Server, page};

const ATTEMPTS: u64 = 10_000;
/// The pages that the new leader writes each time; one more it writes only when it takes over.
const WEEKS: i64 = 5;
const TAKEOVER: u64 = 1_000;

/// The old leader writes rows and site rows of other values at all versions below the new leader's, while that one writes
/// and removes superseded versions. It goes around the writer, whose order it does not keep.
pub(crate) fn attempts(server: &mut Server) {
    let group = GroupId(70);
    let options = CassandraOptions {
        grace: Duration::ZERO,
        ..server.options()
    };
    let opened = server.runtime.block_on(Mirror::open(options, CLUSTER));
    let mirror = opened.unwrap();
    let writer = mirror.writer();
    // With the usual grace.
    let reading = server.mirror();
    let session = server.session();
    let text = format!(
        "INSERT INTO {KEYSPACE}.row_versions (incarnation, group_id, site, generation, bucket, row_key, version, chunk, value) \
         VALUES ({CLUSTER}, 70, 7, 0, ?, ?, ?, 0, ?) USING TIMESTAMP ?"
    );
    let put = server.runtime.block_on(session.prepare(text)).unwrap();
    // A whole value of the right form: only its version tells that it is old.
    let foreign = removed_value();
    let new_leader_writes = |version: u64| {
        let weeks = if version == TAKEOVER {
            WEEKS + 1
        } else {
            WEEKS
        };
        let rows = (0..weeks)
            .map(|week| (page(week), Bytes::from(format!("{week} at {version}"))))
            .chain([(SiteRow::Site, Bytes::from(version.to_string()))])
            .map(|(row, value)| (GroupKey::Site(SITE, row), Some(value)));
        let written = writer.write(group, SITE, LogIndex(version), rows.collect());
        server.runtime.block_on(written).unwrap();
    };
    let check = |version: u64| {
        let (found, rows) = server.read_all(&reading, group);
        assert_eq!(found, version);
        assert_eq!(rows.len() as i64, WEEKS + 2);
        for (row, value) in rows {
            let expected = match row {
                SiteRow::Site => version.to_string(),
                row => {
                    let week = (0..=WEEKS).find(|week| page(*week) == row).unwrap();
                    let written = if week == WEEKS { TAKEOVER } else { version };
                    format!("{week} at {written}")
                }
            };
            assert_eq!(value, expected, "{row:?}");
        }
    };
    let mut version = TAKEOVER;
    new_leader_writes(version);
    let keys: Vec<(i64, Bytes)> = (0..=WEEKS)
        .map(|week| {
            (
                ((week * 7 * 86_400_000) >> 29),
                GroupKey::Site(SITE, page(week)).encode(),
            )
        })
        .chain([(i64::MAX, GroupKey::Site(SITE, SiteRow::Site).encode())])
        .collect();
    let rarely_written = GroupKey::Site(SITE, page(WEEKS)).encode();
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        let wave = (0..100).map(|number| {
            let attempt = attempts + number;
            let (bucket, key) = &keys[(attempt % keys.len() as u64) as usize];
            // From the version just below the row's newest down to long removed ones.
            let newest = if *key == rarely_written {
                TAKEOVER
            } else {
                version
            };
            let old = (newest - 1 - attempt * 37 % (newest - 1)) as i64;
            session.execute_unpaged(&put, (*bucket, key.clone(), old, foreign.clone(), old))
        });
        let wave = futures::future::join_all(wave);
        let outcomes = server.runtime.block_on(wave);
        assert!(outcomes.iter().all(Result::is_ok));
        attempts += 100;
        if attempts % 500 == 0 {
            check(version);
            version += 13;
            new_leader_writes(version);
        }
        if attempts % 1_500 == 0 {
            while server.runtime.block_on(writer.prune()).unwrap() > 0 {}
            check(version);
        }
    }
    check(version);
    println!("{attempts} attempts below version {version}");
}

/// Format 1, removed, one chunk, hash 0: what a removal looks like.
fn removed_value() -> Bytes {
    Bytes::from_static(&[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
}
