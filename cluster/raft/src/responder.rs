//! How openraft tells a proposal what became of it.

use openraft::raft::responder::Responder;

use crate::types::{LogId, TypeConfig};

/// Calls back when the proposal is committed and when it is done. Dropped uncalled when the group stops first.
pub(crate) struct CallbackResponder<T> {
    on_commit: Option<Box<dyn FnOnce(LogId) + Send>>,
    on_complete: Box<dyn FnOnce(T) + Send>,
}

impl<T> CallbackResponder<T> {
    pub(crate) fn new(
        on_commit: impl FnOnce(LogId) + Send + 'static,
        on_complete: impl FnOnce(T) + Send + 'static,
    ) -> Self {
        Self {
            on_commit: Some(Box::new(on_commit)),
            on_complete: Box::new(on_complete),
        }
    }
}

impl<T: Send + 'static> Responder<TypeConfig, T> for CallbackResponder<T> {
    fn on_commit(&mut self, log_id: LogId) {
        if let Some(on_commit) = self.on_commit.take() {
            on_commit(log_id);
        }
    }

    fn on_complete(self, result: T) {
        (self.on_complete)(result);
    }
}
