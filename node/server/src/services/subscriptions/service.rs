//! What this node tells other nodes of the groups that it holds. It never asks further.

use std::sync::Arc;

use prost::Message as _;
use ringtail_history::{EventPosition, HistoryError};
use ringtail_proto::{
    GroupId, SiteId,
    wire::{
        peer::{
            FollowReply, FollowRequest,
            feeds_server::{Feeds, FeedsServer},
        },
        v1,
    },
};
use tokio::{sync::Semaphore, time::sleep};
use tonic::{Request, Response, Status};

use super::{
    LOOK_INTERVAL, Subscriptions, from_wire,
    parked::Parked,
    pieces::{Piece, Pieces, Wanted},
    to_wire,
};

/// Pages that other nodes wait for at once.
const PAGES_AT_ONCE_MAX: usize = 1_024;

/// Answers nodes of the ring.
pub(crate) struct FeedsService {
    subscriptions: Subscriptions,
    parked: Arc<Parked>,
    pages: Semaphore,
}

impl FeedsService {
    /// Over what is here.
    pub(crate) fn new(subscriptions: Subscriptions) -> Self {
        Self {
            subscriptions,
            parked: Arc::default(),
            pages: Semaphore::new(PAGES_AT_ONCE_MAX),
        }
    }

    pub(crate) fn server(self) -> FeedsServer<Self> {
        FeedsServer::new(self)
    }

    async fn page(&self, wanted: Wanted, after: EventPosition) -> Result<Piece, Status> {
        let parked = self.parked.take((wanted, after));
        let mut pieces = parked.unwrap_or_else(|| Pieces::open(&self.subscriptions, wanted, after));
        let page = {
            let mut next = std::pin::pin!(pieces.next());
            loop {
                // One that waits would hold up the node's end.
                if !self.subscriptions.health.is_ready() {
                    return Err(Status::unavailable("the node stops"));
                }
                tokio::select! {
                    page = &mut next => break page,
                    () = sleep(LOOK_INTERVAL) => {}
                }
            }
        };
        let page = page.map_err(|error| refuse(&error))?;
        if page.events.is_empty() && self.subscriptions.is_cut_off(wanted.group) {
            return Err(Status::unavailable("the replica is cut off"));
        }
        self.parked.put((wanted, page.through), pieces);
        Ok(page)
    }
}

#[tonic::async_trait]
impl Feeds for FeedsService {
    async fn follow(
        &self,
        request: Request<FollowRequest>,
    ) -> Result<Response<FollowReply>, Status> {
        let Ok(_permit) = self.pages.try_acquire() else {
            let message = format!("{PAGES_AT_ONCE_MAX} pages are waited for here already");
            return Err(Status::resource_exhausted(message));
        };
        let asked = request.into_inner();
        let wanted = Wanted {
            group: GroupId(asked.group),
            site: (asked.site != 0).then_some(SiteId(asked.site)),
            every_verdict: asked.every_verdict,
        };
        let page = match asked.after {
            Some(after) => self.page(wanted, from_wire(after)).await?,
            None => {
                let through = Pieces::now(&self.subscriptions, wanted.group);
                Piece::at(through.map_err(|error| refuse(&error))?)
            }
        };
        let events = v1::SubscribeResponse {
            events: page.events,
            cursor: Vec::new(),
        };
        Ok(Response::new(FollowReply {
            events: events.encode_to_vec().into(),
            through: Some(to_wire(page.through)),
        }))
    }
}

fn refuse(error: &HistoryError) -> Status {
    match error {
        HistoryError::Gone { .. } => Status::out_of_range(error.to_string()),
        other => Status::unavailable(other.to_string()),
    }
}
