//! Follows one group for one subscription, here or at a node that holds it, until the subscription ends.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt as _;
use prost::Message as _;
use ringtail_history::{EventPosition, HistoryError};
use ringtail_proto::{
    ErrorKind, GroupId, NodeId, SiteId,
    wire::{
        peer::{FollowRequest, feeds_client::FeedsClient},
        v1,
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::{Code, Status};

use super::{Piece, Subscriptions, from_wire, pieces::Pieces, to_wire};
use crate::api_error::ApiError;

/// Wait before somebody is asked again; each further wait is twice as long.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two attempts.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
/// Bytes of a piece.
const PIECE_BYTES_MAX: usize = 64 << 20;

/// What followers tell: a group's piece, or why the subscription ends.
pub(super) type Told = Result<(GroupId, Piece), ApiError>;

/// Follows one group.
pub(super) struct Follower {
    pub(super) subscriptions: Subscriptions,
    pub(super) group: GroupId,
    pub(super) site: Option<SiteId>,
    pub(super) every_verdict: bool,
    /// Behind what was told; none for from now on.
    pub(super) after: Option<EventPosition>,
    /// Of all groups of the subscription, one reads the archive at a time.
    pub(super) past_turn: Arc<Semaphore>,
    pub(super) told: mpsc::Sender<Told>,
}

/// Why following stopped.
enum Stop {
    /// The subscriber has gone.
    NobodyListens,
    /// No node can tell what is asked for.
    Lost(String),
    /// This node cannot go on; another one may, or this one later.
    Interrupted(String),
}

impl From<HistoryError> for Stop {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Gone { .. } => Self::Lost(error.to_string()),
            other => Self::Interrupted(other.to_string()),
        }
    }
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::OutOfRange => Self::Lost(status.message().to_owned()),
            _ => Self::Interrupted(status.message().to_owned()),
        }
    }
}

impl Follower {
    /// Goes on wherever the group is, until nobody listens any more.
    pub(super) async fn run(mut self) {
        let mut delay = RETRY_DELAY_MIN;
        loop {
            let before = self.after;
            match self.follow_somewhere().await {
                Stop::NobodyListens => return,
                Stop::Lost(message) => {
                    let error = ApiError::new(ErrorKind::NotFound, message);
                    // Whoever does not listen needs no reason.
                    let _ = self.told.send(Err(error)).await;
                    return;
                }
                Stop::Interrupted(message) => {
                    tracing::debug!(group = %self.group, message, "a subscription is interrupted");
                }
            }
            if self.after != before {
                delay = RETRY_DELAY_MIN;
            }
            tokio::time::sleep(delay).await;
            delay = RETRY_DELAY_MAX.min(2 * delay);
        }
    }

    async fn follow_somewhere(&mut self) -> Stop {
        if self.subscriptions.partitions.group(self.group).is_ok() {
            match self.follow_here().await {
                Err(Stop::Interrupted(_)) | Ok(()) => {}
                Err(stop) => return stop,
            }
        }
        let mut last = Stop::Interrupted("no node has the group".to_owned());
        for node in self.holders() {
            match self.follow_at(node).await {
                Err(stop @ Stop::Interrupted(_)) => last = stop,
                Err(stop) => return stop,
                Ok(()) => {}
            }
        }
        last
    }

    fn holders(&self) -> Vec<NodeId> {
        let placement = self.subscriptions.directory.placement();
        let hosts = placement.get(&self.group).map(|place| place.hosts.clone());
        let hosts = hosts.unwrap_or_default().into_iter();
        hosts
            .filter(|node| *node != self.subscriptions.node)
            .collect()
    }

    async fn follow_here(&mut self) -> Result<(), Stop> {
        let mut pieces = Pieces::open(
            &self.subscriptions,
            self.group,
            self.site,
            self.after,
            self.every_verdict,
        )?;
        let mut turn: Option<OwnedSemaphorePermit> = None;
        loop {
            match pieces.is_past() {
                false => turn = None,
                true if turn.is_none() => {
                    turn = Arc::clone(&self.past_turn).acquire_owned().await.ok();
                }
                true => {}
            }
            let piece = tokio::select! {
                piece = pieces.next() => piece?,
                () = self.told.closed() => return Err(Stop::NobodyListens),
            };
            self.tell(piece).await?;
        }
    }

    async fn follow_at(&mut self, node: NodeId) -> Result<(), Stop> {
        let channel = self.subscriptions.peers.channel(node);
        let channel = channel.ok_or_else(|| Stop::Interrupted("no connection".to_owned()))?;
        let mut client = FeedsClient::new(channel).max_decoding_message_size(PIECE_BYTES_MAX);
        let request = FollowRequest {
            group: self.group.0,
            site: self.site.map_or(0, |site| site.0),
            after: self.after.map(to_wire),
            every_verdict: self.every_verdict,
        };
        let mut replies = client.follow(request).await?.into_inner();
        loop {
            let reply = tokio::select! {
                reply = replies.try_next() => reply?,
                () = self.told.closed() => return Err(Stop::NobodyListens),
            };
            let Some(reply) = reply else { return Ok(()) };
            let broken = |_| Stop::Interrupted("an answer is broken".to_owned());
            let events = v1::SubscribeResponse::decode(&reply.events[..]).map_err(broken)?;
            let through = reply.through.map(from_wire);
            let through = through.ok_or_else(|| Stop::Interrupted("no position".to_owned()))?;
            self.tell(Piece {
                events: events.events,
                through,
            })
            .await?;
        }
    }

    async fn tell(&mut self, piece: Piece) -> Result<(), Stop> {
        let through = piece.through;
        let told = self.told.send(Ok((self.group, piece))).await;
        told.map_err(|_| Stop::NobodyListens)?;
        self.after = Some(through);
        Ok(())
    }
}
