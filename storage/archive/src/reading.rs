//! An object that is being read.

use tokio::task::JoinSet;

use crate::error::ArchiveError;

/// An object that is being read: that goes on while nobody waits for it, and ends when it is dropped.
pub(crate) struct Reading<T>(JoinSet<Result<T, ArchiveError>>);

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self(JoinSet::new())
    }
}

impl<T: Send + 'static> Reading<T> {
    /// What is being read; begins to read when nothing is.
    pub(crate) async fn go_on(
        &mut self,
        path: &str,
        read: impl Future<Output = Result<T, ArchiveError>> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        if self.0.is_empty() {
            self.0.spawn(read);
        }
        match self.0.join_next().await {
            Some(Ok(read)) => read,
            Some(Err(error)) => Err(ArchiveError::damaged(path, error)),
            None => Err(ArchiveError::damaged(path, "nobody reads it")),
        }
    }
}
