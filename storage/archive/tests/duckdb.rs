//! DuckDB, which knows nothing of us, finds in the files what was written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use common::log::{Entry, LogMaker, NOON_MS, add};
use ringtail_archive::{
    Archive, ArchiveOptions, Location, SealBuilder, SealOptions, Table, VisitAttributes, VisitPart,
    VisitRow, VisitTotals, merge,
};
use ringtail_proto::{
    Generation, GroupId, HourStart, LogIndex, SiteId, UnixMillis, VisitorId,
    stored::{EventBatch, SiteEvents, StoredEvent, site_command::Change},
};
use serde_json::{Value, json};

const SITES: u64 = 3;

/// What one site's events sum up to.
#[derive(Default)]
struct Sums {
    events: u64,
    accepted: u64,
    engaged_ms: u64,
    revenue_micros: Option<i128>,
    properties: usize,
    visitors: BTreeSet<u64>,
    users: u64,
    times: Vec<i64>,
    client_times: u64,
}

fn events(log: &[Entry]) -> impl Iterator<Item = (i64, &EventBatch, u64, &StoredEvent, u8)> {
    log.iter().flat_map(|entry| {
        let (head, batch, codes) = match entry {
            Entry::Events { head, batch, codes } => (head, batch, codes),
            Entry::Command { .. } => return Vec::new(),
        };
        let slices = batch.sites.iter().zip(codes);
        slices
            .flat_map(|(slice, codes)| {
                slice
                    .events
                    .iter()
                    .zip(codes)
                    .map(|(event, code)| (head.stamp.0, batch, slice.site, event, *code))
            })
            .collect()
    })
}

fn by_site(log: &[Entry]) -> Value {
    let mut sites: BTreeMap<u64, Sums> = BTreeMap::new();
    for (stamp_ms, batch, site, event, code) in events(log) {
        let sums = sites.entry(site).or_default();
        sums.events += 1;
        sums.accepted += u64::from(code == 0);
        sums.engaged_ms += u64::from(event.engaged_ms);
        if let Some(revenue) = &event.revenue {
            *sums.revenue_micros.get_or_insert_default() += i128::from(revenue.amount_micros);
        }
        sums.properties += event.properties.len();
        sums.visitors.insert(event.visitor);
        let user = event.user_id_plus_one.checked_sub(1);
        sums.users += u64::from(user.is_some_and(|user| (user as usize) < batch.texts.len()));
        sums.client_times += u64::from(event.time_ms != 0);
        sums.times.push(match event.time_ms {
            0 => stamp_ms,
            time_ms if time_ms > stamp_ms + 60_000 => stamp_ms,
            time_ms => time_ms,
        });
    }
    sites
        .into_iter()
        .map(|(site, sums)| {
            json!([
                site,
                sums.events,
                sums.accepted,
                sums.engaged_ms,
                sums.revenue_micros.map(|sum| sum.to_string()),
                sums.properties,
                sums.visitors.len(),
                sums.users,
                sums.times.iter().min(),
                sums.times.iter().max(),
                sums.client_times,
            ])
        })
        .collect()
}

fn by_page(log: &[Entry]) -> Value {
    let mut pages: BTreeMap<Option<String>, u64> = BTreeMap::new();
    for (_, batch, _, event, _) in events(log) {
        let page = batch.texts.get(event.page as usize);
        let page = page.map(|page| String::from_utf8(page.to_vec()).unwrap());
        *pages.entry(page).or_default() += 1;
    }
    pages
        .into_iter()
        .map(|(page, events)| json!([page, events]))
        .collect()
}

fn first_ids(log: &[Entry]) -> Value {
    let mut ids: Vec<String> = events(log)
        .map(|(_, _, _, event, _)| format!("{:016x}{:016x}", event.id_high, event.id_low))
        .collect();
    ids.sort();
    ids.iter().take(3).map(|id| json!([id])).collect()
}

