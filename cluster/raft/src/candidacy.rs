//! Whether this node stands for election in its groups.

use std::sync::atomic::{AtomicBool, Ordering};

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
    pub(crate) fn withdraw(&self) {
        self.is_withdrawn.store(true, Ordering::Release);
    }
}
