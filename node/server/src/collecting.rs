//! What the gateway asks for, answered by the metadata and the router.

use std::sync::Arc;

use ringtail_gateway::{
    Durable, EventSink, KeyGrant, Receipt, SinkError, SiteRules, SiteRulesInput, Sites,
};
use ringtail_metadata::{Directory, Scope, Site};
use ringtail_proto::{Event, SiteId, UnixMillis, Verdict};
use ringtail_router::{Applied, Durability, RouteError, Router, Submission};

/// Sites whose rules are kept prepared; others are prepared anew when they send.
const PREPARED_SITES_MAX: u64 = 50_000;

/// The directory as the gateway sees it.
pub(crate) struct DirectorySites {
    directory: Arc<Directory>,
    prepared: moka::sync::Cache<SiteId, (Arc<Site>, Arc<SiteRules>)>,
}

impl DirectorySites {
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            prepared: moka::sync::Cache::new(PREPARED_SITES_MAX),
        }
    }
}

impl Sites for DirectorySites {
    fn rules(&self, domain: &str) -> Option<Arc<SiteRules>> {
        let site = self.directory.site_for_events(domain)?;
        if let Some((prepared_from, rules)) = self.prepared.get(&site.id)
            && Arc::ptr_eq(&prepared_from, &site)
        {
            return Some(rules);
        }
        let rules = Arc::new(SiteRules::new(rules_input(&site)));
        self.prepared.insert(site.id, (site, Arc::clone(&rules)));
        Some(rules)
    }

    fn key(&self, secret: &str, now: UnixMillis) -> Result<KeyGrant, String> {
        let key = self
            .directory
            .key_by_secret(secret, now)
            .map_err(|refusal| refusal.to_string())?;
        Ok(KeyGrant {
            may_write: matches!(key.scope, Scope::Write | Scope::Admin),
            site: key.site,
        })
    }
}

fn rules_input(site: &Site) -> SiteRulesInput {
    let settings = &site.settings;
    let hosts = site.domains().chain(&settings.allowed_origins);
    SiteRulesInput {
        id: site.id,
        domain: site.domain.to_string(),
        hosts: hosts.map(ToString::to_string).collect(),
        timezone: site.timezone.to_string(),
        is_paused: site.is_paused,
        checks_origin: settings.check_origin,
        requires_consent: settings.require_consent,
        obeys_do_not_track: settings.obey_do_not_track,
        allowed_query_parameters: settings.allowed_query_parameters.clone(),
        sketch_key: settings.sketch_key,
    }
}

/// The router as the gateway sees it.
pub(crate) struct RouterSink(pub(crate) Router);

#[async_trait::async_trait]
impl EventSink for RouterSink {
    async fn submit(
        &self,
        site: SiteId,
        events: Vec<Event>,
    ) -> Result<Box<dyn Receipt>, SinkError> {
        let submission = self.0.submit(site, events, None).map_err(sink_error)?;
        Ok(Box::new(RouterReceipt(submission)))
    }
}

struct RouterReceipt(Submission);

#[async_trait::async_trait]
impl Receipt for RouterReceipt {
    async fn committed(&mut self) -> Result<Durable, SinkError> {
        match self.0.committed().await.map_err(sink_error)? {
            Durability::Quorum => Ok(Durable::Replicated),
            Durability::Spooled => Ok(Durable::Spooled),
        }
    }

    async fn applied(self: Box<Self>) -> Result<Option<Vec<Verdict>>, SinkError> {
        let applied = self.0.applied().await.map_err(sink_error)?;
        Ok(Applied::verdicts(applied))
    }
}

fn sink_error(error: RouteError) -> SinkError {
    SinkError {
        kind: error.kind(),
        message: error.to_string(),
    }
}
