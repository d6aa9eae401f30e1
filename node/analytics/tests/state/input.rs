//! Times and positions that cannot be, and events that the pipeline dropped.

use bytes::Bytes;
use ringtail_proto::{
    DropReason, Event, LogIndex, UnixMillis, Verdict,
    stored::{BatchWriter, EventBatch, Revenue, StoredEvent},
};

use crate::support::{HOUR, Hit, MINUTE, MONDAY, SITE, TestSite, settings, view};

const NOW: i64 = MONDAY + 100 * HOUR;

#[test]
fn times_are_the_clients_within_a_minute_ahead_and_72_hours_behind() {
    let check = |time: i64, verdict: Verdict, counts_at: Option<i64>| {
        let mut site = TestSite::with_settings(settings(30));
        let verdicts = site.apply_at(NOW, &[view(1, time, "/")]);
        assert_eq!(verdicts, [verdict], "time {time}");
        site.checkpoint();
        let hours: Vec<i64> = site.hours().iter().map(|hour| hour.0).collect();
        let expect: Vec<i64> = counts_at.into_iter().collect();
        assert_eq!(hours, expect, "time {time}");
    };
    check(NOW, Verdict::Accepted, Some(NOW));
    check(0, Verdict::Accepted, Some(NOW));
    check(NOW + MINUTE, Verdict::Accepted, Some(NOW));
    check(NOW + 61_000, Verdict::Accepted, Some(NOW));
    check(NOW + 30 * 24 * HOUR, Verdict::Accepted, Some(NOW));
    check(NOW - HOUR, Verdict::Accepted, Some(NOW - HOUR));
    check(NOW - HOUR - 1, Verdict::Late, Some(NOW - 2 * HOUR));
    check(NOW - 72 * HOUR, Verdict::Late, Some(NOW - 72 * HOUR));
    let too_late = Verdict::Dropped(DropReason::TooLate);
    check(NOW - 72 * HOUR - 1, too_late, None);
    let absurd = Verdict::Dropped(DropReason::AbsurdTime);
    for time in [i64::MIN, i64::MAX, -1, 1, 600_000_000_000] {
        check(time, absurd, None);
    }
}

#[test]
fn positions_that_point_nowhere_are_malformed_and_nothing_panics() {
    let spoil: [fn(&mut StoredEvent); 10] = [
        |event| event.name = 999,
        |event| event.page = u32::MAX,
        |event| event.hostname = 999,
        |event| event.client = 999,
        |event| event.place = u32::MAX,
        |event| event.acquisition = 999,
        |event| event.scroll_depth_plus_one = 5_000,
        |event| {
            event
                .properties
                .push(ringtail_proto::stored::Property { key: 0, value: 999 });
        },
        |event| {
            event.revenue = Some(Revenue {
                amount_micros: 1,
                currency: Bytes::from_static(b"euro"),
            });
        },
        |event| {
            event.revenue = Some(Revenue {
                amount_micros: i64::MIN,
                currency: Bytes::from_static(b"EUR"),
            });
        },
    ];
    for (position, spoil) in spoil.into_iter().enumerate() {
        let mut site = TestSite::with_settings(settings(30));
        let mut batch = batch_of(&[view(1, NOW, "/"), view(2, NOW, "/")]);
        spoil(&mut batch.sites[0].events[0]);
        let verdicts = apply(&mut site, &batch);
        let malformed = Verdict::Dropped(DropReason::Malformed);
        assert_eq!(verdicts, [malformed, Verdict::Accepted], "{position}");
        let view = site.state().view();
        let dropped: Vec<_> = view.dropped().collect();
        assert_eq!(dropped, [(DropReason::Malformed, 1)]);
    }
}

#[test]
fn events_that_the_pipeline_dropped_are_counted_by_reason_only() {
    let mut site = TestSite::with_settings(settings(30));
    let mut batch = batch_of(&[view(1, NOW, "/")]);
    batch.sites[0].events[0].dropped = u32::from(DropReason::Bot.code());
    let bot = Verdict::Dropped(DropReason::Bot);
    assert_eq!(apply(&mut site, &batch), [bot]);
    assert_eq!(apply(&mut site, &batch), [bot], "its id is not remembered");
    batch.sites[0].events[0].dropped = 0;
    assert_eq!(apply(&mut site, &batch), [Verdict::Accepted]);
    let view = site.state().view();
    assert_eq!(view.dropped().collect::<Vec<_>>(), [(DropReason::Bot, 2)]);
}

#[test]
fn broken_utf_8_is_replaced_and_counted() {
    let mut site = TestSite::with_settings(settings(30));
    let mut batch = batch_of(&[view(1, NOW, "/page")]);
    let page = batch.sites[0].events[0].page as usize;
    batch.texts[page] = Bytes::from_static(b"/\xff\xfe");
    assert_eq!(apply(&mut site, &batch), [Verdict::Accepted]);
    let table = site
        .hour(NOW.into(), ringtail_analytics::Dimension::Page)
        .unwrap();
    assert_eq!(table.cells()[0].0.as_str(), "/\u{fffd}\u{fffd}");
}

#[test]
fn a_poisoned_entry_moves_the_index_and_is_counted() {
    let mut site = TestSite::with_settings(settings(30));
    site.ruled.skip_poisoned(LogIndex(5), UnixMillis(NOW));
    assert_eq!(site.state().index(), LogIndex(5));
    assert_eq!(site.state().dirty_since(), Some(LogIndex(1)));
    let view = site.state().view();
    assert_eq!(
        view.dropped().collect::<Vec<_>>(),
        [(DropReason::Poisoned, 1)]
    );
}

#[test]
fn damaged_and_newer_rows_are_refused_with_a_reason() {
    use ringtail_analytics::{RowError, SiteState, StateError};
    use ringtail_proto::SiteRow;

    let mut site = TestSite::with_settings(settings(30));
    site.apply(&[view(1, NOW, "/")]);
    site.checkpoint();
    let good = site.rows.rows[&SiteRow::Site].to_vec();
    let load = |site: &mut TestSite, bytes: Vec<u8>| {
        site.rows.rows.insert(SiteRow::Site, bytes.into());
        SiteState::load(SITE, &site.rows).unwrap_err()
    };
    let mut newer = good.clone();
    newer[0] = 200;
    let error = load(&mut site, newer);
    assert!(
        matches!(
            error,
            StateError::Row {
                source: RowError::Newer {
                    found: 200,
                    known: 2
                },
                ..
            }
        ),
        "{error}"
    );
    for len in [0, 1, 5, good.len() / 2, good.len() - 1] {
        let error = load(&mut site, good[..len].to_vec());
        assert!(matches!(error, StateError::Row { .. }), "{len}: {error}");
    }
}

fn batch_of(hits: &[Hit]) -> EventBatch {
    let events: Vec<Event> = hits.iter().map(Hit::event).collect();
    let mut writer = BatchWriter::new();
    writer.add(SITE, &events, None);
    writer.finish()
}

fn apply(site: &mut TestSite, batch: &EventBatch) -> Vec<Verdict> {
    site.index += 1;
    site.ruled
        .apply_events(
            LogIndex(site.index),
            UnixMillis(NOW),
            batch,
            &batch.sites[0],
            &site.rows,
        )
        .unwrap()
}
