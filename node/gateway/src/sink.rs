//! Where events go: the router, or whatever a test puts in its place.

use async_trait::async_trait;
use ringtail_proto::{ErrorKind, Event, SiteId, Verdict};

/// Takes enriched events of one site. Implemented over the router.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Takes the events, in order; returns as soon as they are on their way.
    ///
    /// # Errors
    /// [`SinkError`] when there is no room or no leader.
    async fn submit(&self, site: SiteId, events: Vec<Event>)
    -> Result<Box<dyn Receipt>, SinkError>;
}

/// What keeps events from being lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// A quorum of their partition has them: they are counted in a moment.
    Replicated,
    /// Their partition has no quorum: they wait on disk and are counted later.
    Spooled,
}

/// Events on their way.
#[async_trait]
pub trait Receipt: Send {
    /// Waits until the events are durable.
    ///
    /// # Errors
    /// [`SinkError`] when that failed, or its outcome is unknown.
    async fn committed(&mut self) -> Result<Durable, SinkError>;

    /// Waits until the events are counted: one verdict for each, in order; none when they are durable, but their
    /// verdicts will come later or were lost on the way.
    ///
    /// # Errors
    /// [`SinkError`] when that failed, or its outcome is unknown.
    async fn applied(self: Box<Self>) -> Result<Option<Vec<Verdict>>, SinkError>;
}

/// Events that could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// The kind; [`ErrorKind::InDoubt`] when the write may still commit.
    pub kind: ErrorKind,
    /// What went wrong.
    pub message: String,
}
