//! What load balancers and scrapers ask. No key is needed, and no site is named.

use std::sync::Arc;

use actix_web::{HttpResponse, get, web};
use metrics_exporter_prometheus::PrometheusHandle;
use ringtail_router::IngestGate;
use serde_json::json;

use crate::health::Health;

/// What the health pages show.
#[derive(Clone)]
pub(crate) struct HealthView {
    pub(crate) health: Arc<Health>,
    pub(crate) gate: Arc<IngestGate>,
    pub(crate) metrics: PrometheusHandle,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(live)
        .service(ready)
        .service(plausible)
        .service(metrics);
}

/// The pages of a node that replays its log.
pub(super) fn configure_replaying(config: &mut web::ServiceConfig) {
    config.service(live).service(replaying);
}

/// Not caught up.
#[get("/health/ready")]
async fn replaying(health: web::Data<Health>) -> HttpResponse {
    HttpResponse::ServiceUnavailable().json(json!({"status": health.state().name()}))
}

/// Alive: the process answers.
#[get("/health/live")]
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live"}))
}

/// Caught up: queries are answered. A full disk closes ingest and leaves queries ready.
#[get("/health/ready")]
async fn ready(view: web::Data<HealthView>) -> HttpResponse {
    let ingest = if view.gate.is_storage_full() {
        "full"
    } else {
        "open"
    };
    let document = json!({"status": view.health.state().name(), "ingest": ingest});
    if view.health.is_ready() {
        HttpResponse::Ok().json(document)
    } else {
        HttpResponse::ServiceUnavailable().json(document)
    }
}

/// Where Plausible's clients look.
#[get("/api/health")]
async fn plausible(view: web::Data<HealthView>) -> HttpResponse {
    let state = view.health.state().name();
    HttpResponse::Ok().json(json!({"status": state}))
}

/// Prometheus text format; no series carries a site.
#[get("/metrics")]
async fn metrics(view: web::Data<HealthView>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(view.metrics.render())
}
