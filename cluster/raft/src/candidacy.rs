//! Whether this node stands for election in its groups.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::group::Group;

/// One that is about to stop leads nothing more than it does; its vote counts until its end.
#[derive(Debug, Default)]
pub(crate) struct Candidacy {
    is_withdrawn: AtomicBool,
}

impl Candidacy {
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Ordering::Acquire)
    }

    /// For good: a node that stops does not come back but as a new process.
    pub(crate) fn withdraw(&self, open: &[Group]) {
        self.is_withdrawn.store(true, Ordering::Release);
        open.iter().for_each(|group| self.hold_to_it(group));
    }

    /// A group that was opened in the meantime learns of it, too.
    pub(crate) fn hold_to_it(&self, group: &Group) {
        if self.is_withdrawn() {
            group.raft().runtime_config().elect(false);
            group.stand_no_more();
        }
    }
}
