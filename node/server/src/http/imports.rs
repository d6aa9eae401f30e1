//! `/api/v1/imports`: where an import stands, lines for it, and its end.

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Deserialize;
use serde_json::json;

use super::caller;
use crate::{
    api_error::ApiError,
    import_position::ImportPosition,
    services::{ImportChunk, Imports},
};

/// Largest chunk of lines.
const CHUNK_BYTES_MAX: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    site: String,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    site: String,
    source: String,
    after_line: u64,
    after_hash: String,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let lines = web::resource("/api/v1/imports/lines")
        .app_data(web::PayloadConfig::new(CHUNK_BYTES_MAX))
        .route(web::post().to(lines));
    config.service(start).service(lines).service(finish);
}

#[post("/api/v1/imports")]
async fn start(
    imports: web::Data<Imports>,
    request: HttpRequest,
    import: web::Json<Import>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&imports.access, &request)?;
    let position = imports.start(&caller, &import.site, &import.source).await?;
    Ok(HttpResponse::Ok().json(json!({
        "line": position.lines,
        "hash": position.hash_text(),
    })))
}

async fn lines(
    imports: web::Data<Imports>,
    request: HttpRequest,
    lines: web::Query<Lines>,
    bytes: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&imports.access, &request)?;
    let hash = hex::decode(&lines.after_hash)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| ApiError::invalid("after_hash is not 64 hexadecimal digits"))?;
    let chunk = ImportChunk {
        after: ImportPosition {
            lines: lines.after_line,
            hash,
        },
        bytes,
    };
    let counts = imports
        .lines(&caller, &lines.site, &lines.source, chunk)
        .await?;
    Ok(HttpResponse::Ok().json(counts))
}

#[post("/api/v1/imports/finish")]
async fn finish(
    imports: web::Data<Imports>,
    request: HttpRequest,
    import: web::Json<Import>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&imports.access, &request)?;
    let position = imports
        .finish(&caller, &import.site, &import.source)
        .await?;
    Ok(HttpResponse::Ok().json(json!({"line": position.lines})))
}
