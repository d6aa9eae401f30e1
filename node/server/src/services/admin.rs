//! Sites, goals and keys: changes go through the metadata group, then a site's settings into its partition's log.

use std::sync::Arc;

use ringtail_metadata::{
    Command, Directory, Domain, GoalCondition, GoalId, KeyId, Metadata, MetadataError,
    OptionsChange, Outcome, Scope, Secret, Site,
};
use ringtail_proto::{ErrorKind, SiteId, UnixMillis};
use ringtail_router::Clock;
use serde::Deserialize;

use super::{Access, Caller, GoalDocument, KeyDocument, SiteDocument};
use crate::{api_error::ApiError, settings_pusher::SettingsPusher};

const DAY_MS: i64 = 86_400_000;
/// The reason that the audit log shows.
const WHY: &str = "asked through the API";

/// Changes and lists sites, goals and keys.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) access: Access,
    pub(crate) metadata: Metadata,
    pub(crate) directory: Arc<Directory>,
    pub(crate) settings: Arc<SettingsPusher>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A change of a site; what is none stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SiteChange {
    pub(crate) domain: Option<String>,
    pub(crate) paused: Option<bool>,
    pub(crate) visit_timeout_minutes: Option<u16>,
    pub(crate) property_keys: Option<Vec<String>>,
    pub(crate) allowed_query_parameters: Option<Vec<String>>,
    pub(crate) allowed_origins: Option<Vec<String>>,
    pub(crate) check_origin: Option<bool>,
    pub(crate) require_consent: Option<bool>,
    pub(crate) obey_do_not_track: Option<bool>,
}

/// A goal to be added: exactly one of event and page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGoal {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) event: Option<String>,
    #[serde(default)]
    pub(crate) page: Option<String>,
}

/// A key to be added.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// Domain; none for all sites.
    #[serde(default)]
    pub(crate) site: Option<String>,
    pub(crate) scope: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) expires_days: Option<u32>,
    /// Milliseconds since the Unix epoch; not together with `expires_days`.
    #[serde(default)]
    pub(crate) expires_unix_ms: Option<i64>,
}

impl Admin {
    pub(crate) async fn add_site(
        &self,
        caller: &Caller,
        domain: &str,
        timezone: &str,
    ) -> Result<SiteDocument, ApiError> {
        caller.require(Scope::Admin, None)?;
        let site = self
            .metadata
            .add_site(domain, timezone, &caller.actor(), WHY)
            .await?;
        self.settled(site.id).await
    }

    pub(crate) fn sites(&self, caller: &Caller) -> Vec<SiteDocument> {
        let sites = self.access.sites(caller);
        sites
            .iter()
            .map(|site| SiteDocument::from(&**site))
            .collect()
    }

    pub(crate) async fn change_site(
        &self,
        caller: &Caller,
        domain: &str,
        change: SiteChange,
    ) -> Result<SiteDocument, ApiError> {
        let site = self.access.site(caller, Scope::Admin, domain)?.id;
        if let Some(domain) = &change.domain {
            let domain = Domain::parse(domain)?;
            self.execute(caller, Command::RenameSite { site, domain })
                .await?;
        }
        if let Some(is_paused) = change.paused {
            self.execute(caller, Command::PauseSite { site, is_paused })
                .await?;
        }
        let options = change.options()?;
        if options != OptionsChange::default() {
            let change = options;
            self.execute(caller, Command::SetSiteOptions { site, change })
                .await?;
        }
        self.settled(site).await
    }

    pub(crate) async fn add_goal(
        &self,
        caller: &Caller,
        domain: &str,
        goal: NewGoal,
    ) -> Result<GoalDocument, ApiError> {
        let site = self.access.site(caller, Scope::Admin, domain)?.id;
        let condition = match (goal.event, goal.page) {
            (Some(name), None) => GoalCondition::EventName(name),
            (None, Some(pattern)) => GoalCondition::PagePattern(pattern),
            _ => return Err(ApiError::invalid("a goal has either `event` or `page`")),
        };
        let name = goal.name;
        let command = Command::AddGoal {
            site,
            name,
            condition,
        };
        match self.execute(caller, command).await? {
            Outcome::Goal(goal) => {
                self.settled(site).await?;
                self.goal(site, goal)
            }
            other => Err(ApiError::internal(format!("adding a goal made {other:?}"))),
        }
    }

