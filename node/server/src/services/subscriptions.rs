//! Events as they are counted, for programs that follow them.
//!
//! Each group of the ring is followed by a task of its own, here or at a node that holds it; one stream takes from all of
//! them and keeps the cursor. Whoever does not take what comes holds up these tasks and nobody else.

mod cursor;
mod event;
mod follower;
mod pieces;
mod service;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use parking_lot::Mutex;
use ringtail_history::EventPosition;
use ringtail_metadata::{Directory, Scope};
use ringtail_peers::Peers;
use ringtail_proto::{ErrorKind, GroupId, NodeId, SiteId, wire::v1};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Access, Caller};
use crate::{Partitions, api_error::ApiError, health::Health, wiring::Past};

use cursor::Cursor;
use follower::{Follower, Told};
use pieces::Piece;
pub(crate) use service::FeedsService;

/// Subscriptions of one node: each holds some events, and at most one object of the archive.
const SUBSCRIPTIONS_MAX: usize = 32;
/// Subscriptions of one key on one node.
const SUBSCRIPTIONS_OF_KEY_MAX: usize = 8;
/// Pieces that wait to be taken; the followers wait then.
const PIECES_MAX: usize = 8;
/// A subscriber to whom nothing comes is told this often how far it is.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Events that are held back until every group has said where it is.
const HELD_EVENTS_MAX: usize = 10_000;
/// How often a stream without events looks whether the node stops.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Lets callers follow events.
#[derive(Clone)]
pub(crate) struct Subscriptions {
    pub(crate) access: Access,
    pub(crate) health: Arc<Health>,
    pub(crate) node: NodeId,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) past: Past,
    pub(crate) directory: Arc<Directory>,
    pub(crate) peers: Peers,
    /// Open subscriptions by key.
    pub(crate) open: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// What a caller asks for.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Domain; none for all sites.
    pub(crate) site: Option<String>,
    pub(crate) from: Beginning,
    /// Also what was not counted.
    pub(crate) every_verdict: bool,
}

/// Where a subscription begins.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// At the first event that there is.
    First,
    /// With what comes.
    Now,
    /// Behind what was delivered.
    Cursor(Bytes),
}

impl Subscriptions {
    /// Events from where the caller wants them, without an end: the stream ends when the node stops, or with an error.
    pub(crate) fn subscribe(
        &self,
        caller: &Caller,
        asked: Subscription,
    ) -> Result<impl Stream<Item = Result<v1::SubscribeResponse, ApiError>> + Send + use<>, ApiError>
    {
        let site = match &asked.site {
            Some(domain) => Some(self.access.site(caller, Scope::Read, domain)?.id),
            None => {
                caller.require(Scope::Admin, None)?;
                None
            }
        };
        let permit = self.permit(caller)?;
        let groups = self.groups(site);
        let cursor = match &asked.from {
            Beginning::First | Beginning::Now => Cursor::new(site),
            Beginning::Cursor(bytes) => Cursor::decode(bytes, site)?,
        };
        let (told, pieces) = mpsc::channel(PIECES_MAX);
        let past_turn = Arc::new(Semaphore::new(1));
        let mut followers = JoinSet::new();
        for group in &groups {
            let after = match (cursor.after(*group), &asked.from) {
                (None, Beginning::Now) => None,
                (after, _) => Some(after.unwrap_or_default()),
            };
            let follower = Follower {
                subscriptions: self.clone(),
                group: *group,
                site,
                every_verdict: asked.every_verdict,
                after,
                past_turn: Arc::clone(&past_turn),
                told: told.clone(),
            };
            followers.spawn(follower.run());
        }
        let running = Running {
            health: Arc::clone(&self.health),
            pieces,
            cursor,
            // A cursor that lacks a group would begin with the group's first event.
            unknown: groups.len(),
            waits_for_all: matches!(asked.from, Beginning::Now),
            has_failed: false,
            events: Vec::new(),
            responded: Instant::now(),
            _followers: followers,
            _permit: permit,
        };
        Ok(stream::unfold(running, |mut running| async {
            let response = running.next().await?;
            Some((response, running))
        }))
    }

