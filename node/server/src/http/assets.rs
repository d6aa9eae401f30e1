//! The dashboard's files and the tracker's script.

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{self, HeaderValue},
    web,
};

/// Trackers ask again after this long, in seconds.
const SCRIPT_AGE_SECONDS_MAX: u32 = 3_600;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(script).service(index).service(file);
}

#[get("/js/ringtail.js")]
async fn script(request: HttpRequest) -> HttpResponse {
    let script = ringtail_tracker::script();
    let cache = format!("public, max-age={SCRIPT_AGE_SECONDS_MAX}");
    if is_known(&request, &script.etag) {
        return not_modified(&script.etag, &cache);
    }
    HttpResponse::Ok()
        .content_type(ringtail_tracker::CONTENT_TYPE)
        .insert_header((header::ETAG, script.etag))
        .insert_header((header::CACHE_CONTROL, cache))
        .insert_header(("cross-origin-resource-policy", "cross-origin"))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(script.bytes.into_owned())
}

#[get("/")]
async fn index(request: HttpRequest) -> HttpResponse {
    respond(&request, ringtail_dashboard::index())
}

/// A file of the dashboard, or the page itself: `/{domain}` is its address for one site.
#[get("/{path:.*}")]
async fn file(request: HttpRequest, path: web::Path<String>) -> HttpResponse {
    match ringtail_dashboard::asset(&path) {
        Some(asset) => respond(&request, asset),
        None if is_page(&path) => respond(&request, ringtail_dashboard::index()),
        None => HttpResponse::NotFound().json(serde_json::json!({"error": "no such page"})),
    }
}

/// A domain stands alone; paths of the API and of files that are missing are no pages.
fn is_page(path: &str) -> bool {
    !path.contains('/') && !path.starts_with("api")
}

fn respond(request: &HttpRequest, asset: ringtail_dashboard::Asset) -> HttpResponse {
    let cache = if asset.immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    if is_known(request, &asset.etag) {
        return not_modified(&asset.etag, cache);
    }
    HttpResponse::Ok()
        .content_type(asset.content_type)
        .insert_header((header::ETAG, asset.etag))
        .insert_header((header::CACHE_CONTROL, cache))
        .insert_header((
            "content-security-policy",
            ringtail_dashboard::CONTENT_SECURITY_POLICY,
        ))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("referrer-policy", "same-origin"))
        .body(asset.bytes.into_owned())
}

fn is_known(request: &HttpRequest, etag: &str) -> bool {
    let header = request.headers().get(header::IF_NONE_MATCH);
    header
        .and_then(|value: &HeaderValue| value.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag))
}

fn not_modified(etag: &str, cache: &str) -> HttpResponse {
    HttpResponse::NotModified()
        .insert_header((header::ETAG, etag))
        .insert_header((header::CACHE_CONTROL, cache))
        .finish()
}