    pub(crate) fn goals(
        &self,
        caller: &Caller,
        domain: &str,
    ) -> Result<Vec<GoalDocument>, ApiError> {
        let site = self.access.site(caller, Scope::Read, domain)?;
        Ok(site.settings.goals.iter().map(GoalDocument::from).collect())
    }

    /// Adds a key; its secret is known to the caller alone from now on.
    pub(crate) async fn add_key(
        &self,
        caller: &Caller,
        key: NewKey,
    ) -> Result<(KeyDocument, Secret), ApiError> {
        let site = match &key.site {
            Some(domain) => Some(self.access.site(caller, Scope::Admin, domain)?.id),
            None => {
                caller.require(Scope::Admin, None)?;
                None
            }
        };
        let scope = Scope::from_name(&key.scope).ok_or_else(|| {
            ApiError::invalid(format!(
                "scope {:?} is none of read, write and admin",
                key.scope
            ))
        })?;
        let key = ringtail_metadata::NewKey {
            expires: key.expires(self.clock.now()),
            name: key.name,
            scope,
            site,
        };
        let (key, secret) = self.metadata.add_key(key, &caller.actor(), WHY).await?;
        Ok((self.key_document(&key), secret))
    }

    pub(crate) fn keys(&self, caller: &Caller) -> Result<Vec<KeyDocument>, ApiError> {
        caller.require(Scope::Admin, None)?;
        let keys = self.directory.keys();
        Ok(keys.iter().map(|key| self.key_document(key)).collect())
    }

    pub(crate) async fn revoke_key(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<KeyDocument, ApiError> {
        caller.require(Scope::Admin, None)?;
        let key = id
            .parse()
            .map(KeyId)
            .map_err(|_| ApiError::invalid(format!("key id {id:?} is not a number")))?;
        self.execute(caller, Command::RevokeKey { key }).await?;
        self.key(key)
    }

    async fn execute(&self, caller: &Caller, command: Command) -> Result<Outcome, ApiError> {
        Ok(self.metadata.execute(command, &caller.actor(), WHY).await?)
    }

    /// The site, once its partition's log holds its newest settings.
    async fn settled(&self, site: SiteId) -> Result<SiteDocument, ApiError> {
        self.settings.push(site).await?;
        let site = self.site(site)?;
        Ok(SiteDocument::from(&*site))
    }

    fn site(&self, site: SiteId) -> Result<Arc<Site>, ApiError> {
        let gone = || ApiError::new(ErrorKind::NotFound, format!("site {site} is gone"));
        self.directory.site(site).ok_or_else(gone)
    }

    fn goal(&self, site: SiteId, goal: GoalId) -> Result<GoalDocument, ApiError> {
        let gone = || ApiError::new(ErrorKind::NotFound, format!("goal {goal} is gone"));
        let site = self.site(site)?;
        site.goal(goal).map(GoalDocument::from).ok_or_else(gone)
    }

    fn key(&self, key: KeyId) -> Result<KeyDocument, ApiError> {
        let gone = || ApiError::new(ErrorKind::NotFound, format!("key {key} is gone"));
        let key = self.directory.key(key).ok_or_else(gone)?;
        Ok(self.key_document(&key))
    }

    fn key_document(&self, key: &ringtail_metadata::Key) -> KeyDocument {
        let site = key.site.and_then(|site| self.directory.site(site));
        KeyDocument::new(key, site.as_deref())
    }
}

impl SiteChange {
    fn options(self) -> Result<OptionsChange, ApiError> {
        let allowed_origins = self
            .allowed_origins
            .map(|origins| origins.iter().map(|origin| Domain::parse(origin)).collect())
            .transpose()?;
        Ok(OptionsChange {
            visit_timeout_minutes: self.visit_timeout_minutes,
            property_keys: self.property_keys,
            allowed_query_parameters: self.allowed_query_parameters,
            allowed_origins,
            check_origin: self.check_origin,
            require_consent: self.require_consent,
            obey_do_not_track: self.obey_do_not_track,
        })
    }
}

impl NewKey {
    fn expires(&self, now: UnixMillis) -> Option<UnixMillis> {
        let days = self
            .expires_days
            .map(|days| now.0 + i64::from(days) * DAY_MS);
        self.expires_unix_ms.or(days).map(UnixMillis)
    }
}

impl From<MetadataError> for ApiError {
    fn from(error: MetadataError) -> Self {
        match error.kind() {
            ErrorKind::Internal => Self::internal(error),
            kind => Self::new(kind, error),
        }
    }
}
