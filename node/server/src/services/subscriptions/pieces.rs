//! What one group's replica here tells, in pieces of bounded size.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use ringtail_history::{EventFeed, EventPosition, Fed, FedSlice, FeedSource, HistoryError};
use ringtail_metadata::Directory;
use ringtail_proto::{GroupId, SiteId, wire::v1};
use tokio::time::Instant;

use super::{Subscriptions, event};
use crate::SiteMachine;

/// Events of one piece.
const PIECE_EVENTS_MAX: usize = 500;
/// Encoded bytes of a piece, but at least one event.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// Whoever waits is told this often how far the group is.
pub(super) const PIECE_WAIT_MAX: Duration = Duration::from_secs(10);

/// What somebody wants to know of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub(super) group: GroupId,
    /// None for all sites of the group.
    pub(super) site: Option<SiteId>,
    /// Also what was not counted.
    pub(super) every_verdict: bool,
}

/// Some events of one group in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) events: Vec<v1::SubscribedEvent>,
    /// The group has told everything up to here.
    pub(super) through: EventPosition,
}

impl Piece {
    /// Nothing but where a group is.
    pub(super) const fn at(through: EventPosition) -> Self {
        Self {
            events: Vec::new(),
            through,
        }
    }
}

/// Reads pieces from this node.
pub(super) struct Pieces {
    directory: Arc<Directory>,
    feed: EventFeed<SiteMachine>,
    every_verdict: bool,
    /// Everything up to here is in pieces that were told, or in the one that is being made.
    position: EventPosition,
    /// Some of its events are behind `position`.
    slice: Option<FedSlice>,
}

/// A piece that is being made.
#[derive(Default)]
struct Growing {
    events: Vec<v1::SubscribedEvent>,
    bytes: usize,
}

impl Growing {
    const fn is_full(&self) -> bool {
        self.events.len() >= PIECE_EVENTS_MAX || self.bytes >= PIECE_BYTES_MAX
    }

    fn add(&mut self, event: v1::SubscribedEvent) {
        self.bytes += event.encoded_len();
        self.events.push(event);
    }
}

impl Pieces {
    /// Where a group is now.
    pub(super) fn now(
        subscriptions: &Subscriptions,
        group: GroupId,
    ) -> Result<EventPosition, HistoryError> {
        let applied = *subscriptions.partitions.watch_applied(group)?.borrow();
        let applied = applied.map(|position| position.index);
        Ok(EventPosition::end_of(applied.unwrap_or_default()))
    }

    /// Behind a position.
    pub(super) fn open(
        subscriptions: &Subscriptions,
        wanted: Wanted,
        after: EventPosition,
    ) -> Self {
        let source = FeedSource {
            partitions: Arc::clone(&subscriptions.partitions),
            archive: subscriptions.past.archive(),
            turns: Arc::clone(&subscriptions.past_turns),
        };
        Self {
            directory: Arc::clone(&subscriptions.directory),
            feed: EventFeed::new(source, wanted.group, wanted.site, after),
            every_verdict: wanted.every_verdict,
            position: after,
            slice: None,
        }
    }

    /// Whoever listens does not take what comes: what can be read again is given up.
    pub(super) fn rest(&mut self) {
        self.feed.rest();
    }

    /// The next piece: as soon as there is an event, and an empty one when none comes for a while. A position that is told
    /// without events may be where it was.
    pub(super) async fn next(&mut self) -> Result<Piece, HistoryError> {
        let deadline = Instant::now() + PIECE_WAIT_MAX;
        let mut piece = Growing::default();
        loop {
            self.take(&mut piece);
            if piece.is_full() {
                break;
            }
            let until = match piece.events.is_empty() {
                true => deadline,
                // What is there already comes along.
                false => Instant::now(),
            };
            match self.feed.next(until).await? {
                Fed::Slice(slice) => self.slice = Some(slice),
                Fed::Nothing(through) => {
                    let was_amid = !self.position.is_end();
                    self.position = self.position.max(through);
                    // Who is amid an entry would miss it once its log has gone.
                    if !piece.events.is_empty() || was_amid && self.position.is_end() {
                        break;
                    }
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Ok(Piece {
            events: piece.events,
            through: self.position,
        })
    }

    /// Takes what finds room, and moves on behind what is not wanted.
    fn take(&mut self, piece: &mut Growing) {
        let Some(slice) = &self.slice else { return };
        let site = slice.events().map(|events| SiteId(events.site));
        let site = site.and_then(|site| self.directory.site(site));
        let domain = site.as_ref().map_or("", |site| site.domain.as_str());
        for (place, code) in slice.codes.iter().enumerate() {
            let position = slice.position(place);
            let is_wanted = self.every_verdict || event::is_counted(*code);
            if position <= self.position || !is_wanted {
                continue;
            }
            if piece.is_full() {
                return;
            }
            if let Some(event) = event::subscribed(domain, slice, place) {
                piece.add(event);
            }
            self.position = position;
        }
        self.position = self.position.max(slice.end());
        self.slice = None;
    }
}
