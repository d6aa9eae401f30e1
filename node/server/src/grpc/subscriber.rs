//! `ringtail.v1.Subscriber`.

use futures::{StreamExt as _, stream::BoxStream};
use ringtail_proto::wire::v1::{
    SubscribeRequest, SubscribeResponse, subscribe_request::From, subscriber_server::Subscriber,
};
use tonic::{Request, Response, Status};

use super::caller;
use crate::services::{Beginning, Subscription, Subscriptions};

/// Lets programs follow events over gRPC.
pub(crate) struct SubscriberService {
    pub(crate) subscriptions: Subscriptions,
}

#[tonic::async_trait]
impl Subscriber for SubscriberService {
    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = caller(&self.subscriptions.access, &request)?;
        let asked = request.into_inner();
        let subscription = Subscription {
            site: (!asked.site.is_empty()).then_some(asked.site),
            from: match asked.from {
                Some(From::Cursor(cursor)) => Beginning::Cursor(cursor.into()),
                Some(From::Now(true)) => Beginning::Now,
                Some(From::Now(false)) | None => Beginning::First,
            },
            every_verdict: asked.every_verdict,
        };
        let responses = self.subscriptions.subscribe(&caller, subscription)?;
        let responses = responses.map(|response| response.map_err(Status::from));
        Ok(Response::new(responses.boxed()))
    }
}
