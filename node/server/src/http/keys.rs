//! `/api/v1/keys`.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde_json::json;

use super::caller;
use crate::{
    api_error::ApiError,
    services::{Admin, NewKey},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(list).service(add).service(revoke);
}

#[get("/api/v1/keys")]
async fn list(admin: web::Data<Admin>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = caller(&admin.access, &request)?;
    Ok(HttpResponse::Ok().json(json!({"keys": admin.keys(&caller)?})))
}

#[post("/api/v1/keys")]
async fn add(
    admin: web::Data<Admin>,
    request: HttpRequest,
    key: web::Json<NewKey>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&admin.access, &request)?;
    let (key, secret) = admin.add_key(&caller, key.into_inner()).await?;
    let mut document = serde_json::to_value(&key).map_err(ApiError::internal)?;
    if let Some(fields) = document.as_object_mut() {
        fields.insert("secret".to_owned(), json!(secret.expose()));
    }
    Ok(HttpResponse::Created().json(document))
}

#[delete("/api/v1/keys/{id}")]
async fn revoke(
    admin: web::Data<Admin>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&admin.access, &request)?;
    Ok(HttpResponse::Ok().json(admin.revoke_key(&caller, &id).await?))
}
