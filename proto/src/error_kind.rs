//! The kinds of error that cross an interface.

use std::fmt;

/// The kind of an error; one table maps it to HTTP and gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is not understood.
    InvalidRequest,
    /// No key, or one that is wrong, expired or revoked.
    Unauthenticated,
    /// The key does not reach that far.
    Forbidden,
    /// No such site, goal, key or event.
    NotFound,
    /// The thing exists already, or changed meanwhile.
    Conflict,
    /// The body or a list in it is over its limit.
    TooLarge,
    /// Over a rate limit; try again later.
    RateLimited,
    /// The node sheds load; nothing was written; try again later.
    Overloaded,
    /// The disk is near its limit; nothing was written; try again later.
    StorageFull,
    /// The node is starting, stopping, or its partition has no leader; try again later.
    Unavailable,
    /// The outcome is unknown: the write may still commit; retry with the same ids.
    InDoubt,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// The name used in answers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::StorageFull => "storage_full",
            Self::Unavailable => "unavailable",
            Self::InDoubt => "in_doubt",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Overloaded | Self::StorageFull | Self::Unavailable | Self::InDoubt => 503,
            Self::Internal => 500,
        }
    }

    /// The gRPC status code.
    #[must_use]
    pub const fn grpc_code(self) -> tonic::Code {
        match self {
            Self::InvalidRequest => tonic::Code::InvalidArgument,
            Self::Unauthenticated => tonic::Code::Unauthenticated,
            Self::Forbidden => tonic::Code::PermissionDenied,
            Self::NotFound => tonic::Code::NotFound,
            Self::Conflict => tonic::Code::AlreadyExists,
            Self::TooLarge | Self::RateLimited | Self::Overloaded | Self::StorageFull => {
                tonic::Code::ResourceExhausted
            }
            Self::Unavailable | Self::InDoubt => tonic::Code::Unavailable,
            Self::Internal => tonic::Code::Internal,
        }
    }

    /// True when the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Overloaded
                | Self::StorageFull
                | Self::Unavailable
                | Self::InDoubt
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
