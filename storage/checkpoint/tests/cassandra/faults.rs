//! Servers that are killed, frozen, slow to answer, or not there.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use bytes::Bytes;
use ringtail_checkpoint::{
    GroupKey,
    cassandra::{CassandraOptions, Mirror, MirrorState},
};
use ringtail_proto::{GroupId, LogIndex, SiteRow};

use crate::server::{CLUSTER, Changes, KEYSPACE, SITE, Server, page, until, value};

fn changes(version: u64) -> Changes {
    vec![
        (page(version as i64 % 10), value(format!("at {version}"))),
        (SiteRow::Site, value(version.to_string())),
    ]
}

/// What a reader must find after the versions 1 to `last`.
fn expected(last: u64) -> Vec<(SiteRow, Bytes)> {
    let mut rows: Vec<(SiteRow, Bytes)> = (last.saturating_sub(9).max(1)..=last)
        .filter_map(|version| {
            let (row, value) = changes(version).swap_remove(0);
            Some((row, value?))
        })
        .collect();
    rows.sort();
    rows.push((SiteRow::Site, Bytes::from(last.to_string())));
    rows
}

fn check(server: &Server, mirror: &Mirror, group: GroupId, last: u64) {
    assert_eq!(server.read_all(mirror, group), (last, expected(last)));
}

/// Killed between writes; the one that writes goes on with the same session.
pub(crate) fn killed(server: &mut Server) {
    let group = GroupId(90);
    let mirror = server.mirror();
    let last = 200;
    for version in 1..=last {
        server
            .write(&mirror, group, version, &changes(version))
            .unwrap();
    }
    server.cassandra.node(0).kill();
    let error = server.write_once(&mirror, group, last + 1, &changes(last + 1));
    assert!(
        error.as_ref().is_err_and(|error| error.is_outage()),
        "{error:?}"
    );
    server.cassandra.node(0).start().unwrap();
    // Another process, which knows only what the server kept.
    check_at_least(server, group, last);
    server
        .write(&mirror, group, last + 1, &changes(last + 1))
        .unwrap();
    check(server, &mirror, group, last + 1);
}

/// The write that was cut off may be there or not; all that was acknowledged must be.
fn check_at_least(server: &Server, group: GroupId, version: u64) {
    let mirror = server.mirror();
    let (found, rows) = server.read_all(&mirror, group);
    assert!(
        found == version || found == version + 1,
        "{found}, wanted {version}"
    );
    assert_eq!(rows, expected(found));
}

/// A mirror that is impatient, opened with patience.
fn opened(server: &Server, options: &CassandraOptions) -> Mirror {
    let mut mirror = None;
    until("the mirror opens", || {
        let opening = Mirror::open(options.clone(), CLUSTER);
        mirror = server.runtime.block_on(opening).ok();
        mirror.is_some()
    });
    mirror.unwrap()
}

pub(crate) fn frozen(server: &mut Server) {
    let group = GroupId(91);
    let options = CassandraOptions {
        request_timeout: Duration::from_secs(3),
        attempts_max: 1,
        ..server.options()
    };
    let (mirror, reading) = (opened(server, &options), server.mirror());
    for version in 1..=10 {
        server
            .write(&mirror, group, version, &changes(version))
            .unwrap();
    }
    let session = server.session();
    server.cassandra.node(0).freeze().unwrap();
    let mut failures = 0;
    until("the breaker opens", || {
        let written = server.write_once(&mirror, group, 11, &changes(11));
        assert!(
            written.is_err_and(|error| error.is_outage()),
            "a frozen server answers nothing"
        );
        failures += 1;
        matches!(mirror.state(), MirrorState::Paused { .. })
    });
    server.cassandra.node(0).thaw().unwrap();
    // What got no answer is applied in the end: the intent, the first row of a write. Nobody sees it.
    until("the unanswered row is there", || {
        let text = format!(
            "SELECT version FROM {KEYSPACE}.row_versions WHERE incarnation = {CLUSTER} AND group_id = 91 AND site = 7 \
             AND generation = 0 AND bucket = {} AND row_key = 0x00 AND version = 11",
            i64::MAX
        );
        let answer = session.query_unpaged(text, ());
        let answer = server.runtime.block_on(answer);
        answer.is_ok_and(|answer| answer.into_rows_result().unwrap().rows_num() > 0)
    });
    check(server, &reading, group, 10);
    for version in 11..40 {
        server
            .write(&mirror, group, version, &changes(version))
            .unwrap();
    }
    assert_eq!(mirror.state(), MirrorState::Up);
    check(server, &reading, group, 39);
    println!("{failures} failures while it was frozen");
}

