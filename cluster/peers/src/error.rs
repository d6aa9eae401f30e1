//! What can be wrong with certificates and connections.

use std::{io, path::PathBuf};

/// What can be wrong with certificates and connections.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// A file of certificates or keys.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or a key cannot be made or used.
    #[error("certificate of this node: {0}")]
    Certificate(String),
    /// An address that is none.
    #[error("{address:?} is not an address: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

pub(crate) fn certificate(error: impl ToString) -> PeerError {
    PeerError::Certificate(error.to_string())
}
