//! The places in one group's line: how many submissions may wait for an entry.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ringtail_proto::GroupId;

use crate::RouteError;

/// Counts the submissions of one group that wait, in the batcher's mailbox or in its queue.
pub(crate) struct Line {
    group: GroupId,
    submissions_max: usize,
    waiting: Arc<AtomicUsize>,
}

/// A place in line; given back when dropped.
pub(crate) struct Place {
    waiting: Arc<AtomicUsize>,
}

impl Line {
    pub(crate) fn new(group: GroupId, submissions_max: usize) -> Self {
        Self {
            group,
            submissions_max,
            waiting: Arc::default(),
        }
    }

    pub(crate) fn take_place(&self) -> Result<Place, RouteError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            waiting: Arc::clone(&self.waiting),
        };
        if before >= self.submissions_max {
            return Err(self.busy());
        }
        Ok(place)
    }

    pub(crate) fn busy(&self) -> RouteError {
        RouteError::GroupBusy {
            group: self.group,
            submissions_max: self.submissions_max,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
