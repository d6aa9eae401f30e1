//! Who follows a group's events sees each of them once, in the order of the log, wherever they lie just now.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use ringtail_archive::{Replay, ReplayItem, Selection};
use ringtail_history::{EventFeed, EventPosition, Fed, HistoryError};
use ringtail_partition::PartitionError;
use ringtail_proto::{SiteId, stored::ArchiveObject};
use support::{GROUP, Ring, RingNode, eager, tidy, until};
use tokio::time::timeout;

/// An event with where it stands: index, slice, offset, site, visitor.
type Seen = (u64, u32, u32, u64, u64);

struct Random(u64);

impl Random {
    /// Another one in each run; a failure prints it.
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = now.unwrap().as_nanos() as u64 | 1;
        println!("seed {seed}");
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
    let (partitions, archive) = (node.partitions().clone(), node.archive.clone());
    EventFeed::new(partitions, Some(archive), GROUP, site.map(SiteId), position)
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
        // As if nothing more came: whoever waits goes away, too.
        let Ok(fed) = timeout(Duration::from_millis(200), feed.next()).await else {
            return Ok(());
        };
        let slice = match fed? {
            Fed::Nothing(through) => {
                assert!(through >= *position);
                *position = through;
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
    let mut leader = 0;
    for visitor in 1..13 {
        nodes[leader].submit(visitor..visitor + 1).await;
        match random.below(4) {
            0 => nodes[leader].seal().await,
            1 => {
                let next = (leader + 1) % 3;
                nodes[next].lead(&nodes[leader]).await;
                leader = next;
            }
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
    nodes[leader].seal().await;
    let expected = archived(&nodes[leader], None).await;
    assert_eq!(expected.len(), 24 * nodes[0].sites().len());
    until("it has caught up", async || {
        take(&nodes[leader], None, &mut position, &mut seen, 1_000)
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
            if let Fed::Slice(slice) = feed.next().await.unwrap() {
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
