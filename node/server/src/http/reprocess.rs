//! `/api/v1/sites/{domain}/reprocess`: history under other rules.

use actix_web::{HttpRequest, HttpResponse, get, post, web};

use super::{caller, json_error};
use crate::{
    api_error::ApiError,
    services::{Difference, NewReprocess, Reprocess, Step},
};

/// Largest document with rules in it.
const RULES_JSON_BYTES_MAX: usize = 1 << 20;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let json = web::JsonConfig::default()
        .limit(RULES_JSON_BYTES_MAX)
        .error_handler(|error, _| json_error(&error).into());
    let begin = web::resource("/api/v1/sites/{domain}/reprocess")
        .app_data(json)
        .route(web::post().to(begin))
        .route(web::get().to(show));
    config.service(begin).service(difference).service(step);
}

async fn begin(
    reprocess: web::Data<Reprocess>,
    request: HttpRequest,
    domain: web::Path<String>,
    wanted: web::Json<NewReprocess>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&reprocess.access, &request)?;
    let begun = reprocess
        .begin(&caller, &domain, wanted.into_inner())
        .await?;
    Ok(HttpResponse::Created().json(begun))
}

async fn show(
    reprocess: web::Data<Reprocess>,
    request: HttpRequest,
    domain: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&reprocess.access, &request)?;
    Ok(HttpResponse::Ok().json(reprocess.document(&caller, &domain).await?))
}

#[get("/api/v1/sites/{domain}/reprocess/diff")]
async fn difference(
    reprocess: web::Data<Reprocess>,
    request: HttpRequest,
    domain: web::Path<String>,
    wanted: web::Query<Difference>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&reprocess.access, &request)?;
    let difference = reprocess.difference(&caller, &domain, &wanted).await?;
    Ok(HttpResponse::Ok().json(difference))
}

#[post("/api/v1/sites/{domain}/reprocess/{step}")]
async fn step(
    reprocess: web::Data<Reprocess>,
    request: HttpRequest,
    path: web::Path<(String, Step)>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&reprocess.access, &request)?;
    let (domain, step) = path.into_inner();
    Ok(HttpResponse::Ok().json(reprocess.take(&caller, &domain, step).await?))
}
