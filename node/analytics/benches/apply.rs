//! Apply alone: events per second of one core over 1,000 sites by Zipf, in batches as the router would build them.
//!
//! Prints one line of JSON. `RINGTAIL_BENCH_EVENTS` sets the number of events (default 1,000,000).

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::Instant;

use bytes::Bytes;
use ringtail_analytics::{Dimension, SiteState, Touches, fold_dimension};
use ringtail_proto::{
    Event, LogIndex, SiteId, UnixMillis,
    stored::{BatchWriter, PartitionEntry, partition_entry::Body},
};

use support::{NoRows, Pool, Random, SITES, START_MS, entries, events_wanted};

fn main() {
    let entries = entries(events_wanted(1_000_000));
    let logged_bytes: usize = entries.iter().map(Bytes::len).sum();
    let mut states: Vec<SiteState> = (0..SITES)
        .map(|site| SiteState::new(SiteId(site as u64)))
        .collect();

    let decoding = Instant::now();
    let batches: Vec<PartitionEntry> = entries
        .iter()
        .map(|entry| PartitionEntry::from_log(entry.clone()).unwrap())
        .collect();
    let decode_us = decoding.elapsed().as_secs_f64() * 1e6;

    let applying = Instant::now();
    let mut accepted = 0_usize;
    for (index, entry) in batches.iter().enumerate() {
        let Some(Body::Events(batch)) = &entry.body else {
            continue;
        };
        for slice in &batch.sites {
            let state = &mut states[slice.site as usize];
            let verdicts = state
                .apply_events(
                    LogIndex(index as u64 + 1),
                    UnixMillis(entry.stamp_ms),
                    batch,
                    slice,
                    &NoRows,
                )
                .unwrap();
            accepted += verdicts.len();
        }
    }
    let apply_us = applying.elapsed().as_secs_f64() * 1e6;

    let writing = Instant::now();
    let written_bytes: usize = states
        .iter_mut()
        .flat_map(|state| state.checkpoint(&NoRows).unwrap())
        .filter_map(|write| write.value.map(|value| value.len()))
        .sum();
    let checkpoint_us = writing.elapsed().as_secs_f64() * 1e6;

    println!(
        "{{\"apply_us_per_event\":{:.3},\"decode_us_per_event\":{:.3},\"checkpoint_us_per_event\":{:.3},\
         \"events\":{accepted},\"sites\":{SITES},\"logged_bytes_per_event\":{:.1},\"checkpoint_bytes_per_event\":{:.1},\
         \"hot_hour_of_100000_visitors_ms\":{:.2}}}",
        apply_us / accepted as f64,
        decode_us / accepted as f64,
        checkpoint_us / accepted as f64,
        logged_bytes as f64 / accepted as f64,
        written_bytes as f64 / accepted as f64,
        hot_hour_ms(),
    );
}

/// Folding one dimension of a hot hour with 100,000 visitors.
fn hot_hour_ms() -> f64 {
    let mut state = SiteState::new(SiteId(1));
    let mut random = Random(7);
    let pool = Pool::new(&mut random);
    for round in 0..100 {
        let events: Vec<Event> = (0..1_000)
            .map(|n| pool.event(round * 1_000 + n, START_MS + n as i64, &mut random))
            .collect();
        let mut writer = BatchWriter::new();
        writer.add(SiteId(1), &events, None);
        let batch = writer.finish();
        let at = UnixMillis(START_MS + 1_000);
        state
            .apply_events(LogIndex(round + 1), at, &batch, &batch.sites[0], &NoRows)
            .unwrap();
    }
    let view = state.view();
    let hour = view.hot_hours().next().unwrap();
    let folding = Instant::now();
    let rows = view.hour_rows(hour, Touches::Of(Dimension::Source));
    let table = fold_dimension(rows.iter(), &rows, Dimension::Source, 1);
    let ms = folding.elapsed().as_secs_f64() * 1e3;
    assert!(!table.cells().is_empty());
    ms
}
