//! What a query can be refused for.

use ringtail_analytics::{PageError, StateError};
use ringtail_proto::{ErrorKind, RowReadError, SiteRow};

/// Why a query has no answer. Queries write nothing, so that asking again is always safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The question is wrong; the message says how.
    #[error("{0}")]
    Invalid(String),
    /// The question is right, but cells do not answer it and nothing else is built.
    #[error("{0}: not built yet")]
    NotBuilt(String),
    /// The store did not answer.
    #[error(transparent)]
    Read(#[from] RowReadError),
    /// The rows of an hour cannot be read.
    #[error("minutes cannot be read: {0}")]
    State(String),
    /// A page is damaged.
    #[error("the page in row {row:?} is damaged: {source}")]
    Page {
        /// The row.
        row: SiteRow,
        /// What is wrong with it.
        source: PageError,
    },
}

impl QueryError {
    /// The kind that HTTP and gRPC map to a status.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::NotBuilt(_) => ErrorKind::InvalidRequest,
            Self::Read(_) => ErrorKind::Unavailable,
            Self::State(_) | Self::Page { .. } => ErrorKind::Internal,
        }
    }
}

impl From<StateError> for QueryError {
    fn from(error: StateError) -> Self {
        Self::State(error.to_string())
    }
}

/// Shorthand for the most frequent refusal.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError::Invalid(message.into()))
}
