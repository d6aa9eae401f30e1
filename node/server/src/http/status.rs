//! `/api/v1/status`.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::caller;
use crate::{api_error::ApiError, services::Status};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(status);
}

#[get("/api/v1/status")]
async fn status(status: web::Data<Status>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = caller(&status.access, &request)?;
    Ok(HttpResponse::Ok().json(status.document(&caller).await?))
}
