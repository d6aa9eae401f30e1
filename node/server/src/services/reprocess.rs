//! History under other rules: begun, watched, compared, switched to, undone.

mod difference;
mod new_rules;
mod replicas;

use ringtail_metadata::{
    Command, GenerationRecord, Metadata, MetadataError, Scope, Site, SitePast,
};
use ringtail_proto::{ErrorKind, SiteId};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use self::difference::Difference;
use self::replicas::Replicas;
use super::{Access, Caller, Reports, Time};
use crate::{api_error::ApiError, ring::Surveyor};

/// The reason that the audit log shows.
const WHY: &str = "asked through the API";
/// Clocks of nodes may differ by so much.
const CLOCKS_DIFFER_MS_MAX: i64 = 5 * 60_000;

/// Reprocesses sites.
#[derive(Clone)]
pub(crate) struct Reprocess {
    pub(crate) access: Access,
    pub(crate) metadata: Metadata,
    pub(crate) surveyor: Surveyor,
    pub(crate) reports: Reports,
}

/// What is to be done about a site's history.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewReprocess {
    /// A rule file; none keeps the rules of the generation that is served.
    pub(crate) rules: Option<String>,
    /// Rules about events hold for those of this time and later: a date in the site's zone, or an instant.
    pub(crate) from: Option<String>,
    /// What the rules are called.
    pub(crate) label: String,
}

/// A step of a site that is being reprocessed, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Build no further for now.
    Pause,
    /// Build on.
    Resume,
    /// Give the next generation up.
    Cancel,
    /// Serve the next generation, once all replicas hold it.
    Switch,
    /// Serve the former generation again.
    Undo,
    /// Give the former generation up.
    Accept,
}

impl Reprocess {
    /// Begins another generation of a site.
    pub(crate) async fn begin(
        &self,
        caller: &Caller,
        domain: &str,
        wanted: NewReprocess,
    ) -> Result<Value, ApiError> {
        self.metadata.read_barrier().await?;
        // Read behind the barrier: the rules hold for settings up to those that are known now.
        let site = self.access.site(caller, Scope::Admin, domain)?;
        let past = self.metadata.directory().past(site.id);
        let rules = new_rules::encoded(&wanted, &site, past.as_deref())?;
        self.replicas(&site).await?.check_past(&site)?;
        let command = Command::Reprocess {
            site: site.id,
            rules,
            label: wanted.label,
        };
        self.execute(caller, command).await?;
        self.document_of(&site).await
    }

    /// The generations of a site, and how far the next one is.
    pub(crate) async fn document(&self, caller: &Caller, domain: &str) -> Result<Value, ApiError> {
        let site = self.access.site(caller, Scope::Admin, domain)?;
        self.document_of(&site).await
    }

    /// Takes a step.
    pub(crate) async fn take(
        &self,
        caller: &Caller,
        domain: &str,
        step: Step,
    ) -> Result<Value, ApiError> {
        self.metadata.read_barrier().await?;
        let site = self.access.site(caller, Scope::Admin, domain)?;
        let id = site.id;
        let past = self.metadata.directory().past(id);
        let next = past.as_ref().and_then(|past| past.next.as_ref());
        let next = next.map(|next| next.record.generation);
        let next = next.ok_or(MetadataError::NotReprocessed { site: id });
        let former = past.as_ref().and_then(|past| past.former.as_ref());
        let former = former.map(|former| former.generation);
        let former = former.ok_or(MetadataError::NoFormerGeneration { site: id });
        let command = match step {
            Step::Pause | Step::Resume => Command::PauseReprocess {
                site: id,
                is_paused: step == Step::Pause,
            },
            Step::Cancel => Command::CancelReprocess {
                site: id,
                generation: next?,
            },
            Step::Switch => {
                let generation = next?;
                let replicas = self.replicas(&site).await?;
                replicas.check_complete(generation)?;
                Command::SwitchGeneration {
                    site: id,
                    generation,
                }
            }
            Step::Undo => Command::SwitchGeneration {
                site: id,
                generation: former?,
            },
            Step::Accept => Command::AcceptGeneration {
                site: id,
                former: former?,
            },
        };
        self.execute(caller, command).await?;
        self.document_of(&site).await
    }

    /// Both generations of a site that there is a choice between, metric by metric.
    pub(crate) async fn difference(
        &self,
        caller: &Caller,
        domain: &str,
        wanted: &Difference,
    ) -> Result<Value, ApiError> {
        let site = self.access.site(caller, Scope::Admin, domain)?;
        let past = self.past(site.id)?;
        let (before, after) = match (&past.next, &past.former) {
            (Some(next), _) => (&past.serving, &next.record),
            (None, Some(former)) => (former, &past.serving),
            (None, None) => return Err(nothing_to_compare(site.id)),
        };
        let generations = [before.generation, after.generation];
        wanted.ask(&self.reports, caller, domain, generations).await
    }

    async fn execute(&self, caller: &Caller, command: Command) -> Result<(), ApiError> {
        let executed = self.metadata.execute(command, &caller.actor(), WHY).await;
        Ok(executed.map(drop)?)
    }

    fn past(&self, site: SiteId) -> Result<SitePast, ApiError> {
        let past = self.metadata.directory().past(site);
        let past = past.ok_or_else(|| nothing_to_compare(site))?;
        Ok(SitePast::clone(&past))
    }

    async fn replicas(&self, site: &Site) -> Result<Replicas, ApiError> {
        let directory = self.metadata.directory();
        let group = directory.group_of(site.id);
        let placement = directory.placement();
        let place = placement.get(&group);
        let hosts = place.map(|place| place.hosts.clone()).unwrap_or_default();
        let survey = self.surveyor.ask_about(&[site.id]).await;
        Ok(Replicas::new(site.id, group, &hosts, survey))
    }

    async fn document_of(&self, site: &Site) -> Result<Value, ApiError> {
        let past = self.metadata.directory().past(site.id);
        let next = match past.as_ref().and_then(|past| past.next.as_ref()) {
            Some(next) => {
                let replicas = self.replicas(site).await?;
                let mut document = record_document(&next.record);
                if let Some(fields) = document.as_object_mut() {
                    fields.insert("is_paused".to_owned(), json!(next.is_paused));
                    fields.extend(replicas.document(next.record.generation));
                }
                Some(document)
            }
            None => None,
        };
        let former = past.as_ref().and_then(|past| past.former.as_ref());
        let serving = past.as_ref().map(|past| record_document(&past.serving));
        Ok(json!({
            "site": site.domain.to_string(),
            "serving": serving.unwrap_or_else(|| json!({"generation": 0, "label": ""})),
            "former": former.map(record_document),
            "next": next,
        }))
    }
}

fn record_document(record: &GenerationRecord) -> Value {
    json!({
        "generation": record.generation,
        "label": record.label,
        "rules_bytes": record.rules.len(),
        "created": Time(record.created),
    })
}

fn nothing_to_compare(site: SiteId) -> ApiError {
    let message = format!("site {site} has one generation only");
    ApiError::new(ErrorKind::Conflict, message)
}
