//! What one group's replica here tells, in pieces of bounded size.

use std::{collections::VecDeque, sync::Arc};

use ringtail_history::{EventFeed, EventPosition, Fed, FedSlice, HistoryError};
use ringtail_metadata::Directory;
use ringtail_proto::{GroupId, SiteId, wire::v1};
use tokio::time::Instant;

use super::{SILENCE_MAX, Subscriptions, event};
use crate::SiteMachine;

/// Events of one piece.
const PIECE_EVENTS_MAX: usize = 500;

/// Some events of one group in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) events: Vec<v1::SubscribedEvent>,
    /// The group has told everything up to here.
    pub(super) through: EventPosition,
}

/// Reads pieces from this node.
pub(super) struct Pieces {
    directory: Arc<Directory>,
    feed: EventFeed<SiteMachine>,
    every_verdict: bool,
    position: EventPosition,
    ready: VecDeque<Piece>,
    told: Option<Instant>,
}

impl Pieces {
    /// Behind a position, or from now on.
    pub(super) fn open(
        subscriptions: &Subscriptions,
        group: GroupId,
        site: Option<SiteId>,
        after: Option<EventPosition>,
        every_verdict: bool,
    ) -> Result<Self, HistoryError> {
        let partitions = &subscriptions.partitions;
        let position = match after {
            Some(after) => after,
            None => {
                let applied = *partitions.watch_applied(group)?.borrow();
                let applied = applied.map(|position| position.index);
                EventPosition::end_of(applied.unwrap_or_default())
            }
        };
        let archive = subscriptions.past.archive();
        Ok(Self {
            directory: Arc::clone(&subscriptions.directory),
            feed: EventFeed::new(Arc::clone(partitions), archive, group, site, position),
            every_verdict,
            position,
            ready: VecDeque::new(),
            told: None,
        })
    }

    /// True when the next piece comes out of the archive, of which an object is in memory then.
    pub(super) fn is_past(&self) -> bool {
        self.feed.is_past()
    }

    /// The next piece; the first one comes at once and may be empty.
    pub(super) async fn next(&mut self) -> Result<Piece, HistoryError> {
        if self.told.is_none() {
            return Ok(self.tell(Vec::new()));
        }
        loop {
            if let Some(piece) = self.ready.pop_front() {
                self.position = piece.through;
                return Ok(self.tell(piece.events));
            }
            match self.feed.next().await? {
                Fed::Slice(slice) => self.take(&slice),
                Fed::Nothing(through) => {
                    self.position = self.position.max(through);
                    if self.told.is_none_or(|told| told.elapsed() >= SILENCE_MAX) {
                        return Ok(self.tell(Vec::new()));
                    }
                }
            }
        }
    }

    fn tell(&mut self, events: Vec<v1::SubscribedEvent>) -> Piece {
        self.told = Some(Instant::now());
        Piece {
            events,
            through: self.position,
        }
    }

    fn take(&mut self, slice: &FedSlice) {
        let site = slice.events().map(|events| SiteId(events.site));
        let site = site.and_then(|site| self.directory.site(site));
        let domain = site.as_ref().map_or("", |site| site.domain.as_str());
        let mut piece = Piece::default();
        for (place, code) in slice.codes.iter().enumerate() {
            let position = slice.position(place);
            let is_wanted = self.every_verdict || event::is_counted(*code);
            if position <= self.position || !is_wanted {
                continue;
            }
            piece.events.extend(event::subscribed(domain, slice, place));
            piece.through = position;
            if piece.events.len() >= PIECE_EVENTS_MAX {
                self.ready.push_back(std::mem::take(&mut piece));
            }
        }
        if !piece.events.is_empty() {
            self.ready.push_back(piece);
        }
    }
}