fn changes(log: &[Entry]) -> Value {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in log {
        match entry {
            Entry::Command { command, .. } => {
                let kind = match command.change {
                    Some(Change::Settings(_)) => "settings",
                    Some(Change::ImportFinished(_)) => "import_finished",
                    None => "other",
                };
                *kinds.entry(kind).or_default() += 1;
            }
            Entry::Events { batch, .. } => {
                let is_kept =
                    |slice: &&SiteEvents| slice.import.is_some() || slice.events.is_empty();
                let kept = batch.sites.iter().filter(is_kept).count();
                *kinds.entry("slice").or_default() += kept as u64;
            }
        }
    }
    kinds
        .into_iter()
        .filter(|(_, rows)| *rows > 0)
        .map(|(kind, rows)| json!([kind, rows]))
        .collect()
}

/// Of site 1: three visits at index 1, of which two are left at index 2. Of site 2: one, of which none is left.
fn visits() -> Vec<VisitRow> {
    let part = |visitor| VisitPart {
        visitor: VisitorId(visitor),
        first: UnixMillis(NOON_MS),
        last: UnixMillis(NOON_MS + 5),
        events: 4,
        pageviews: 3,
        engaged_ms: 12,
        attributes: VisitAttributes {
            entry_page: Some("/".into()),
            ..VisitAttributes::default()
        },
        start: (visitor == 1).then_some(VisitTotals::default()),
    };
    let row = |site, index, part| VisitRow {
        site: SiteId(site),
        generation: Generation(0),
        hour: HourStart(NOON_MS),
        index: LogIndex(index),
        part,
    };
    vec![
        row(1, 1, Some(part(1))),
        row(1, 1, Some(part(2))),
        row(1, 1, Some(part(3))),
        row(1, 2, Some(part(1))),
        row(1, 2, Some(part(2))),
        row(2, 1, Some(part(1))),
        row(2, 2, None),
    ]
}

async fn write_archive(directory: &Path, log: &[Entry]) {
    let options = ArchiveOptions::new(Location::Local(directory.into()));
    let archive = Archive::open(options, "ring").await.unwrap();
    let mut to_merge = Vec::new();
    for (number, part) in log.chunks(40).enumerate() {
        let mut builder = SealBuilder::new(GroupId(7), SealOptions::default());
        add(&mut builder, part);
        if number == 0 {
            visits().into_iter().for_each(|row| builder.visit(row));
        }
        for built in builder.finish().unwrap() {
            // Some objects are as they were sealed, others are merged.
            if number >= 2 && built.object.table == Table::Events.to_stored() as i32 {
                to_merge.push((built.object, built.bytes));
            } else {
                archive.put(&built).await.unwrap();
            }
        }
    }
    assert!(to_merge.len() > 2);
    archive.put(&merge(&to_merge).unwrap()).await.unwrap();
}

#[tokio::test]
async fn duckdb_finds_the_sums_that_were_written() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogMaker::new(2026, SITES).entries(300);
    write_archive(directory.path(), &log).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/duckdb/totals.py");
    let environment = concat!(env!("CARGO_TARGET_TMPDIR"), "/duckdb");
    let output = Command::new("python3")
        .args([script, environment])
        .arg(directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["by_site"], by_site(&log));
    assert_eq!(found["by_page"], by_page(&log));
    assert_eq!(found["ids"], first_ids(&log));
    assert_eq!(found["changes"], changes(&log));
    assert_eq!(found["partitions"], json!([[7, "2026-11-22"]]));
    assert_eq!(found["visits"], json!([[1, 2, 6, 1], [2, 0, null, 0]]));
    let verdicts = found["by_verdict"].as_array().unwrap();
    let rows: u64 = verdicts.iter().filter_map(|row| row[2].as_u64()).sum();
    assert_eq!(rows, events(&log).count() as u64);
    assert!(
        verdicts
            .iter()
            .any(|row| row[0] == "dropped" && row[1] == "bot")
    );
    assert!(
        verdicts
            .iter()
            .any(|row| row[0] == "late" && row[1].is_null())
    );
}
