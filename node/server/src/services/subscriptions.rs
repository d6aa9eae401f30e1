//! Events as they are counted, for programs that follow them.
//!
//! Each group of the ring is followed by a task of its own, here or at a node that holds it; one stream takes from all of
//! them and keeps the cursor. Whoever does not take what comes holds up these tasks and nobody else.

mod cursor;
mod event;
mod follower;
mod parked;
mod pieces;
mod running;
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
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{Access, Caller};
use crate::{Partitions, api_error::ApiError, health::Health, wiring::Past};

use cursor::Cursor;
use follower::Follower;
use pieces::{Piece, Wanted};
use running::{Permit, Running};
pub(crate) use service::FeedsService;

/// Subscriptions of one node.
const SUBSCRIPTIONS_MAX: usize = 32;
/// Subscriptions of one key on one node.
const SUBSCRIPTIONS_OF_KEY_MAX: usize = 8;
/// Pieces of a megabyte that wait to be taken; the followers wait then.
const PIECES_MAX: usize = 8;
/// Objects of the archive that are in memory for all subscriptions that this node serves, its own and other nodes'.
pub(crate) const PAST_TURNS: usize = 2;
/// A replica that has heard nothing of its group for so long may lag behind: others are asked first.
const CONTACT_AGE_MAX: Duration = Duration::from_secs(10);
/// How often one who waits looks whether the node stops.
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
    /// Who reads the archive takes one, object by object.
    pub(crate) past_turns: Arc<Semaphore>,
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
        let waits_for_all = matches!(asked.from, Beginning::Now);
        let may_go = watch::Sender::new(!waits_for_all);
        let mut followers = JoinSet::new();
        for group in &groups {
            let after = match (cursor.after(*group), &asked.from) {
                (None, Beginning::Now) => None,
                (after, _) => Some(after.unwrap_or_default()),
            };
            let follower = Follower {
                subscriptions: self.clone(),
                wanted: Wanted {
                    group: *group,
                    site,
                    every_verdict: asked.every_verdict,
                },
                after,
                known: Instant::now(),
                may_go: may_go.subscribe(),
                told: told.clone(),
            };
            followers.spawn(follower.run());
        }
        let running = Running {
            access: self.access.clone(),
            caller: caller.clone(),
            site,
            health: Arc::clone(&self.health),
            pieces,
            cursor,
            may_go,
            unknown: if waits_for_all { groups.len() } else { 0 },
            has_failed: false,
            responded: Instant::now(),
            _followers: followers,
            _permit: permit,
        };
        Ok(stream::unfold(running, |mut running| async {
            let response = running.next().await?;
            Some((response, running))
        }))
    }

    /// True when the replica here may be behind its group without knowing it.
    fn is_cut_off(&self, group: GroupId) -> bool {
        let replica = self.partitions.group(group);
        let age = replica.ok().and_then(|replica| replica.contact_age());
        age.is_none_or(|age| age >= CONTACT_AGE_MAX)
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
        Ok(Permit::new(key, Arc::clone(&self.open)))
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