    fn groups(&self, site: Option<SiteId>) -> Vec<GroupId> {
        match site {
            Some(site) => vec![self.partitions.slots().group_of(site)],
            None => {
                let placement = self.directory.placement();
                let groups = placement.keys().copied();
                groups.filter(|group| *group != GroupId(0)).collect()
            }
        }
    }

    fn permit(&self, caller: &Caller) -> Result<Permit, ApiError> {
        let key = caller.name();
        let mut open = self.open.lock();
        let all: usize = open.values().sum();
        let own = open.get(&key).copied().unwrap_or_default();
        if all >= SUBSCRIPTIONS_MAX || own >= SUBSCRIPTIONS_OF_KEY_MAX {
            let message = format!(
                "{all} subscriptions are open on this node, {own} of them with this key; \
                 {SUBSCRIPTIONS_MAX} and {SUBSCRIPTIONS_OF_KEY_MAX} may be"
            );
            return Err(ApiError::new(ErrorKind::Overloaded, message));
        }
        *open.entry(key.clone()).or_default() += 1;
        metrics::gauge!("ringtail_subscriptions").increment(1.0);
        Ok(Permit {
            key,
            open: Arc::clone(&self.open),
        })
    }
}

/// Held as long as a subscription is open.
struct Permit {
    key: String,
    open: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        metrics::gauge!("ringtail_subscriptions").decrement(1.0);
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// An open subscription.
struct Running {
    health: Arc<Health>,
    pieces: mpsc::Receiver<Told>,
    cursor: Cursor,
    /// Groups that have told nothing yet.
    unknown: usize,
    waits_for_all: bool,
    has_failed: bool,
    /// Not delivered yet.
    events: Vec<v1::SubscribedEvent>,
    responded: Instant,
    _followers: JoinSet<()>,
    _permit: Permit,
}

impl Running {
    async fn next(&mut self) -> Option<Result<v1::SubscribeResponse, ApiError>> {
        if self.has_failed {
            return None;
        }
        loop {
            // An open stream would hold up the node's end.
            if !self.health.is_ready() {
                return None;
            }
            let told = match timeout(LOOK_INTERVAL, self.pieces.recv()).await {
                Ok(told) => told?,
                Err(_elapsed) if self.is_silent() => return Some(Ok(self.respond())),
                Err(_elapsed) => continue,
            };
            let noted = told.and_then(|(group, piece)| self.note(group, piece));
            match noted {
                Ok(()) if self.unknown > 0 && self.waits_for_all => {}
                Ok(()) => return Some(Ok(self.respond())),
                Err(error) => {
                    self.has_failed = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// True when it is time to say that the subscription lives: only so a subscriber who is gone is found out.
    fn is_silent(&self) -> bool {
        let is_known = self.unknown == 0 || !self.waits_for_all;
        is_known && self.responded.elapsed() >= SILENCE_MAX
    }

    fn note(&mut self, group: GroupId, piece: Piece) -> Result<(), ApiError> {
        let Piece { events, through } = piece;
        if self.cursor.note(group, through) {
            self.unknown = self.unknown.saturating_sub(1);
        }
        self.events.extend(events);
        match self.events.len() <= HELD_EVENTS_MAX {
            true => Ok(()),
            false => Err(ApiError::new(
                ErrorKind::Unavailable,
                "a group of the ring does not say where it is now, try again",
            )),
        }
    }

    fn respond(&mut self) -> v1::SubscribeResponse {
        self.responded = Instant::now();
        v1::SubscribeResponse {
            events: std::mem::take(&mut self.events),
            cursor: self.cursor.encode(),
        }
    }
}

/// The position of peers as the wire has it.
const fn to_wire(position: EventPosition) -> ringtail_proto::wire::peer::FeedPosition {
    ringtail_proto::wire::peer::FeedPosition {
        index: position.index.0,
        slice: position.slice,
        offset: position.offset,
    }
}

/// What [`to_wire`] wrote.
const fn from_wire(position: ringtail_proto::wire::peer::FeedPosition) -> EventPosition {
    EventPosition {
        index: ringtail_proto::LogIndex(position.index),
        slice: position.slice,
        offset: position.offset,
    }
}
