//! `/api/v1/sites`: sites and their goals.

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use serde::Deserialize;
use serde_json::json;

use super::caller;
use crate::{
    api_error::ApiError,
    services::{Admin, NewGoal, SiteChange},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSite {
    domain: String,
    #[serde(default = "utc")]
    timezone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(list)
        .service(add)
        .service(change)
        .service(goals)
        .service(add_goal);
}

#[get("/api/v1/sites")]
async fn list(admin: web::Data<Admin>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = caller(&admin.access, &request)?;
    Ok(HttpResponse::Ok().json(json!({"sites": admin.sites(&caller)})))
}

#[post("/api/v1/sites")]
async fn add(
    admin: web::Data<Admin>,
    request: HttpRequest,
    site: web::Json<NewSite>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&admin.access, &request)?;
    let site = admin
        .add_site(&caller, &site.domain, &site.timezone)
        .await?;
    Ok(HttpResponse::Created().json(site))
}

#[patch("/api/v1/sites/{domain}")]
async fn change(
    admin: web::Data<Admin>,
    request: HttpRequest,
    domain: web::Path<String>,
    change: web::Json<SiteChange>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&admin.access, &request)?;
    let site = admin
        .change_site(&caller, &domain, change.into_inner())
        .await?;
    Ok(HttpResponse::Ok().json(site))
}

#[get("/api/v1/sites/{domain}/goals")]
async fn goals(
    admin: web::Data<Admin>,
    request: HttpRequest,
    domain: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&admin.access, &request)?;
    Ok(HttpResponse::Ok().json(json!({"goals": admin.goals(&caller, &domain)?})))
}

#[post("/api/v1/sites/{domain}/goals")]
async fn add_goal(
    admin: web::Data<Admin>,
    request: HttpRequest,
    domain: web::Path<String>,
    goal: web::Json<NewGoal>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&admin.access, &request)?;
    let goal = admin.add_goal(&caller, &domain, goal.into_inner()).await?;
    Ok(HttpResponse::Created().json(goal))
}