/// The server gives up after 10 ms, though what it was given is applied; short freezes see to it that this happens.
pub(crate) fn timeouts(server: &mut Server) {
    let group = GroupId(92);
    let node = server.cassandra.node(0);
    node.kill();
    node.set("write_request_timeout", Some("10ms"));
    node.start().unwrap();
    let options = CassandraOptions {
        attempts_max: 1,
        ..server.options()
    };
    let mirror = opened(server, &options);
    let is_done = AtomicBool::new(false);
    let mut unknown = Vec::new();
    let mut timed_out = 0;
    let mut last = 0;
    let Server { cassandra, runtime } = &mut *server;
    thread::scope(|scope| {
        let is_done = &is_done;
        let node = cassandra.node(0);
        scope.spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                node.freeze().unwrap();
                thread::sleep(Duration::from_millis(60));
                node.thaw().unwrap();
                thread::sleep(Duration::from_millis(60));
            }
        });
        // Sixty, or as many more as it takes to see a timeout.
        while last < 60 || (timed_out == 0 && last < 5_000) {
            last += 1;
            let version = last;
            let rows = changes(version)
                .into_iter()
                .map(|(row, value)| (GroupKey::Site(SITE, row), value));
            let writer = mirror.writer();
            let written = writer.write(group, SITE, LogIndex(version), rows.collect());
            if let Err(error) = runtime.block_on(written) {
                assert!(error.is_outage(), "{error}");
                timed_out += usize::from(error.to_string().contains("timed out"));
                unknown.push(version);
                thread::sleep(Duration::from_millis(10));
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
    println!(
        "{} of {last} writes failed, {timed_out} with a timeout",
        unknown.len()
    );
    assert!(timed_out > 0, "no timeout was provoked");
    let node = server.cassandra.node(0);
    node.kill();
    node.set("write_request_timeout", None);
    node.start().unwrap();
    // Again from the last to the first: their order does not matter either.
    for version in unknown.iter().rev() {
        server
            .write(&mirror, group, *version, &changes(*version))
            .unwrap();
    }
    check(server, &mirror, group, last);
}

pub(crate) fn started_down(server: &mut Server) {
    let group = GroupId(93);
    server.cassandra.node(0).kill();
    let mirror = Mirror::start(server.options(), CLUSTER, server.runtime.handle());
    until("an attempt failed", || {
        matches!(
            mirror.state(),
            MirrorState::Connecting {
                last_error: Some(_)
            }
        )
    });
    let written = server.write_once(&mirror, group, 1, &changes(1));
    assert!(written.is_err_and(|error| error.is_outage()));
    server.cassandra.node(0).start().unwrap();
    until("the mirror is up", || mirror.state() == MirrorState::Up);
    server.write(&mirror, group, 1, &changes(1)).unwrap();
    check(server, &mirror, group, 1);
}

/// Killed in the middle of writes and reads, and back again: neither a write nor a read fails.
pub(crate) fn one_of_three(server: &mut Server) {
    let group = GroupId(94);
    let mirror = server.mirror();
    for version in 1..=300 {
        match version {
            100 => server.cassandra.node(2).kill(),
            200 => server.cassandra.node(2).start().unwrap(),
            _ => {}
        }
        let written = server.write_once(&mirror, group, version, &changes(version));
        assert_eq!(written, Ok(()), "version {version}");
        if version % 10 == 0 {
            check(server, &mirror, group, version);
        }
    }
}

/// What was acknowledged is read from any two; what was not may be there, but no part of it is seen.
pub(crate) fn two_of_three(server: &mut Server) {
    let group = GroupId(95);
    let mirror = server.mirror();
    for version in 1..=20 {
        server
            .write(&mirror, group, version, &changes(version))
            .unwrap();
    }
    server.cassandra.node(1).kill();
    server.cassandra.node(2).kill();
    let written = server.write_once(&mirror, group, 21, &changes(21));
    assert!(
        written.as_ref().is_err_and(|error| error.is_outage()),
        "{written:?}"
    );
    server.cassandra.node(1).start().unwrap();
    // The two that are left need not be those that took the first writes.
    server.write(&mirror, group, 21, &changes(21)).unwrap();
    server.cassandra.node(2).start().unwrap();
    server.cassandra.node(0).kill();
    let another = || {
        server
            .runtime
            .block_on(Mirror::open(server.options(), CLUSTER))
    };
    until("another session reads it from the other two", || {
        let Ok(mirror) = another() else {
            return false;
        };
        let pin = server.runtime.block_on(mirror.reader().pin(group, SITE));
        pin.is_ok_and(|pin| pin.is_some_and(|pin| pin.version == LogIndex(21)))
    });
    check(server, &another().unwrap(), group, 21);
    server.cassandra.node(0).start().unwrap();
}
