//! The one failure that ends the node's partitions, for everyone who waits for it.

use tokio::sync::watch;

/// Holds the first failure that only a restart heals.
#[derive(Debug)]
pub(crate) struct Failure {
    message: watch::Sender<Option<String>>,
}

impl Default for Failure {
    fn default() -> Self {
        Self {
            message: watch::Sender::new(None),
        }
    }
}

impl Failure {
    /// Keeps the message, unless there was a failure before.
    pub(crate) fn set(&self, message: impl FnOnce() -> String) {
        self.message.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(message);
            is_first
        });
    }

    /// Resolves with the first failure; without one, never.
    pub(crate) async fn wait(&self) -> String {
        let mut message = self.message.subscribe();
        let failure = message.wait_for(Option::is_some).await;
        let failure = failure.expect("the sender lives as long as self");
        failure.clone().unwrap_or_default()
    }
}
