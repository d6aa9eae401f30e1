//! Who follows a group's events sees each of them once, in the order of the log, wherever they lie just now.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use ringtail_archive::{Archive, ArchiveOptions, Location, Replay, ReplayItem, Selection};
use ringtail_history::{EventFeed, EventPosition, Fed, FeedSource, HistoryError};
use ringtail_partition::PartitionError;
use ringtail_proto::{LogIndex, SiteId, stored::ArchiveObject};
use support::{GROUP, Ring, RingNode, eager, faults::FaultStore, few_events, tidy, until};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

/// An event with where it stands: index, slice, offset, site, visitor.
type Seen = (u64, u32, u32, u64, u64);

struct Random(u64);

impl Random {
    /// Another one in each run; a failure prints it, and `RINGTAIL_TEST_SEED` takes it back.
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = match std::env::var("RINGTAIL_TEST_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => now.unwrap().as_nanos() as u64 | 1,
        };
        println!("to have the same again: RINGTAIL_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn feed(
    node: &RingNode,
    site: Option<u64>,
    position: EventPosition,
) -> EventFeed<support::Counter> {
    feed_in_turn(node, site, position, &Arc::new(Semaphore::new(1)))
}

fn feed_in_turn(
    node: &RingNode,
    site: Option<u64>,
    position: EventPosition,
    turns: &Arc<Semaphore>,
) -> EventFeed<support::Counter> {
    let source = FeedSource {
        partitions: node.partitions().clone(),
        archive: Some(node.archive.clone()),
        turns: turns.clone(),
    };
    EventFeed::new(source, GROUP, site.map(SiteId), position)
}

/// As soon as may be.
fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

/// As late as may be.
fn some_time() -> Instant {
    Instant::now() + support::PATIENCE
}

/// An archive of which nothing is in memory.
async fn archive_in(store: &FaultStore) -> Archive {
    let options = ArchiveOptions::new(Location::parse("s3://memory").unwrap());
    let store = Arc::new(store.clone());
    Archive::open_store(store, options, "ring").await.unwrap()
}

/// Takes events until there are no more for a moment and the feed is behind this entry.
async fn drain(
    feed: &mut EventFeed<support::Counter>,
    through: LogIndex,
) -> Vec<(EventPosition, u64)> {
    let mut seen = Vec::new();
    until("the feed is through", async || {
        match feed.next(soon()).await.unwrap() {
            Fed::Slice(slice) => {
                for (place, event) in slice.events().unwrap().events.iter().enumerate() {
                    seen.push((slice.position(place), event.visitor));
                }
                false
            }
            Fed::Nothing(position) => position >= EventPosition::end_of(through),
        }
    })
    .await;
    seen
}

/// Takes some events, at most so many, then goes away in the middle of whatever it has.
async fn take(
    node: &RingNode,
    site: Option<u64>,
    position: &mut EventPosition,
    seen: &mut Vec<Seen>,
    most: u64,
) -> Result<(), HistoryError> {
    let mut feed = feed(node, site, *position);
    let mut left = most;
    while left > 0 {
        let until = Instant::now() + Duration::from_secs(2);
        let slice = match feed.next(until).await? {
            Fed::Nothing(through) => {
                assert!(through >= *position);
                *position = through;
                let applied = node.partitions().group(GROUP).unwrap().applied();
                let is_all = applied.is_none_or(|applied| applied.index <= through.index);
                // Whoever waits goes away, too.
                if is_all || Instant::now() >= until {
                    return Ok(());
                }
                continue;
            }
            Fed::Slice(slice) => slice,
        };
        let events = slice.events().unwrap();
        for (place, event) in events.events.iter().enumerate() {
            let at = slice.position(place);
            if at <= *position || left == 0 {
                continue;
            }
            *position = at;
            seen.push((at.index.0, at.slice, at.offset, events.site, event.visitor));
            left -= 1;
        }
    }
    Ok(())
}

/// All that the archive holds of the group, or of a site of it.
async fn archived(node: &RingNode, site: Option<u64>) -> Vec<Seen> {
    let objects: Vec<ArchiveObject> = node.objects().into_values().collect();
    let selection = Selection {
        site: site.map(SiteId),
        ..Selection::default()
    };
    let mut replay = Replay::events_only(node.archive.clone(), &objects, selection).unwrap();
    let mut all = Vec::new();
    while let Some(item) = replay.next().await.unwrap() {
        let ReplayItem::Events(slice) = item else {
            unreachable!()
        };
        let site = slice.events().unwrap();
        for (event, offset) in site.events.iter().zip(&slice.offsets) {
            let at = (slice.entry.index.0, slice.slice, *offset);
            all.push((at.0, at.1, at.2, site.site, event.visitor));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_comes_back_at_any_event_sees_each_once_while_objects_are_merged_and_the_log_goes()
 {
    let ring = Ring::new(tidy());
    let node = ring.found().await;
    let mut random = Random::new();
    let site = node.sites()[0];
    let mut whole = (EventPosition::default(), Vec::new());
    let mut one = (EventPosition::default(), Vec::new());
    for visitor in 1..15 {
        node.submit(visitor..visitor + 1).await;
        match random.below(3) {
            0 => node.seal().await,
            1 => node.settle().await,
            _ => {}
        }
        let most = random.below(60);
        take(&node, None, &mut whole.0, &mut whole.1, most)
            .await
            .unwrap();
        take(&node, Some(site), &mut one.0, &mut one.1, random.below(4))
            .await
            .unwrap();
    }
    node.seal().await;
    for (site, (position, seen)) in [(None, &mut whole), (Some(site), &mut one)] {
        let expected = archived(&node, site).await;
        assert_eq!(
            expected.len(),
            if site.is_some() {
                28
            } else {
                28 * node.sites().len()
            }
        );
        until("it has caught up", async || {
            take(&node, site, position, seen, 1_000).await.unwrap();
            seen.len() >= expected.len()
        })
        .await;
        assert_eq!(*seen, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_goes_from_node_to_node_over_a_change_of_leaders() {
    let ring = Ring::new(eager());
    let nodes = ring.found_three().await;
    let mut random = Random::new();
    let (mut position, mut seen) = (EventPosition::default(), Vec::new());
    for visitor in 1..13 {
        RingNode::submit_by_any(&nodes, visitor).await;
        match random.below(4) {
            0 => RingNode::seal_by_any(&nodes).await,
            1 => RingNode::lead_by_another(&nodes).await,
            2 => nodes[random.below(3) as usize].settle().await,
            _ => {}
        }
        for node in &nodes {
            node.archivist.run_once(false).await;
        }
        // One that is asked may be behind: what it does not have yet is waited for elsewhere.
        let node = &nodes[random.below(3) as usize];
        let most = random.below(40);
        match take(node, None, &mut position, &mut seen, most).await {
            Ok(()) | Err(HistoryError::Partition(PartitionError::NotWhole(_))) => {}
            // Sealed elsewhere, and not fetched yet.
            Err(HistoryError::Archive(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    RingNode::seal_by_any(&nodes).await;
    until("the first node has all of it", async || {
        nodes[0].archivist.run_once(false).await;
        let objects = nodes[0].objects();
        let unheld = nodes[0].partitions().unheld(GROUP).unwrap();
        nodes.iter().all(|node| node.objects() == objects) && unheld.is_empty()
    })
    .await;
    let expected = archived(&nodes[0], None).await;
    assert_eq!(expected.len(), 24 * nodes[0].sites().len());
    until("it has caught up", async || {
        take(&nodes[0], None, &mut position, &mut seen, 1_000)
            .await
            .unwrap();
        seen.len() >= expected.len()
    })
    .await;
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_of_what_comes() {
    let ring = Ring::new(eager());
    let node = ring.found().await;
    let waits = AtomicBool::new(false);
    let (mut position, mut seen) = (EventPosition::default(), Vec::new());
    let follow = async {
        let mut feed = feed(&node, None, position);
        while seen.len() < 2 * node.sites().len() {
            waits.store(true, Ordering::Relaxed);
            if let Fed::Slice(slice) = feed.next(some_time()).await.unwrap() {
                for place in 0..slice.codes.len() {
                    assert!(slice.position(place) > position);
                    position = slice.position(place);
                    seen.push(position);
                }
            }
        }
    };
    let submit = async {
        until("it waits", async || waits.load(Ordering::Relaxed)).await;
        node.submit(1..2).await;
    };
    timeout(support::PATIENCE, async { tokio::join!(follow, submit) })
        .await
        .expect("the events come");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_waiting_while_an_object_is_read_misses_none_of_it() {
    let ring = Ring::new(few_events(8));
    let store = FaultStore::new();
    let archive = archive_in(&store).await;
    let node = ring.start_over(1, &[GROUP], archive).await;
    node.initialize().await;
    node.submit(1..7).await;
    node.seal().await;
    let expected = archived(&node, None).await;
    assert!(node.objects().len() > 2);
    let source = FeedSource {
        partitions: node.partitions().clone(),
        archive: Some(Arc::new(archive_in(&store).await)),
        turns: Arc::new(Semaphore::new(1)),
    };
    let mut feed = EventFeed::new(source, GROUP, None, EventPosition::default());
    let mut seen = Vec::new();
    let reads = store.hold_reads().await;
    for _ in 0..3 {
        let told = feed.next(soon()).await.unwrap();
        assert_eq!(
            told,
            Fed::Nothing(EventPosition::default()),
            "not even behind the object"
        );
        let dropped = timeout(Duration::from_millis(5), feed.next(some_time())).await;
        assert!(dropped.is_err());
    }
    drop(reads);
    until("all of it has come", async || {
        // Each time somebody else's patience ends, wherever it is.
        let told = timeout(Duration::from_micros(300), feed.next(some_time())).await;
        if let Ok(Fed::Slice(slice)) = told.map(Result::unwrap) {
            let site = slice.events().unwrap();
            for (place, event) in site.events.iter().enumerate() {
                let at = slice.position(place);
                seen.push((at.index.0, at.slice, at.offset, site.site, event.visitor));
            }
        }
        seen.last() >= expected.last()
    })
    .await;
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_of_the_past_is_in_memory_for_all_feeds_and_who_rests_lets_the_next_one_read() {
    let ring = Ring::new(few_events(8));
    let node = ring.found().await;
    node.submit(1..5).await;
    node.seal().await;
    let sealed = node
        .partitions()
        .archive_state(GROUP)
        .unwrap()
        .sealed
        .unwrap();
    let turns = Arc::new(Semaphore::new(1));
    let open = || feed_in_turn(&node, None, EventPosition::default(), &turns);
    let (mut slow, mut other) = (open(), open());
    let Fed::Slice(first) = slow.next(some_time()).await.unwrap() else {
        panic!("the past begins with events")
    };
    assert_eq!(turns.available_permits(), 0);
    let told = other.next(soon()).await.unwrap();
    assert_eq!(
        told,
        Fed::Nothing(EventPosition::default()),
        "it waits for its turn"
    );
    slow.rest();
    let whole = drain(&mut other, sealed).await;
    assert_eq!(
        turns.available_permits(),
        1,
        "who waits for what comes holds nothing"
    );
    let rest = drain(&mut slow, sealed).await;
    let taken = first.events().unwrap().events.len();
    assert_eq!(whole[taken..], rest);
    assert_eq!(whole.len(), 8 * node.sites().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_last_event_of_an_entry_nothing_of_the_entry_is_needed_any_more() {
    let ring = Ring::new(eager());
    let node = ring.found().await;
    node.submit(1..3).await;
    let mut ends = Vec::new();
    for _ in 0..2 {
        let mut feed = feed(&node, None, EventPosition::default());
        let mut told = Vec::new();
        while told.len() < 2 * node.sites().len() {
            if let Fed::Slice(slice) = feed.next(some_time()).await.unwrap() {
                assert!(slice.end().is_end(), "an entry of one slice");
                assert!(slice.end() > slice.position(slice.codes.len() - 1));
                told.push(slice.end());
            }
        }
        ends.push(told);
        node.seal().await;
    }
    assert_eq!(ends[0], ends[1], "out of the log and out of the archive");
}
