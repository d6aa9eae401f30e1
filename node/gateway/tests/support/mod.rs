//! A gateway over sites that the test knows and a sink that remembers.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use ringtail_gateway::{
    Clock, Durable, EventSink, Gateway, GatewaySettings, KeyGrant, Receipt, Salts, SinkError,
    SiteRules, SiteRulesInput, Sites,
};
use ringtail_proto::{ErrorKind, Event, SiteId, UnixMillis, Verdict};

/// 2026-11-21 12:00:00 UTC.
pub const NOW: i64 = 1_795_262_400_000;
pub const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";

pub struct World {
    pub gateway: Arc<Gateway>,
    pub sink: Arc<Remembering>,
    pub now: Arc<AtomicI64>,
    folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut GatewaySettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(NOW));
        let told = now.clone();
        let clock = Clock::new(move || UnixMillis(told.load(Ordering::Relaxed)));
        let salts = Arc::new(Salts::open(&folder.path().join("salts"), clock.clone()).unwrap());
        let sink = Arc::new(Remembering::default());
        let mut settings = GatewaySettings::default();
        change(&mut settings);
        let gateway = Gateway::new(settings, Arc::new(Known::new()), sink.clone(), salts, clock);
        Self {
            gateway: Arc::new(gateway),
            sink,
            now,
            folder,
        }
    }

    pub fn salts_file(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("salts")).unwrap()
    }
}

/// `example.com` (1), `other.example` (2), `paused.example` (3), `strict.example` (4).
struct Known(Vec<Arc<SiteRules>>);

impl Known {
    fn new() -> Self {
        let site = |id: u64, domain: &str| SiteRulesInput {
            id: SiteId(id),
            domain: domain.to_owned(),
            hosts: vec![domain.to_owned()],
            timezone: "UTC".to_owned(),
            sketch_key: id,
            ..SiteRulesInput::default()
        };
        let paused = SiteRulesInput {
            is_paused: true,
            ..site(3, "paused.example")
        };
        let strict = SiteRulesInput {
            checks_origin: true,
            ..site(4, "strict.example")
        };
        let sites = [
            site(1, "example.com"),
            site(2, "other.example"),
            paused,
            strict,
        ];
        Self(
            sites
                .into_iter()
                .map(|site| Arc::new(SiteRules::new(site)))
                .collect(),
        )
    }
}

impl Sites for Known {
    fn rules(&self, domain: &str) -> Option<Arc<SiteRules>> {
        self.0
            .iter()
            .find(|site| site.domain().eq_ignore_ascii_case(domain))
            .cloned()
    }

    fn key(&self, secret: &str, _now: UnixMillis) -> Result<KeyGrant, String> {
        match secret {
            "writer" => Ok(KeyGrant {
                may_write: true,
                site: None,
            }),
            "writer-2" => Ok(KeyGrant {
                may_write: true,
                site: Some(SiteId(2)),
            }),
            "reader" => Ok(KeyGrant {
                may_write: false,
                site: None,
            }),
            _ => Err("the key is unknown".to_owned()),
        }
    }
}

/// Remembers events and what was waited for; refuses when told to.
#[derive(Default)]
pub struct Remembering {
    pub events: Mutex<Vec<(SiteId, Event)>>,
    pub waits: Arc<Mutex<Vec<&'static str>>>,
    pub refusal: Mutex<Option<ErrorKind>>,
    pub is_spooling: AtomicBool,
}

impl Remembering {
    pub fn only(&self) -> Event {
        let events = self.events.lock().unwrap();
        assert_eq!(events.len(), 1);
        events[0].1.clone()
    }

    pub fn count(&self) -> usize {
        self.events.lock().unwrap().len()
    }
}

#[async_trait::async_trait]
impl EventSink for Remembering {
    async fn submit(
        &self,
        site: SiteId,
        events: Vec<Event>,
    ) -> Result<Box<dyn Receipt>, SinkError> {
        if let Some(kind) = *self.refusal.lock().unwrap() {
            return Err(SinkError {
                kind,
                message: format!("refused: {kind}"),
            });
        }
        let verdicts = events
            .iter()
            .map(|event| event.dropped.map_or(Verdict::Accepted, Verdict::Dropped))
            .collect();
        self.events
            .lock()
            .unwrap()
            .extend(events.into_iter().map(|event| (site, event)));
        Ok(Box::new(Remembered {
            verdicts,
            is_spooling: self.is_spooling.load(Ordering::Relaxed),
            waits: self.waits.clone(),
        }))
    }
}

struct Remembered {
    verdicts: Vec<Verdict>,
    is_spooling: bool,
    waits: Arc<Mutex<Vec<&'static str>>>,
}

#[async_trait::async_trait]
impl Receipt for Remembered {
    async fn committed(&mut self) -> Result<Durable, SinkError> {
        self.waits.lock().unwrap().push("committed");
        Ok(match self.is_spooling {
            true => Durable::Spooled,
            false => Durable::Replicated,
        })
    }

    async fn applied(self: Box<Self>) -> Result<Option<Vec<Verdict>>, SinkError> {
        self.waits.lock().unwrap().push("applied");
        Ok((!self.is_spooling).then_some(self.verdicts))
    }
}
