//! What becomes of submissions, step by step, over a log that waits for the test.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use ringtail_proto::{
    ErrorKind, GroupId, SiteId,
    stored::{ImportMark, SiteCommand, partition_entry::Body},
};
use ringtail_ring::SlotTable;
use ringtail_router::{
    Applied, Durability, RouteError, Router, RouterOptions, Spawning, Submission, SystemClock,
};
use support::{
    GROUP, HeldLog, SITE, events, held_router, ids_of, local_route, lone_seams, verdicts_of,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// One entry on its way at a time, so that the test knows what gathers.
fn narrow() -> RouterOptions {
    RouterOptions {
        entries_in_flight_max: 1,
        entries_unapplied_max: 1,
        ..RouterOptions::default()
    }
}

fn in_doubt() -> RouteError {
    RouteError::InDoubt {
        group: GROUP,
        message: "the leader changed".to_owned(),
    }
}

#[actix_rt::test]
async fn submissions_gather_while_an_entry_is_on_its_way() {
    let (router, log, _) = held_router(narrow()).await;
    let first = router.submit(SITE, events(0..1), None).unwrap();
    assert_eq!(ids_of(&log.proposed(1).await), [0]);
    let later: Vec<Submission> = (1..101u128)
        .map(|id| {
            router
                .submit(SiteId(id as u64 % 5), events(id..id + 1), None)
                .unwrap()
        })
        .collect();
    assert_eq!(log.count(), 1);
    log.finish(0);
    let entry = log.proposed(2).await;
    assert_eq!(ids_of(&entry).len(), 100);
    let Some(Body::Events(batch)) = &entry.body else {
        panic!("events expected")
    };
    assert_eq!(batch.sites.len(), 5, "each site stands once");
    log.finish(1);
    assert_eq!(first.applied().await, Ok(verdicts_of(0..1)));
    for (id, submission) in (1..).zip(later) {
        assert_eq!(submission.applied().await, Ok(verdicts_of(id..id + 1)));
    }
    assert_eq!(router.bytes_in_flight(), 0);
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn the_pipeline_holds_so_many_entries_and_no_more() {
    let options = RouterOptions {
        entries_in_flight_max: 2,
        entries_unapplied_max: 3,
        ..RouterOptions::default()
    };
    let (router, log, _) = held_router(options).await;
    let mut submissions = Vec::new();
    for id in 0..6u128 {
        submissions.push(router.submit(SITE, events(id..id + 1), None).unwrap());
        if id < 2 {
            log.proposed(id as usize + 1).await;
        }
    }
    // Two are on their way, so four wait. Once one is on disk, they leave together.
    log.commit(0, Ok(()));
    submissions[0].committed().await.unwrap();
    assert_eq!(ids_of(&log.proposed(3).await), [2, 3, 4, 5]);
    submissions.push(router.submit(SITE, events(6..7), None).unwrap());
    // All are on disk, but three are not applied: the next waits for the first of them.
    log.commit(1, Ok(()));
    log.commit(2, Ok(()));
    submissions[5].committed().await.unwrap();
    assert_eq!(log.count(), 3);
    log.apply(0, Ok(support::reply_to(&log.entry(0))));
    assert_eq!(ids_of(&log.proposed(4).await), [6]);
    for number in 1..3 {
        log.apply(number, Ok(support::reply_to(&log.entry(number))));
    }
    log.finish(3);
    for (id, submission) in (0..).zip(submissions) {
        assert_eq!(submission.applied().await, Ok(verdicts_of(id..id + 1)));
    }
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn no_events_need_no_entry() {
    let (router, log, _) = held_router(narrow()).await;
    let mut submission = router.submit(SITE, Vec::new(), None).unwrap();
    assert_eq!(submission.committed().await, Ok(Durability::Quorum));
    assert_eq!(
        submission.applied().await,
        Ok(Applied::Verdicts(Vec::new()))
    );
    assert!(router.shutdown(DEADLINE).await);
    assert_eq!(log.count(), 0);
}

#[actix_rt::test]
async fn committed_answers_before_applied() {
    let (router, log, _) = held_router(narrow()).await;
    let mut submission = router.submit(SITE, events(0..3), None).unwrap();
    log.proposed(1).await;
    log.commit(0, Ok(()));
    assert_eq!(submission.committed().await, Ok(Durability::Quorum));
    assert_eq!(
        submission.committed().await,
        Ok(Durability::Quorum),
        "it may be asked again"
    );
    assert!(router.bytes_in_flight() > 0);
    log.apply(0, Ok(support::reply_to(&log.entry(0))));
    assert_eq!(submission.applied().await, Ok(verdicts_of(0..3)));
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn the_stamp_never_falls_although_the_clock_does() {
    let (router, log, clock) = held_router(narrow()).await;
    let mut stamps = Vec::new();
    let steps = [
        (1_000, 0),
        (900, 0),
        (2_000, 0),
        (5, 0),
        (1_500, 3_000),
        (2_500, 3_000),
        (4_000, 0),
    ];
    for (number, (now, applied)) in steps.into_iter().enumerate() {
        clock.0.store(now, Ordering::SeqCst);
        log.stamp.store(applied, Ordering::SeqCst);
        let submission = router.submit(SITE, events(0..1), None).unwrap();
        stamps.push(log.proposed(number + 1).await.stamp_ms);
        log.finish(number);
        submission.applied().await.unwrap();
    }
    assert_eq!(stamps, [1_000, 1_000, 2_000, 2_000, 3_000, 3_000, 4_000]);
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn a_crowd_on_one_site_does_not_stop_its_neighbour() {
    let options = RouterOptions {
        batch_events_max: 10,
        site_events_in_flight_max: 10,
        ..narrow()
    };
    let (router, log, _) = held_router(options).await;
    let crowd = router.submit(SITE, events(0..10), None).unwrap();
    let error = router.submit(SITE, events(10..11), None).unwrap_err();
    assert_eq!(
        error,
        RouteError::SiteBusy {
            site: SITE,
            events_max: 10
        }
    );
    assert_eq!(
        (error.kind(), error.may_commit()),
        (ErrorKind::RateLimited, false)
    );
    let neighbour = router.submit(SiteId(2), events(20..30), None).unwrap();
    log.proposed(1).await;
    log.finish(0);
    crowd.applied().await.unwrap();
    let again = router.submit(SITE, events(10..11), None).unwrap();
    log.proposed(2).await;
    log.finish(1);
    neighbour.applied().await.unwrap();
    log.proposed(3).await;
    log.finish(2);
    again.applied().await.unwrap();
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn bytes_and_places_in_line_are_bounded() {
    let bytes_max = 40_000;
    let options = RouterOptions {
        batch_events_max: 100,
        batch_bytes_max: bytes_max,
        bytes_in_flight_max: bytes_max,
        group_submissions_max: 3,
        ..narrow()
    };
    let (router, log, _) = held_router(options).await;
    let first = router.submit(SITE, events(0..90), None).unwrap();
    log.proposed(1).await;
    let error = router.submit(SiteId(2), events(0..90), None).unwrap_err();
    assert_eq!(error, RouteError::BytesBusy { bytes_max });
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let waiting: Vec<_> = (0..3u128)
        .map(|id| router.submit(SiteId(2), events(id..id + 1), None).unwrap())
        .collect();
    let error = router.submit(SiteId(2), events(3..4), None).unwrap_err();
    assert_eq!(
        error,
        RouteError::GroupBusy {
            group: GROUP,
            submissions_max: 3
        }
    );
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    log.finish(0);
    first.applied().await.unwrap();
    log.proposed(2).await;
    let last = router.submit(SiteId(2), events(3..4), None).unwrap();
    log.finish(1);
    for submission in waiting {
        submission.applied().await.unwrap();
    }
    log.proposed(3).await;
    log.finish(2);
    last.applied().await.unwrap();
    assert_eq!(router.bytes_in_flight(), 0);
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn an_entry_never_passes_its_bounds() {
    let options = RouterOptions {
        batch_events_max: 10,
        ..narrow()
    };
    let (router, log, _) = held_router(options).await;
    let error = router.submit(SITE, events(0..11), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let mut submissions = vec![router.submit(SITE, events(0..1), None).unwrap()];
    log.proposed(1).await;
    for first in [1u128, 5, 9, 13] {
        submissions.push(router.submit(SITE, events(first..first + 4), None).unwrap());
    }
    for (number, count) in [(0, 1), (1, 8), (2, 8)] {
        assert_eq!(ids_of(&log.proposed(number + 1).await).len(), count);
        log.finish(number);
    }
    for submission in submissions {
        submission.applied().await.unwrap();
    }
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn a_full_disk_sheds_events_and_takes_commands() {
    let (router, log, _) = held_router(narrow()).await;
    router.gate().set_storage_full(true);
    let error = router.submit(SITE, events(0..1), None).unwrap_err();
    assert_eq!(
        (error.kind(), error.may_commit()),
        (ErrorKind::StorageFull, false)
    );
    let command = SiteCommand {
        site: SITE.0,
        change: None,
    };
    let submission = router.command(SITE, command).unwrap();
    log.proposed(1).await;
    log.commit(0, Ok(()));
    log.apply(0, Ok(Bytes::from_static(b"done")));
    assert_eq!(submission.applied().await, Ok(Bytes::from_static(b"done")));
    router.gate().set_storage_full(false);
    let submission = router.submit(SITE, events(0..1), None).unwrap();
    log.proposed(2).await;
    log.finish(1);
    submission.applied().await.unwrap();
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn what_is_committed_is_durable_although_nobody_learns_its_verdicts() {
    let (router, log, _) = held_router(narrow()).await;
    let mut submission = router.submit(SITE, events(0..1), None).unwrap();
    log.proposed(1).await;
    log.commit(0, Ok(()));
    assert_eq!(submission.committed().await, Ok(Durability::Quorum));
    log.apply(0, Err(in_doubt()));
    assert_eq!(submission.applied().await, Ok(Applied::Pending));
    assert_eq!(router.bytes_in_flight(), 0);
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn an_entry_in_doubt_is_tried_again_as_it_is_until_a_quorum_has_it() {
    let (router, log, _) = held_router(narrow()).await;
    let first = router.submit(SITE, events(0..1), None).unwrap();
    log.proposed(1).await;
    let second = router.submit(SiteId(2), events(1..3), None).unwrap();
    log.commit(0, Err(in_doubt()));
    let again = log.proposed(2).await;
    assert_eq!(again.body, log.entry(0).body);
    log.finish(1);
    assert_eq!(first.applied().await, Ok(verdicts_of(0..1)));
    log.proposed(3).await;
    log.finish(2);
    assert_eq!(second.applied().await, Ok(verdicts_of(1..3)));
    assert_eq!(router.bytes_in_flight(), 0);
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn without_a_quorum_events_are_spooled_and_forwarded_once_there_is_one() {
    let options = RouterOptions {
        quorum_wait_ms_max: 50,
        ..narrow()
    };
    let (router, log, _) = held_router(options).await;
    let unavailable = RouteError::Unavailable {
        group: GROUP,
        message: "no leader".to_owned(),
    };
    *log.refusal.lock() = Some(unavailable.clone());
    let mut submission = router.submit(SITE, events(0..1), None).unwrap();
    assert_eq!(submission.committed().await, Ok(Durability::Spooled));
    assert_eq!(submission.applied().await, Ok(Applied::Pending));
    assert!(!router.is_spool_drained());
    let command = SiteCommand {
        site: SITE.0,
        change: None,
    };
    let refused = router.command(SITE, command).unwrap().applied().await;
    assert_eq!(
        refused,
        Err(unavailable.clone()),
        "a command is not spooled"
    );
    let mark = Some(ImportMark::default());
    let import = router.submit(SITE, events(1..2), mark).unwrap();
    assert_eq!(import.applied().await, Err(unavailable), "nor is an import");
    *log.refusal.lock() = None;
    let entry = log.proposed(1).await;
    assert_eq!(ids_of(&entry), [0]);
    let Some(Body::Events(batch)) = &entry.body else {
        panic!("events expected")
    };
    assert_eq!(
        batch.sites[0].events[0].time_ms, 1_000,
        "the time of the receipt"
    );
    log.finish(0);
    let submission = router.submit(SITE, events(1..2), None).unwrap();
    log.proposed(2).await;
    log.finish(1);
    assert_eq!(submission.applied().await, Ok(verdicts_of(1..2)));
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn an_import_mark_travels_without_events_and_apart_from_live_ones() {
    let (router, log, _) = held_router(narrow()).await;
    let blocker = router.submit(SITE, events(0..1), None).unwrap();
    log.proposed(1).await;
    let mark = ImportMark {
        last_line: 10,
        ..ImportMark::default()
    };
    let live = router.submit(SITE, events(1..2), None).unwrap();
    let import = router
        .submit(SITE, events(2..4), Some(mark.clone()))
        .unwrap();
    let only_mark = router.submit(SITE, Vec::new(), Some(mark)).unwrap();
    let live_again = router.submit(SITE, events(4..5), None).unwrap();
    log.finish(0);
    for (number, expect) in [
        vec![(1, false)],
        vec![(2, true), (0, true)],
        vec![(1, false)],
    ]
    .into_iter()
    .enumerate()
    {
        let entry = log.proposed(number + 2).await;
        let Some(Body::Events(batch)) = &entry.body else {
            panic!("events expected")
        };
        let shape: Vec<_> = batch
            .sites
            .iter()
            .map(|slice| (slice.events.len(), slice.import.is_some()))
            .collect();
        assert_eq!(shape, expect);
        log.finish(number + 1);
    }
    blocker.applied().await.unwrap();
    assert_eq!(live.applied().await, Ok(verdicts_of(1..2)));
    assert_eq!(import.applied().await, Ok(verdicts_of(2..4)));
    assert_eq!(only_mark.applied().await, Ok(verdicts_of(0..0)));
    assert_eq!(live_again.applied().await, Ok(verdicts_of(4..5)));
    assert!(router.shutdown(DEADLINE).await);
}

#[actix_rt::test]
async fn shutdown_sees_everything_through_and_takes_no_more() {
    let (router, log, _) = held_router(narrow()).await;
    let first = router.submit(SITE, events(0..1), None).unwrap();
    log.proposed(1).await;
    let second = router.submit(SITE, events(1..2), None).unwrap();
    let stopping = actix_rt::spawn({
        let router = router.clone();
        async move { router.shutdown(DEADLINE).await }
    });
    while router
        .submit(SITE, Vec::new(), Some(ImportMark::default()))
        .is_ok()
    {
        tokio::task::yield_now().await;
    }
    let refused = router.submit(SITE, events(9..10), None).unwrap_err();
    assert_eq!(refused, RouteError::Stopping);
    log.finish(0);
    log.proposed(2).await;
    log.finish(1);
    assert_eq!(first.applied().await, Ok(verdicts_of(0..1)));
    assert_eq!(second.applied().await, Ok(verdicts_of(1..2)));
    assert!(stopping.await.unwrap());
}

#[actix_rt::test]
async fn shutdown_answers_everybody_even_when_the_log_is_silent() {
    let (router, log, _) = held_router(narrow()).await;
    let mut proposed = router.submit(SITE, events(0..1), None).unwrap();
    log.proposed(1).await;
    let mut waiting = router.submit(SITE, events(1..2), None).unwrap();
    let command = router
        .command(
            SITE,
            SiteCommand {
                site: 1,
                change: None,
            },
        )
        .unwrap();
    assert!(!router.shutdown(Duration::from_millis(1)).await);
    let error = proposed.committed().await.unwrap_err();
    assert!(error.may_commit(), "{error}");
    assert!(proposed.applied().await.unwrap_err().may_commit());
    assert_eq!(waiting.committed().await, Err(RouteError::Stopping));
    assert_eq!(waiting.applied().await, Err(RouteError::Stopping));
    assert_eq!(command.applied().await, Err(RouteError::Stopping));
    assert_eq!(router.bytes_in_flight(), 0);
}

#[actix_rt::test]
async fn bounds_and_slots_that_cannot_work_are_refused_at_the_start() {
    let start = |options, groups| {
        let routes = vec![local_route(GROUP, HeldLog::new())];
        let slots = SlotTable::even(groups).unwrap();
        let clock = std::sync::Arc::new(SystemClock::new());
        let seams = lone_seams(clock, Spawning::CurrentThread);
        Router::start(options, slots, routes, seams)
    };
    let error = start(RouterOptions::default(), 2).await.err();
    assert_eq!(error, Some(RouteError::UnknownGroup(GroupId(2))));
    let options = RouterOptions {
        bytes_in_flight_max: 1,
        ..RouterOptions::default()
    };
    let error = start(options, 1).await.err().unwrap().to_string();
    assert_eq!(
        error,
        "router option bytes_in_flight_max is 1, it has to be at least 4194304"
    );
    let router = start(RouterOptions::default(), 1).await.unwrap();
    assert!(router.set_slots(SlotTable::even(2).unwrap()).is_err());
    assert!(router.shutdown(DEADLINE).await);
}
