//! Three routers over real connections: leaders move, connections break, quorums are lost, nodes crash.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use std::time::Duration;

use ringtail_proto::{GroupId, NodeId, SiteId, Verdict, stored::SiteCommand};
use ringtail_router::{Applied, Durability, Leader, RouteError, RouterOptions, Submission};
use support::{
    events,
    ring::{Ring, quick, until},
};

fn accepted(count: usize) -> Applied {
    Applied::Verdicts(vec![Verdict::Accepted; count])
}

#[actix_rt::test]
async fn events_go_to_their_leader_wherever_it_is() {
    let ring = Ring::start(quick()).await;
    let site = ring.site_of(1);
    for (leader, first) in [(1, 0), (2, 10), (3, 20)] {
        ring.groups[0].lead(Some(leader));
        for node in 1..=3u128 {
            let ids = first + node * 2..first + node * 2 + 2;
            let router = ring.router(node as u64);
            let mut submission = router.submit(site, events(ids), None).unwrap();
            assert_eq!(submission.committed().await, Ok(Durability::Quorum));
            assert_eq!(submission.applied().await, Ok(accepted(2)));
        }
    }
    let command = SiteCommand {
        site: site.0,
        change: None,
    };
    let reply = ring.router(1).command(site, command).unwrap();
    assert!(reply.applied().await.is_ok());
    assert_eq!(ring.accepted().len(), 18);
    assert_eq!(ring.groups[0].duplicates(), 0);
    ring.stop().await;
}

