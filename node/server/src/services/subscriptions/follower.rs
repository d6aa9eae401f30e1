//! Follows one group for one subscription, here or at a node that holds it, until the subscription ends.

use std::time::Duration;

use prost::Message as _;
use ringtail_history::{EventPosition, HistoryError};
use ringtail_proto::{
    ErrorKind, NodeId,
    wire::{
        peer::{FollowRequest, feeds_client::FeedsClient},
        v1,
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tonic::{Code, Status, transport::Channel};

use super::{
    Piece, Subscriptions, from_wire,
    pieces::{PIECE_WAIT_MAX, Pieces, Wanted},
    to_wire,
};
use crate::api_error::ApiError;

/// Wait before somebody is asked again; each further wait is twice as long.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two attempts.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
/// A subscriber of whose group nobody has known anything for so long is told so.
const INTERRUPTED_MAX: Duration = Duration::from_secs(60);
/// A page comes by then, or its node is not asked any more.
const PAGE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Encoded bytes of a page: a megabyte, and one event of any size.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// What followers tell: a group's piece, or why the subscription ends.
pub(super) type Told = Result<(ringtail_proto::GroupId, Piece), ApiError>;

/// Follows one group.
pub(super) struct Follower {
    pub(super) subscriptions: Subscriptions,
    pub(super) wanted: Wanted,
    /// Behind what was told; none for from now on.
    pub(super) after: Option<EventPosition>,
    /// When it was last known that the group goes on.
    pub(super) known: Instant,
    /// True once events are wanted: before that only where the group is.
    pub(super) may_go: watch::Receiver<bool>,
    pub(super) told: mpsc::Sender<Told>,
}

/// Why following stopped.
enum Stop {
    /// The subscriber has gone.
    NobodyListens,
    /// Who was asked has given up what is asked for; another one may have it.
    Lost(String),
    /// Who was asked cannot go on; another one may, or the same one later.
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
            let before = self.known;
            let error = match self.follow_somewhere().await {
                Stop::NobodyListens => return,
                Stop::Lost(message) => Some(ApiError::new(ErrorKind::NotFound, message)),
                Stop::Interrupted(message) => {
                    let group = self.wanted.group;
                    tracing::debug!(%group, message, "a subscription is interrupted");
                    let is_over = self.known.elapsed() >= INTERRUPTED_MAX;
                    let message = format!("group {group} of the ring does not go on: {message}");
                    is_over.then(|| ApiError::new(ErrorKind::Unavailable, message))
                }
            };
            if let Some(error) = error {
                // Whoever does not listen needs no reason.
                let _ = self.told.send(Err(error)).await;
                return;
            }
            if self.known != before {
                delay = RETRY_DELAY_MIN;
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.told.closed() => return,
            }
            delay = RETRY_DELAY_MAX.min(2 * delay);
        }
    }

    /// Asks one after the other. What is lost at one of them may be had from the next.
    async fn follow_somewhere(&mut self) -> Stop {
        let own = self.subscriptions.node;
        let (mut lost, mut interrupted) = (None, None);
        for node in self.holders() {
            let stopped = match node == own {
                true => self.follow_here().await,
                false => self.follow_at(node).await,
            };
            match stopped {
                Ok(()) => {}
                Err(stop @ Stop::NobodyListens) => return stop,
                Err(stop @ Stop::Lost(_)) => lost = Some(stop),
                Err(stop @ Stop::Interrupted(_)) => interrupted = Some(stop),
            }
        }
        // As long as one that cannot be asked may have it, it is not lost.
        let nobody = || Stop::Interrupted("no node has it".to_owned());
        interrupted.or(lost).unwrap_or_else(nobody)
    }

    /// Who may have the group, in the order in which they are asked.
    fn holders(&self) -> Vec<NodeId> {
        let own = self.subscriptions.node;
        let placement = self.subscriptions.directory.placement();
        let place = placement.get(&self.wanted.group);
        let hosts = place.map(|place| place.hosts.clone());
        let others = hosts.unwrap_or_default().into_iter();
        let mut holders: Vec<NodeId> = others.filter(|node| *node != own).collect();
        if self
            .subscriptions
            .partitions
            .group(self.wanted.group)
            .is_ok()
        {
            match self.subscriptions.is_cut_off(self.wanted.group) {
                true => holders.push(own),
                false => holders.insert(0, own),
            }
        }
        holders
    }

    async fn follow_here(&mut self) -> Result<(), Stop> {
        if self.after.is_none() {
            let through = Pieces::now(&self.subscriptions, self.wanted.group)?;
            self.tell(Piece::at(through), None).await?;
        }
        let after = self.after.unwrap_or_default();
        let mut pieces = Pieces::open(&self.subscriptions, self.wanted, after);
        loop {
            let piece = tokio::select! {
                piece = pieces.next() => piece?,
                () = self.told.closed() => return Err(Stop::NobodyListens),
            };
            if piece.events.is_empty() && self.subscriptions.is_cut_off(self.wanted.group) {
                return Err(Stop::Interrupted("the replica here is cut off".to_owned()));
            }
            self.tell(piece, Some(&mut pieces)).await?;
        }
    }

    async fn follow_at(&mut self, node: NodeId) -> Result<(), Stop> {
        let channel = self.subscriptions.peers.channel(node);
        let channel = channel.ok_or_else(|| Stop::Interrupted("no connection".to_owned()))?;
        let mut client = FeedsClient::new(channel).max_decoding_message_size(PAGE_BYTES_MAX);
        loop {
            let piece = self.page(&mut client).await?;
            self.tell(piece, None).await?;
        }
    }

    async fn page(&self, client: &mut FeedsClient<Channel>) -> Result<Piece, Stop> {
        let request = FollowRequest {
            group: self.wanted.group.0,
            site: self.wanted.site.map_or(0, |site| site.0),
            after: self.after.map(to_wire),
            every_verdict: self.wanted.every_verdict,
        };
        let reply = tokio::select! {
            reply = timeout(PAGE_WAIT_MAX, client.follow(request)) => reply,
            () = self.told.closed() => return Err(Stop::NobodyListens),
        };
        let silent = |_| Stop::Interrupted("it does not answer".to_owned());
        let reply = reply.map_err(silent)??.into_inner();
        let broken = |_| Stop::Interrupted("an answer is broken".to_owned());
        let events = v1::SubscribeResponse::decode(&reply.events[..]).map_err(broken)?;
        let through = reply.through.map(from_wire);
        Ok(Piece {
            events: events.events,
            through: through.ok_or_else(|| Stop::Interrupted("no position".to_owned()))?,
        })
    }

    /// Waits until the piece is taken. Meanwhile what is in memory for the next ones is given up.
    async fn tell(&mut self, piece: Piece, pieces: Option<&mut Pieces>) -> Result<(), Stop> {
        let through = piece.through;
        let room = match timeout(PIECE_WAIT_MAX, self.told.reserve()).await {
            Ok(room) => room,
            Err(_elapsed) => {
                if let Some(pieces) = pieces {
                    pieces.rest();
                }
                self.told.reserve().await
            }
        };
        let room = room.map_err(|_| Stop::NobodyListens)?;
        room.send(Ok((self.wanted.group, piece)));
        self.after = Some(through);
        self.known = Instant::now();
        let waited = self.may_go.wait_for(|may_go| *may_go).await;
        waited.map(drop).map_err(|_| Stop::NobodyListens)
    }
}
