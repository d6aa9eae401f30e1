//! An open subscription.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use ringtail_proto::{ErrorKind, SiteId, wire::v1};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Access, Caller, LOOK_INTERVAL, cursor::Cursor, follower::Told};
use crate::{api_error::ApiError, health::Health};

/// A subscriber to whom nothing comes is told this often how far it is.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Held as long as a subscription is open.
pub(super) struct Permit {
    key: String,
    /// Open subscriptions by key.
    open: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Permit {
    /// One that is counted already.
    pub(super) fn new(key: String, open: Arc<Mutex<BTreeMap<String, usize>>>) -> Self {
        metrics::gauge!("ringtail_subscriptions").increment(1.0);
        Self { key, open }
    }
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
pub(super) struct Running {
    pub(super) access: Access,
    pub(super) caller: Caller,
    pub(super) site: Option<SiteId>,
    pub(super) health: Arc<Health>,
    pub(super) pieces: mpsc::Receiver<Told>,
    pub(super) cursor: Cursor,
    /// Becomes true once it is known where every group is: a cursor that lacks one would begin with its first event.
    pub(super) may_go: watch::Sender<bool>,
    /// Groups that have to say where they are before events are wanted.
    pub(super) unknown: usize,
    pub(super) has_failed: bool,
    pub(super) responded: Instant,
    pub(super) _followers: JoinSet<()>,
    pub(super) _permit: Permit,
}

impl Running {
    /// The next response: events of one group, or how far all are.
    pub(super) async fn next(&mut self) -> Option<Result<v1::SubscribeResponse, ApiError>> {
        if self.has_failed {
            return None;
        }
        loop {
            // An open stream would hold up the node's end.
            if !self.health.is_ready() {
                return None;
            }
            let told = self.told().await;
            match told {
                Ok(Some(events)) => return Some(Ok(self.respond(events))),
                Ok(None) if self.is_silent() => return Some(Ok(self.respond(Vec::new()))),
                Ok(None) => {}
                Err(error) => {
                    self.has_failed = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// What a group tells, if one does soon.
    async fn told(&mut self) -> Result<Option<Vec<v1::SubscribedEvent>>, ApiError> {
        let told = timeout(LOOK_INTERVAL, self.pieces.recv()).await;
        self.check_caller()?;
        match told {
            Err(_elapsed) => Ok(None),
            Ok(Some(Ok((group, piece)))) => {
                let is_new = self.cursor.note(group, piece.through);
                Ok(self.is_known(is_new).then_some(piece.events))
            }
            Ok(Some(Err(error))) => Err(error),
            // All of them have ended, and one has told why.
            Ok(None) => Err(ApiError::new(ErrorKind::Unavailable, "nobody tells more")),
        }
    }

    /// Counts the groups that have said where they are; true once all have.
    fn is_known(&mut self, is_new: bool) -> bool {
        if is_new {
            self.unknown = self.unknown.saturating_sub(1);
        }
        let is_known = self.unknown == 0;
        if is_known {
            self.may_go.send_replace(true);
        }
        is_known
    }

    /// Events are not for whoever may not see them any more.
    fn check_caller(&self) -> Result<(), ApiError> {
        self.access.check_still(&self.caller)?;
        match self.site.is_none_or(|site| self.access.knows(site)) {
            true => Ok(()),
            false => Err(ApiError::new(ErrorKind::NotFound, "the site is deleted")),
        }
    }

    /// True when it is time to say that the subscription lives: only so a subscriber who is gone is found out.
    fn is_silent(&self) -> bool {
        self.unknown == 0 && self.responded.elapsed() >= SILENCE_MAX
    }

    fn respond(&mut self, events: Vec<v1::SubscribedEvent>) -> v1::SubscribeResponse {
        self.responded = Instant::now();
        v1::SubscribeResponse {
            events,
            cursor: self.cursor.encode(),
        }
    }
}
