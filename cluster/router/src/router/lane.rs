//! One group's batcher and the line in front of it.

use std::sync::Arc;

use actix::{Addr, dev::SendError};
use ringtail_proto::GroupId;

use crate::{
    GroupLeadership, RouteError,
    batcher::{Batcher, Submit},
    line::Line,
    queue::Item,
};

/// One group's batcher and the line in front of it.
pub(crate) struct Lane {
    pub(crate) group: GroupId,
    pub(crate) leadership: Arc<dyn GroupLeadership>,
    pub(crate) batcher: Addr<Batcher>,
    pub(crate) line: Line,
}

impl Lane {
    pub(crate) fn enqueue(&self, item: Item) -> Result<(), RouteError> {
        match self.batcher.try_send(Submit(item)) {
            Ok(()) => Ok(()),
            Err(SendError::Full(_)) => Err(self.line.busy()),
            Err(SendError::Closed(_)) => Err(RouteError::Stopping),
        }
    }
}
