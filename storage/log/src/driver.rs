//! The writer without a thread: a simulator decides when the disk works.

use std::sync::atomic::Ordering;

use crate::writer::Writer;

/// Writes and syncs when it is told to, on the caller's thread; see
/// [`SegmentLog::open_driven`](crate::SegmentLog::open_driven).
///
/// A driver that is dropped leaves what waits unanswered, as a process that ends does.
pub struct LogDriver {
    writer: Writer,
}

impl LogDriver {
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer }
    }

    /// Resolves once something waits to be written, or the log is closed.
    pub async fn waiting(&self) {
        self.writer.shared.queue.filled().await;
    }

    /// Writes and syncs all that waits and answers for it. Gives the driver back until the log is closed; then the last
    /// segment is sealed.
    ///
    /// Whoever limits the space on the disk has to keep it away from here: say [`LogDriver::set_full`] and wait.
    #[must_use]
    pub fn step(mut self) -> Option<Self> {
        match self.writer.shared.queue.take_now() {
            Some(requests) => {
                self.writer.commit_all(requests);
                Some(self)
            }
            None => {
                self.writer.finish();
                None
            }
        }
    }

    /// Says that there is no space, as a writer with a thread finds out by itself: callers shed what they can.
    pub fn set_full(&self, is_full: bool) {
        self.writer.shared.is_full.store(is_full, Ordering::Relaxed);
    }
}
