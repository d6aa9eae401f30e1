//! `/api/v1/ring`.

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use ringtail_metadata::NodeState;
use serde::Deserialize;

use super::caller;
use crate::{
    api_error::ApiError,
    services::{NewJoinToken, Ring, RingChange},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(show)
        .service(hashes)
        .service(audit)
        .service(change)
        .service(create_token)
        .service(drain)
        .service(activate)
        .service(remove);
}

#[get("/api/v1/ring")]
async fn show(ring: web::Data<Ring>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = caller(&ring.access, &request)?;
    Ok(HttpResponse::Ok().json(ring.document(&caller).await?))
}

#[patch("/api/v1/ring")]
async fn change(
    ring: web::Data<Ring>,
    request: HttpRequest,
    change: web::Json<RingChange>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&ring.access, &request)?;
    Ok(HttpResponse::Ok().json(ring.change(&caller, &change).await?))
}

#[get("/api/v1/ring/hashes")]
async fn hashes(ring: web::Data<Ring>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = caller(&ring.access, &request)?;
    Ok(HttpResponse::Ok().json(ring.hashes(&caller).await?))
}

/// How much of the audit log is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(default = "AuditQuery::default_limit")]
    limit: usize,
}

impl AuditQuery {
    const fn default_limit() -> usize {
        100
    }
}

#[get("/api/v1/audit")]
async fn audit(
    ring: web::Data<Ring>,
    request: HttpRequest,
    query: web::Query<AuditQuery>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&ring.access, &request)?;
    Ok(HttpResponse::Ok().json(ring.audit(&caller, query.limit)?))
}

#[post("/api/v1/ring/tokens")]
async fn create_token(
    ring: web::Data<Ring>,
    request: HttpRequest,
    token: web::Json<NewJoinToken>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&ring.access, &request)?;
    Ok(HttpResponse::Created().json(ring.create_token(&caller, &token).await?))
}

#[post("/api/v1/ring/nodes/{id}/drain")]
async fn drain(
    ring: web::Data<Ring>,
    request: HttpRequest,
    node: web::Path<u64>,
) -> Result<HttpResponse, ApiError> {
    set_state(&ring, &request, *node, NodeState::Draining, false).await
}

#[post("/api/v1/ring/nodes/{id}/activate")]
async fn activate(
    ring: web::Data<Ring>,
    request: HttpRequest,
    node: web::Path<u64>,
) -> Result<HttpResponse, ApiError> {
    set_state(&ring, &request, *node, NodeState::Active, false).await
}

/// How a node is removed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    #[serde(default)]
    force: bool,
}

#[post("/api/v1/ring/nodes/{id}/remove")]
async fn remove(
    ring: web::Data<Ring>,
    request: HttpRequest,
    node: web::Path<u64>,
    removal: web::Query<Removal>,
) -> Result<HttpResponse, ApiError> {
    set_state(&ring, &request, *node, NodeState::Left, removal.force).await
}

async fn set_state(
    ring: &Ring,
    request: &HttpRequest,
    node: u64,
    state: NodeState,
    is_forced: bool,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&ring.access, request)?;
    let node = ring.set_state(&caller, node, state, is_forced).await?;
    Ok(HttpResponse::Ok().json(node))
}
