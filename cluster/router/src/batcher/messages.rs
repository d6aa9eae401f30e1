//! What a batcher is told.

use std::sync::Arc;

use actix::Message;
use tokio::sync::oneshot;

use crate::{ReplicatedLog, queue::Item};

/// A submission.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Submit(pub(crate) Item);

/// Answers once the actor handles messages with its own mailbox bound.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Started;

/// The group's replica on this node came or went.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SetLocal(pub(crate) Option<Arc<dyn ReplicatedLog>>);

/// Take no more, and answer when nothing is left.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain(pub(crate) oneshot::Sender<()>);

/// Look at the queue. Sent behind the submissions that are in the mailbox already, so that they share an entry.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

/// Stop now. What is left is answered as it is dropped.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;
