//! Why a whole request was refused.

use ringtail_proto::ErrorKind;

use crate::SinkError;

/// Why a request was refused as a whole; single events of a batch are dropped with a reason instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// The body or a field of it is not understood.
    #[error("{field}: {message}")]
    Malformed {
        /// The field, or `body`.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The body is over its limit.
    #[error("the body is larger than {bytes_max} bytes")]
    BodyTooLarge {
        /// The limit, after inflating.
        bytes_max: usize,
    },
    /// The body grows too much when it is inflated.
    #[error("the body inflates to more than {ratio_max} times its size")]
    InflateRatio {
        /// The limit.
        ratio_max: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {ms_max} ms")]
    BodyTimeout {
        /// The limit.
        ms_max: u64,
    },
    /// Too many events in one request.
    #[error("{found} events are more than the {events_max} of one request")]
    TooManyEvents {
        /// How many came.
        found: usize,
        /// The limit.
        events_max: usize,
    },
    /// No site of this domain.
    #[error("no site has the domain {domain:?}")]
    UnknownSite {
        /// What the client asked for, cut to a printable length.
        domain: String,
    },
    /// The authorization is not a key that counts.
    #[error("{message}")]
    Unauthenticated {
        /// Why.
        message: String,
    },
    /// The key is good, but not for this.
    #[error("the key may not write events of this site")]
    Forbidden,
    /// Over a rate limit.
    #[error("over the rate of this {what}, try again in {retry_after_ms} ms")]
    RateLimited {
        /// `site` or `address`.
        what: &'static str,
        /// When there will be room.
        retry_after_ms: u32,
    },
    /// The events could not be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl CollectError {
    /// The kind that maps to HTTP and gRPC.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } | Self::BodyTimeout { .. } => ErrorKind::InvalidRequest,
            Self::BodyTooLarge { .. } | Self::InflateRatio { .. } | Self::TooManyEvents { .. } => {
                ErrorKind::TooLarge
            }
            Self::UnknownSite { .. } => ErrorKind::NotFound,
            Self::Unauthenticated { .. } => ErrorKind::Unauthenticated,
            Self::Forbidden => ErrorKind::Forbidden,
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::Sink(error) => error.kind,
        }
    }

    /// The HTTP status; a body that does not arrive has a status of its own.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::BodyTimeout { .. } => 408,
            _ => self.kind().http_status(),
        }
    }

    /// When to try again, if that may help.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u32> {
        match self {
            Self::RateLimited { retry_after_ms, .. } => Some(*retry_after_ms),
            Self::Sink(error) if error.kind.is_retryable() => Some(1_000),
            _ => None,
        }
    }

    pub(crate) fn malformed(field: &'static str, message: impl Into<String>) -> Self {
        Self::Malformed {
            field,
            message: message.into(),
        }
    }

    pub(crate) fn unknown_site(domain: &str) -> Self {
        Self::UnknownSite {
            domain: domain.chars().take(100).collect(),
        }
    }
}
