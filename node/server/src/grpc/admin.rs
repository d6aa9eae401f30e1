//! `ringtail.v1.Admin`.

use ringtail_proto::wire::v1::{self, admin_server::Admin as Service};
use tonic::{Request, Response, Status};

use super::caller;
use crate::services::{
    Admin, GoalDocument, KeyDocument, NewGoal, NewKey, SiteChange, SiteDocument,
    Status as StatusReport,
};

/// Administers over gRPC.
pub(crate) struct AdminService {
    pub(crate) admin: Admin,
    pub(crate) status: StatusReport,
}

#[tonic::async_trait]
impl Service for AdminService {
    async fn add_site(
        &self,
        request: Request<v1::AddSiteRequest>,
    ) -> Result<Response<v1::Site>, Status> {
        let caller = caller(&self.admin.access, &request)?;
        let v1::AddSiteRequest { domain, timezone } = request.into_inner();
        let timezone = if timezone.is_empty() {
            "UTC"
        } else {
            &timezone
        };
        let site = self.admin.add_site(&caller, &domain, timezone).await?;
        Ok(Response::new(site.into()))
    }

    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Result<Response<v1::ListSitesResponse>, Status> {
        let caller = caller(&self.admin.access, &request)?;
        let sites = self
            .admin
            .sites(&caller)
            .into_iter()
            .map(Into::into)
            .collect();
        Ok(Response::new(v1::ListSitesResponse { sites }))
    }

    async fn rename_site(
        &self,
        request: Request<v1::RenameSiteRequest>,
    ) -> Result<Response<v1::Site>, Status> {
        let caller = caller(&self.admin.access, &request)?;
        let v1::RenameSiteRequest { domain, to } = request.into_inner();
        let change = SiteChange {
            domain: Some(to),
            ..SiteChange::default()
        };
        let site = self.admin.change_site(&caller, &domain, change).await?;
        Ok(Response::new(site.into()))
    }

    async fn pause_site(
        &self,
        request: Request<v1::PauseSiteRequest>,
    ) -> Result<Response<v1::Site>, Status> {
        let caller = caller(&self.admin.access, &request)?;
        let v1::PauseSiteRequest { domain, is_paused } = request.into_inner();
        let change = SiteChange {
            paused: Some(is_paused),
            ..SiteChange::default()
        };
        let site = self.admin.change_site(&caller, &domain, change).await?;
        Ok(Response::new(site.into()))
    }

    async fn add_goal(
        &self,
        request: Request<v1::AddGoalRequest>,
    ) -> Result<Response<v1::SiteGoal>, Status> {
        let caller = caller(&self.admin.access, &request)?;
        let request = request.into_inner();
        let goal = NewGoal {
            name: request.name,
            event: non_empty(request.event_name),
            page: non_empty(request.page_pattern),
        };
        let goal = self.admin.add_goal(&caller, &request.domain, goal).await?;
        Ok(Response::new(goal.into()))
    }

    async fn list_goals(
        &self,
        request: Request<v1::ListGoalsRequest>,
    ) -> Result<Response<v1::ListGoalsResponse>, Status> {
        let caller = caller(&self.admin.access, &request)?;
        let goals = self.admin.goals(&caller, &request.into_inner().domain)?;
        let goals = goals.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListGoalsResponse { goals }))
    }

    async fn add_key(
        &self,
        request: Request<v1::AddKeyRequest>,
    ) -> Result<Response<v1::AddKeyResponse>, Status> {
        let caller = caller(&self.admin.access, &request)?;
        let request = request.into_inner();
        let key = NewKey {
            site: non_empty(request.domain),
            scope: request.scope,
            name: request.name,
            expires_days: None,
            expires_unix_ms: (request.expires_unix_ms != 0).then_some(request.expires_unix_ms),
        };
        let (key, secret) = self.admin.add_key(&caller, key).await?;
        Ok(Response::new(v1::AddKeyResponse {
            key: Some(key.into()),
            secret: secret.expose().to_owned(),
        }))
    }

    async fn list_keys(
        &self,
        request: Request<v1::ListKeysRequest>,
    ) -> Result<Response<v1::ListKeysResponse>, Status> {
        let caller = caller(&self.admin.access, &request)?;
        let keys = self
            .admin
            .keys(&caller)?
            .into_iter()
            .map(Into::into)
            .collect();
        Ok(Response::new(v1::ListKeysResponse { keys }))
    }

    async fn revoke_key(
        &self,
        request: Request<v1::RevokeKeyRequest>,
    ) -> Result<Response<v1::Key>, Status> {
        let caller = caller(&self.admin.access, &request)?;
        let key = self
            .admin
            .revoke_key(&caller, &request.into_inner().id)
            .await?;
        Ok(Response::new(key.into()))
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let caller = caller(&self.status.access, &request)?;
        let json = self.status.document(&caller).await?.to_string();
        Ok(Response::new(v1::StatusResponse { json }))
    }
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl From<SiteDocument> for v1::Site {
    fn from(site: SiteDocument) -> Self {
        Self {
            id: site.id.0,
            domain: site.domain,
            timezone: site.timezone,
            is_paused: site.paused,
            created_unix_ms: site.created.0.0,
            aliases: site.aliases,
        }
    }
}

impl From<GoalDocument> for v1::SiteGoal {
    fn from(goal: GoalDocument) -> Self {
        Self {
            id: goal.id.0,
            name: goal.name,
            event_name: goal.event.unwrap_or_default(),
            page_pattern: goal.page.unwrap_or_default(),
            since_unix_ms: goal.since.0.0,
        }
    }
}

impl From<KeyDocument> for v1::Key {
    fn from(key: KeyDocument) -> Self {
        Self {
            id: key.id.0.to_string(),
            name: key.name,
            scope: key.scope.to_owned(),
            domain: key.site.unwrap_or_default(),
            created_unix_ms: key.created.0.0,
            expires_unix_ms: key.expires.map_or(0, |time| time.0.0),
            last_used_unix_ms: key.last_used.map_or(0, |time| time.0.0),
            is_revoked: key.revoked,
        }
    }
}
