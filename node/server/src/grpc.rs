//! The gRPC services of reports and administration; the collector is the gateway's own.

mod admin;
mod reports;
mod subscriber;

use tonic::Request;

use crate::{
    api_error::ApiError,
    services::{Access, Caller},
};

pub(crate) use admin::AdminService;
pub(crate) use reports::ReportsService;
pub(crate) use subscriber::SubscriberService;

/// The caller of a request.
fn caller<T>(access: &Access, request: &Request<T>) -> Result<Caller, ApiError> {
    let header = request.metadata().get("authorization");
    access.caller(header.and_then(|value| value.to_str().ok()))
}
