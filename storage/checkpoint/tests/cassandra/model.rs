//! Random commits, retries, late writes and removals of old versions, against a model.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use ringtail_checkpoint::{
    GroupKey,
    cassandra::{CassandraOptions, Mirror},
};
use ringtail_proto::{GroupId, LogIndex, SiteRow};

use crate::server::{CLUSTER, Changes, SITE, Server, page};

const COMMITS: usize = 120;

/// Rows as of each version.
type History = BTreeMap<u64, BTreeMap<SiteRow, Bytes>>;

pub(crate) fn random_commits(server: &mut Server) {
    let seed = match std::env::var("RINGTAIL_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random(),
    };
    println!("seed {seed}; RINGTAIL_SEED={seed} repeats it");
    let random = &mut StdRng::seed_from_u64(seed);
    let group = GroupId(60);
    // Old versions may go at once: only pins at the newest version are read after that.
    let options = CassandraOptions {
        grace: Duration::ZERO,
        ..server.options()
    };
    let opened = server.runtime.block_on(Mirror::open(options, CLUSTER));
    let mirror = opened.unwrap();
    let writer = mirror.writer();
    // With the usual grace.
    let reading = server.mirror();
    let mut commits: Vec<(u64, Changes)> = Vec::new();
    let mut history = History::new();
    let mut oldest_pin = 0;
    for _ in 0..COMMITS {
        let version =
            commits.last().map_or(0, |(version, _)| *version) + random.random_range(1..50);
        let changes = random_changes(random, version);
        let mut rows = history.values().last().cloned().unwrap_or_default();
        for (row, value) in &changes {
            match value {
                Some(value) => rows.insert(*row, value.clone()),
                None => rows.remove(row),
            };
        }
        history.insert(version, rows);
        commits.push((version, changes));
        // Once, or again, or with a commit of long ago after it: an answer was lost, a leader of yesterday wakes up.
        let mut sent = vec![commits.len() - 1];
        if random.random_bool(0.3) {
            sent.push(commits.len() - 1);
        }
        for _ in 0..random.random_range(0..3) {
            sent.push(random.random_range(0..commits.len()));
        }
        for at in sent {
            let (version, changes) = &commits[at];
            let rows = changes
                .iter()
                .map(|(row, value)| (GroupKey::Site(SITE, *row), value.clone()));
            let written = writer.write(group, SITE, LogIndex(*version), rows.collect());
            server.runtime.block_on(written).unwrap();
        }
        if random.random_bool(0.1) {
            while server.runtime.block_on(writer.prune()).unwrap() > 0 {}
            oldest_pin = version;
        }
        check(server, &mirror, group, &history, oldest_pin, random);
    }
    let (version, mut rows) = server.read_all(&reading, group);
    rows.sort();
    let (newest, expected) = history.last_key_value().unwrap();
    assert_eq!(version, *newest);
    assert!(
        rows.into_iter().eq(expected.clone()),
        "all rows, seed {seed}"
    );
}

fn random_changes(random: &mut StdRng, version: u64) -> Changes {
    let mut changes: Changes = Vec::new();
    for week in 0..8 {
        let row = match week {
            0 => SiteRow::Hot(1),
            _ => page(week),
        };
        let value = match random.random_range(0..10) {
            0..4 => continue,
            4 => None,
            5 => Some(Bytes::from(vec![
                version as u8;
                random.random_range(250_000..800_000)
            ])),
            _ => Some(Bytes::from(format!("{week} at {version}"))),
        };
        changes.push((row, value));
    }
    changes.push((SiteRow::Site, Some(Bytes::from(version.to_string()))));
    changes
}

/// Reads some rows at some pins, at and between commits.
fn check(
    server: &Server,
    mirror: &Mirror,
    group: GroupId,
    history: &History,
    oldest_pin: u64,
    random: &mut StdRng,
) {
    let newest = *history.last_key_value().unwrap().0;
    let reader = mirror.reader();
    for _ in 0..6 {
        let pin = random.random_range(oldest_pin..=newest + 10);
        let row = match random.random_range(0..9) {
            0 => SiteRow::Hot(1),
            8 => SiteRow::Site,
            week => page(week),
        };
        let expected = history.range(..=pin).next_back();
        let expected = expected.and_then(|(_, rows)| rows.get(&row).cloned());
        let key = GroupKey::Site(SITE, row);
        let read = reader.read_row(group, &key, LogIndex(pin));
        let read = server.runtime.block_on(read).unwrap();
        assert!(read == expected, "{row:?} at {pin} of {:?}", history.keys());
    }
}
