//! What became of one event: its verdict, its place in the log, and its visit.

use std::sync::Arc;

use bytes::Bytes;
use ringtail_gateway::Gateway;
use ringtail_metadata::Scope;
use ringtail_partition::LogSource;
use ringtail_proto::{
    ErrorKind, EventId, LogIndex, SiteId, UnixMillis, VisitorId,
    stored::{EventBatch, PartitionEntry, StoredEvent, partition_entry::Body},
    wire::peer,
};
use ringtail_raft::Body as RaftBody;
use serde::Serialize;
use tokio::{task::spawn_blocking, time::Instant};
use uuid::Uuid;

use super::{Access, Caller, Time};
use crate::{
    ViewAt,
    api_error::ApiError,
    health::Health,
    reading::{Freshness, GLANCE_WAIT_MAX, LocalReplicas, PeerReplicas},
};

/// Finds events by id.
#[derive(Clone)]
pub(crate) struct Lookup {
    pub(crate) access: Access,
    pub(crate) health: Arc<Health>,
    pub(crate) local: LocalReplicas,
    pub(crate) peers: PeerReplicas,
    pub(crate) log: Arc<dyn LogSource>,
    pub(crate) gateway: Arc<Gateway>,
}

/// What became of one event.
#[derive(Debug, Serialize)]
struct EventDocument {
    id: String,
    verdict: &'static str,
    /// Why it was dropped.
    reason: Option<&'static str>,
    /// The log entry in which it was accepted first.
    index: Option<u64>,
    /// What the entry says about it; none once the log was purged up to there.
    event: Option<EventFields>,
    /// The visit it belongs to, as far as it is still known.
    visit: Option<VisitFields>,
}

#[derive(Debug, Serialize)]
struct EventFields {
    name: String,
    page: String,
    hostname: String,
    time: Time,
    received: Time,
    #[serde(skip)]
    visitor: VisitorId,
}

#[derive(Debug, Serialize)]
struct VisitFields {
    visitor: String,
    first: Time,
    last: Time,
}

impl Lookup {
    pub(crate) async fn event(
        &self,
        caller: &Caller,
        domain: &str,
        id: &str,
    ) -> Result<Bytes, ApiError> {
        self.health.require_ready()?;
        let site = self.access.site(caller, Scope::Read, domain)?.id;
        let id = Uuid::parse_str(id)
            .map(|uuid| EventId(uuid.as_u128()))
            .map_err(|_| ApiError::invalid(format!("event id {id:?} is not a UUID")))?;
        let found = match self.find_here(site, id).await {
            Err(error) if error.may_be_answered_elsewhere() => self.find_elsewhere(site, id).await,
            found => found,
        }?;
        match found.is_empty() {
            true => self.not_accepted(site, id),
            false => Ok(found),
        }
    }

    /// What this node's replica knows of an event, as JSON; empty when none was accepted.
    pub(crate) async fn find_here(&self, site: SiteId, id: EventId) -> Result<Bytes, ApiError> {
        let (view, index) = self.find(site, id).await?;
        let Some(index) = index else {
            return Ok(Bytes::new());
        };
        let event = self.read(site, index, id).await?;
        let visit = match &event {
            Some(event) => self.visit(view, event.visitor, event.time.0).await?,
            None => None,
        };
        json(&EventDocument {
            id: id.to_string(),
            verdict: "accepted",
            reason: None,
            index: Some(index.0),
            event,
            visit,
        })
    }

    async fn find_elsewhere(&self, site: SiteId, id: EventId) -> Result<Bytes, ApiError> {
        let id = Bytes::copy_from_slice(&id.0.to_be_bytes());
        let deadline = Instant::now() + GLANCE_WAIT_MAX;
        let asked = self.peers.ask(site, deadline, |mut client| {
            let request = peer::FindEventRequest {
                site: site.0,
                id: id.clone(),
            };
            Box::pin(async move { client.find_event(request).await })
        });
        Ok(asked.await?.found)
    }

    async fn find(
        &self,
        site: SiteId,
        id: EventId,
    ) -> Result<(ViewAt, Option<LogIndex>), ApiError> {
        let reading = self.local.view(site, Freshness::InTouch).await?;
        let view = reading.at;
        let found = spawn_blocking(move || {
            let index = view.view.find_event(id, &view.reader);
            index.map(|index| (view, index))
        });
        found
            .await
            .map_err(ApiError::internal)?
            .map_err(ApiError::internal)
    }

    fn not_accepted(&self, site: SiteId, id: EventId) -> Result<Bytes, ApiError> {
        let Some(reason) = self.gateway.recent_drop(site, id) else {
            let message = format!("no event {id} was accepted in the last 72 hours");
            return Err(ApiError::new(ErrorKind::NotFound, message));
        };
        json(&EventDocument {
            id: id.to_string(),
            verdict: "dropped",
            reason: Some(reason.name()),
            index: None,
            event: None,
            visit: None,
        })
    }

    /// The event as its log entry holds it.
    async fn read(
        &self,
        site: SiteId,
        index: LogIndex,
        id: EventId,
    ) -> Result<Option<EventFields>, ApiError> {
        let group = self.local.group_of(site);
        let Ok(entries) = self.log.read(group, index, index, u64::MAX).await else {
            // Purged: the id outlives the log.
            return Ok(None);
        };
        for entry in entries {
            let RaftBody::Command(bytes) = entry.body else {
                continue;
            };
            let entry = PartitionEntry::from_log(bytes).map_err(ApiError::internal)?;
            let stamp = UnixMillis(entry.stamp_ms);
            if let Some(Body::Events(batch)) = entry.body {
                return Ok(fields_in(&batch, site, id, stamp));
            }
        }
        Ok(None)
    }

    async fn visit(
        &self,
        view: ViewAt,
        visitor: VisitorId,
        time: UnixMillis,
    ) -> Result<Option<VisitFields>, ApiError> {
        let found = spawn_blocking(move || view.view.visit_at(visitor, time, &view.reader));
        let visit = found
            .await
            .map_err(ApiError::internal)?
            .map_err(ApiError::internal)?;
        Ok(visit.map(|visit| VisitFields {
            visitor: format!("{:016x}", visit.visitor.0),
            first: Time(visit.first),
            last: Time(visit.last),
        }))
    }
}

fn json(document: &EventDocument) -> Result<Bytes, ApiError> {
    let json = serde_json::to_vec(document).map_err(ApiError::internal)?;
    Ok(json.into())
}

fn fields_in(
    batch: &EventBatch,
    site: SiteId,
    id: EventId,
    received: UnixMillis,
) -> Option<EventFields> {
    let slices = batch.sites.iter().filter(|slice| slice.site == site.0);
    let event = slices
        .flat_map(|slice| &slice.events)
        .find(|event| id_of(event) == id)?;
    let text = |position: u32| {
        let bytes = batch.texts.get(position as usize);
        bytes.map_or_else(String::new, |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    };
    let time = match event.time_ms {
        0 => received,
        time => UnixMillis(time),
    };
    Some(EventFields {
        name: text(event.name),
        page: text(event.page),
        hostname: text(event.hostname),
        time: Time(time),
        received: Time(received),
        visitor: VisitorId(event.visitor),
    })
}

fn id_of(event: &StoredEvent) -> EventId {
    EventId(u128::from(event.id_high) << 64 | u128::from(event.id_low))
}
