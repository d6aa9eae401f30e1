//! The error that API calls end with, over HTTP and gRPC alike.

use std::fmt;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use ringtail_proto::ErrorKind;
use serde_json::json;

/// Kind and message of a failed call.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    /// The kind; decides the status.
    pub kind: ErrorKind,
    /// What went wrong, with the values.
    pub message: String,
}

/// What callers are told to wait before they try again, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

impl ApiError {
    /// An error of this kind.
    pub(crate) fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { kind, message }
    }

    /// The request is not understood.
    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// False for what every node would say.
    pub(crate) fn may_be_answered_elsewhere(&self) -> bool {
        self.kind.is_retryable() || self.kind == ErrorKind::Internal
    }

    /// A fault of ours; the caller learns no details, the log does.
    pub(crate) fn internal(error: impl fmt::Display) -> Self {
        tracing::error!(%error, "a call failed");
        Self::new(ErrorKind::Internal, "internal error, see the node's log")
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if self.kind.is_retryable() {
            response.insert_header(("retry-after", RETRY_AFTER_SECONDS.to_string()));
        }
        response.json(json!({"error": self.message, "kind": self.kind.name()}))
    }
}

impl From<ApiError> for tonic::Status {
    fn from(error: ApiError) -> Self {
        Self::new(error.kind.grpc_code(), error.message)
    }
}