#[actix_rt::test]
async fn a_leader_that_moves_under_load_costs_nothing_and_doubles_nothing() {
    let ring = Ring::start(quick()).await;
    let mut submissions: Vec<Submission> = Vec::new();
    let mut next = 0u128;
    for round in 0..30u64 {
        ring.groups[0].lead(Some(round % 3 + 1));
        ring.groups[1].lead(Some((round + 1) % 3 + 1));
        if round % 5 == 0 {
            ring.groups[0].doubt_next(2);
        }
        for node in 1..=3 {
            for site in 1..5 {
                let events = events(next..next + 3);
                next += 3;
                let router = ring.router(node);
                submissions.push(router.submit(SiteId(site), events, None).unwrap());
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for mut submission in submissions {
        submission.committed().await.unwrap();
        submission.applied().await.unwrap();
    }
    ring.until_spools_are_empty().await;
    assert_eq!(ring.accepted(), (0..next).collect());
    ring.stop().await;
}

#[actix_rt::test]
async fn an_entry_in_doubt_goes_again_and_is_known_by_its_ids() {
    let ring = Ring::start(quick()).await;
    let site = ring.site_of(1);
    for node in [1, 2] {
        ring.groups[0].doubt_next(1);
        let first = u128::from(node) * 10;
        let router = ring.router(node);
        let submission = router.submit(site, events(first..first + 4), None).unwrap();
        let again = Applied::Verdicts(vec![Verdict::Duplicate; 4]);
        assert_eq!(submission.applied().await, Ok(again));
    }
    assert_eq!(ring.accepted().len(), 8);
    assert_eq!(ring.groups[0].duplicates(), 8);
    ring.stop().await;
}

#[actix_rt::test]
async fn without_a_way_to_the_leader_events_wait_on_two_disks_and_go_once_it_is_back() {
    let ring = Ring::start(quick()).await;
    let site = ring.site_of(1);
    ring.cut(2, 1, true);
    let router = ring.router(2);
    let mut submission = router.submit(site, events(0..3), None).unwrap();
    assert_eq!(submission.committed().await, Ok(Durability::Spooled));
    assert_eq!(submission.applied().await, Ok(Applied::Pending));
    assert!(!router.is_spool_drained());
    let files_of = |node: u64| {
        let files = ring.nodes[&node].disk.files();
        files
            .into_iter()
            .filter(|path| path.to_string_lossy().contains("0000000000000002-"))
            .count()
    };
    assert_eq!(
        (files_of(2), files_of(3)),
        (1, 1),
        "the third node keeps the copy"
    );
    // Who comes later during the outage does not wait as long again.
    let second = router.submit(site, events(3..5), None).unwrap();
    assert_eq!(second.applied().await, Ok(Applied::Pending));
    assert!(ring.accepted().is_empty());
    ring.cut(2, 1, false);
    ring.until_spools_are_empty().await;
    assert_eq!(ring.accepted(), (0..5).collect());
    until("the copies are gone", || files_of(2) + files_of(3) == 0).await;
    let mut direct = router.submit(site, events(5..6), None).unwrap();
    assert_eq!(direct.committed().await, Ok(Durability::Quorum));
    ring.stop().await;
}

#[actix_rt::test]
async fn a_group_without_a_quorum_stops_no_other() {
    let ring = Ring::start(quick()).await;
    let (dead, live) = (ring.site_of(1), ring.site_of(2));
    ring.groups[0].set_quorum(false);
    for node in 1..=3u128 {
        let router = ring.router(node as u64);
        let stuck = router.submit(dead, events(node..node + 1), None).unwrap();
        let passes = router.submit(live, events(10 + node..11 + node), None);
        assert_eq!(passes.unwrap().applied().await, Ok(accepted(1)));
        assert_eq!(stuck.applied().await, Ok(Applied::Pending));
    }
    ring.groups[0].set_quorum(true);
    ring.until_spools_are_empty().await;
    assert_eq!(ring.accepted().len(), 6);
    ring.stop().await;
}

#[actix_rt::test]
async fn a_node_forwards_no_further_and_says_who_leads() {
    let ring = Ring::start(quick()).await;
    let site = ring.site_of(1);
    // Two nodes that take each other for the leader would pass an entry to and fro for ever.
    ring.groups[0].lead(Some(3));
    ring.groups[0].mislead(1, Leader::Peer(NodeId(2)));
    ring.groups[0].mislead(2, Leader::Peer(NodeId(1)));
    let stuck = ring.router(1).submit(site, events(0..1), None).unwrap();
    assert_eq!(stuck.applied().await, Ok(Applied::Pending));
    assert_eq!(ring.groups[0].entries(), 0);
    ring.groups[0].lead(Some(3));
    ring.until_spools_are_empty().await;
    assert_eq!(ring.accepted().len(), 1);
    ring.stop().await;
}

#[actix_rt::test]
async fn a_crash_leaves_the_spool_and_the_next_start_drains_it() {
    let mut ring = Ring::start(quick()).await;
    let site = ring.site_of(1);
    ring.isolate(2, true);
    let submission = ring.router(2).submit(site, events(0..4), None).unwrap();
    assert_eq!(submission.applied().await, Ok(Applied::Pending));
    for seed in 0..3 {
        ring.restart(2, seed).await;
        assert!(!ring.router(2).is_spool_drained(), "seed {seed}");
    }
    ring.isolate(2, false);
    ring.until_spools_are_empty().await;
    assert_eq!(ring.accepted(), (0..4).collect());
    ring.restart(2, 9).await;
    assert!(ring.router(2).is_spool_drained());
    ring.stop().await;
}

#[actix_rt::test]
async fn a_copy_whose_owner_never_comes_back_is_forwarded_by_its_keeper() {
    let options = RouterOptions {
        spool_adopt_seconds_min: 0,
        ..quick()
    };
    let mut ring = Ring::start(options).await;
    let site = ring.site_of(1);
    ring.cut(2, 1, true);
    let submission = ring.router(2).submit(site, events(0..4), None).unwrap();
    assert_eq!(submission.applied().await, Ok(Applied::Pending));
    drop(ring.crash(2, 1).await);
    until("the keeper forwarded the copy", || {
        ring.accepted() == (0..4).collect()
    })
    .await;
    ring.until_spools_are_empty().await;
    ring.stop().await;
}

#[actix_rt::test]
async fn a_damaged_file_is_set_aside_and_its_copy_is_forwarded() {
    let mut ring = Ring::start(RouterOptions {
        spool_adopt_seconds_min: 1,
        ..quick()
    })
    .await;
    let site = ring.site_of(1);
    ring.groups[0].lead(None);
    let submission = ring.router(2).submit(site, events(0..4), None).unwrap();
    assert_eq!(submission.applied().await, Ok(Applied::Pending));
    let disk = ring.crash(2, 1).await;
    let file = disk.files().into_iter().next().unwrap();
    disk.flip_bit(&file, 60, 3).unwrap();
    ring.start_node(2, disk.clone()).await;
    ring.groups[0].lead(Some(1));
    until("the keeper forwarded the copy", || {
        ring.accepted() == (0..4).collect()
    })
    .await;
    ring.until_spools_are_empty().await;
    let files = disk.files();
    assert!(
        files
            .iter()
            .all(|path| path.to_string_lossy().contains("damaged")),
        "{files:?}"
    );
    ring.stop().await;
}

#[actix_rt::test]
async fn a_full_spool_refuses_and_what_it_holds_is_forwarded() {
    let options = RouterOptions {
        spool_bytes_max: 400,
        ..quick()
    };
    let ring = Ring::start(options).await;
    let site = ring.site_of(1);
    ring.groups[0].lead(None);
    let router = ring.router(1);
    let mut spooled = 0u128;
    let refused = loop {
        let submission = router.submit(site, events(spooled..spooled + 1), None);
        match submission.unwrap().applied().await {
            Ok(Applied::Pending) => spooled += 1,
            other => break other,
        }
        assert!(spooled < 10, "the spool has no bound");
    };
    assert_eq!(
        refused,
        Err(RouteError::SpoolFull {
            group: GroupId(1),
            bytes_max: 400
        })
    );
    assert!(spooled > 0);
    ring.groups[0].lead(Some(2));
    ring.until_spools_are_empty().await;
    assert_eq!(ring.accepted(), (0..spooled).collect());
    ring.stop().await;
}

#[actix_rt::test]
async fn a_replica_comes_and_goes_while_the_node_runs() {
    let ring = Ring::start(quick()).await;
    let site = ring.site_of(1);
    let router = ring.router(1);
    router.set_local(GroupId(1), None).unwrap();
    let error = router.set_local(GroupId(9), None).unwrap_err();
    assert_eq!(error, RouteError::UnknownGroup(GroupId(9)));
    ring.groups[0].lead(Some(2));
    let submission = router.submit(site, events(0..1), None).unwrap();
    assert_eq!(submission.applied().await, Ok(accepted(1)));
    ring.stop().await;
}

#[actix_rt::test]
async fn shutdown_sees_forwarded_entries_through() {
    let ring = Ring::start(quick()).await;
    let site = ring.site_of(1);
    let submissions: Vec<_> = (0..50u128)
        .map(|id| ring.router(2).submit(site, events(id..id + 1), None))
        .collect();
    let router = ring.router(2).clone();
    assert!(router.shutdown(Duration::from_secs(10)).await);
    for submission in submissions {
        assert_eq!(submission.unwrap().applied().await, Ok(accepted(1)));
    }
    assert_eq!(ring.accepted().len(), 50);
}

#[actix_rt::test]
async fn a_node_without_a_replica_finds_the_leader_by_what_others_say() {
    let mut ring = Ring::start(quick()).await;
    ring.guests.insert(3);
    ring.restart(3, 1).await;
    let site = ring.site_of(1);
    for (round, leader) in [(0, 2), (1, 1), (2, 2), (3, 1)] {
        ring.groups[0].lead(Some(leader));
        let router = ring.router(3);
        let submission = router.submit(site, events(round..round + 1), None).unwrap();
        assert_eq!(submission.applied().await, Ok(accepted(1)), "round {round}");
    }
    // The leader falls silent, and the other host takes over.
    ring.cut(3, 1, true);
    ring.groups[0].lead(Some(2));
    let submission = ring.router(3).submit(site, events(9..10), None).unwrap();
    assert_eq!(submission.applied().await, Ok(accepted(1)));
    ring.stop().await;
}

#[actix_rt::test]
async fn a_spool_whose_disk_fails_acknowledges_nothing() {
    let ring = Ring::start(quick()).await;
    let site = ring.site_of(1);
    ring.groups[0].lead(None);
    let router = ring.router(1);
    ring.nodes[&1].disk.set_free_bytes(Some(10));
    let refused = router.submit(site, events(0..1), None).unwrap();
    let refused = refused.applied().await.unwrap_err();
    assert!(
        matches!(refused, RouteError::SpoolFailed { .. }),
        "{refused}"
    );
    ring.nodes[&1].disk.set_free_bytes(None);
    let taken = router.submit(site, events(1..2), None).unwrap();
    assert_eq!(taken.applied().await, Ok(Applied::Pending));
    ring.nodes[&1].disk.fail_syncs();
    let refused = router.submit(site, events(2..3), None).unwrap();
    assert!(refused.applied().await.is_err());
    ring.groups[0].lead(Some(1));
    ring.until_spools_are_empty().await;
    assert_eq!(ring.accepted(), [1].into());
    ring.stop().await;
}
