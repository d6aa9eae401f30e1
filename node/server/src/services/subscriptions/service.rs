//! What this node tells other nodes of the groups that it holds. It never asks further.

use futures::{StreamExt as _, stream, stream::BoxStream};
use prost::Message as _;
use ringtail_history::HistoryError;
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
use tonic::{Request, Response, Status};

use super::{Subscriptions, from_wire, pieces::Pieces, to_wire};

/// Answers nodes of the ring.
pub(crate) struct FeedsService {
    pub(crate) subscriptions: Subscriptions,
}

impl FeedsService {
    pub(crate) fn server(self) -> FeedsServer<Self> {
        FeedsServer::new(self)
    }
}

#[tonic::async_trait]
impl Feeds for FeedsService {
    type FollowStream = BoxStream<'static, Result<FollowReply, Status>>;

    async fn follow(
        &self,
        request: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let asked = request.into_inner();
        let site = (asked.site != 0).then_some(SiteId(asked.site));
        let after = asked.after.map(from_wire);
        let group = GroupId(asked.group);
        let pieces = Pieces::open(&self.subscriptions, group, site, after, asked.every_verdict);
        let pieces = pieces.map_err(|error| refuse(&error))?;
        let health = self.subscriptions.health.clone();
        let replies = stream::unfold(Some(pieces), move |pieces| {
            let health = health.clone();
            async move {
                let mut pieces = pieces?;
                loop {
                    // An open stream would hold up the node's end.
                    if !health.is_ready() {
                        return None;
                    }
                    let next = tokio::time::timeout(super::LOOK_INTERVAL, pieces.next());
                    match next.await {
                        Err(_elapsed) => {}
                        Ok(Ok(piece)) => {
                            let events = v1::SubscribeResponse {
                                events: piece.events,
                                cursor: Vec::new(),
                            };
                            let reply = FollowReply {
                                events: events.encode_to_vec().into(),
                                through: Some(to_wire(piece.through)),
                            };
                            return Some((Ok(reply), Some(pieces)));
                        }
                        Ok(Err(error)) => return Some((Err(refuse(&error)), None)),
                    }
                }
            }
        });
        Ok(Response::new(replies.boxed()))
    }
}

fn refuse(error: &HistoryError) -> Status {
    match error {
        HistoryError::Gone { .. } => Status::out_of_range(error.to_string()),
        other => Status::unavailable(other.to_string()),
    }
}
