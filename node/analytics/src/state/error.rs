//! What can go wrong with a site's state.

use ringtail_proto::{RowReadError, SiteRow};

use crate::{cell::PageError, rows::RowError};

/// What can go wrong with a site's state: only its rows can.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StateError {
    /// The store did not answer.
    #[error(transparent)]
    Read(#[from] RowReadError),
    /// A row cannot be used.
    #[error("{row:?}: {source}")]
    Row {
        /// The row.
        row: SiteRow,
        /// What is wrong with it.
        source: RowError,
    },
    /// A row that another one names is absent.
    #[error("{row:?} is absent, but the site row names it")]
    Missing {
        /// The row.
        row: SiteRow,
    },
    /// A page cannot be used.
    #[error("page: {0}")]
    Page(#[from] PageError),
}
