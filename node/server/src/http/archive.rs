//! `/api/v1/archive`.

use actix_web::{HttpRequest, HttpResponse, get, post, web};

use super::caller;
use crate::{api_error::ApiError, services::Archive};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(show).service(seal).service(verify);
}

#[get("/api/v1/archive")]
async fn show(archive: web::Data<Archive>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = caller(&archive.access, &request)?;
    Ok(HttpResponse::Ok().json(archive.document(&caller)?))
}

#[post("/api/v1/archive/seal")]
async fn seal(archive: web::Data<Archive>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = caller(&archive.access, &request)?;
    Ok(HttpResponse::Ok().json(archive.seal(&caller).await?))
}

#[post("/api/v1/archive/verify")]
async fn verify(
    archive: web::Data<Archive>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&archive.access, &request)?;
    Ok(HttpResponse::Ok().json(archive.verify(&caller).await?))
}
