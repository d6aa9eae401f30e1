//! A table to try steps on: sites with known rules, a clock that the test sets.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use ringtail_proto::{DropReason, Event, SiteId, UnixMillis};

use crate::{
    Clock, GatewaySettings, Hit, KeyGrant, Salts, SiteRules, SiteRulesInput, Sites,
    enricher::{Draft, Enricher, Mode, Work},
    pipeline,
};

/// 2026-11-21 12:00:00 UTC.
pub(crate) const NOW: UnixMillis = UnixMillis(1_795_262_400_000);

pub(crate) struct Bench {
    pub(crate) enricher: Enricher,
    now: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(NOW.0));
        let told = now.clone();
        let clock = Clock::new(move || UnixMillis(told.load(Ordering::Relaxed)));
        let salts = Salts::open(&folder.path().join("salts"), clock.clone()).unwrap();
        let enricher = Enricher::new(
            Arc::new(KnownSites::new()),
            Arc::new(salts),
            clock,
            GatewaySettings::default(),
        );
        Self {
            enricher,
            now,
            _folder: folder,
        }
    }

    pub(crate) fn set_now(&self, millis: i64) {
        self.now.store(millis, Ordering::Relaxed);
    }

    /// A person's user agent.
    pub(crate) fn browser(&self) -> Cow<'static, str> {
        Cow::Borrowed("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0")
    }

    /// One step, after the site has been looked up.
    pub(crate) fn run(
        &self,
        step: fn(&mut Work<'_, '_>) -> Result<(), DropReason>,
        hit: &Hit<'_>,
    ) -> (Result<(), DropReason>, Draft) {
        self.enricher.memos.with(|memo| {
            let mut draft = Draft::new(&self.enricher);
            draft.site = self.enricher.sites.rules(hit.domain);
            let mut work = Work {
                enricher: &self.enricher,
                memo,
                hit,
                receipt: self.enricher.clock.now(),
                mode: Mode::Live,
                draft,
            };
            (step(&mut work), work.draft)
        })
    }

    /// All steps.
    pub(crate) fn enrich(&self, hit: &Hit<'_>) -> Result<Event, DropReason> {
        self.enricher.memos.with(|memo| {
            let receipt = self.enricher.clock.now();
            let enriched = pipeline::enrich(&self.enricher, memo, hit, receipt, Mode::Live);
            enriched.map(|enriched| enriched.event)
        })
    }
}

/// Sites with every rule that a test needs.
pub(crate) struct KnownSites(Vec<Arc<SiteRules>>);

impl KnownSites {
    pub(crate) fn new() -> Self {
        let site = |id: u64, domain: &str| SiteRulesInput {
            id: SiteId(id),
            domain: domain.to_owned(),
            hosts: vec![domain.to_owned()],
            timezone: "UTC".to_owned(),
            allowed_query_parameters: vec!["q".to_owned()],
            sketch_key: 1_000 + id,
            ..SiteRulesInput::default()
        };
        let strict = SiteRulesInput {
            hosts: vec!["strict.example".to_owned(), "allowed.example".to_owned()],
            checks_origin: true,
            ..site(4, "strict.example")
        };
        let private = SiteRulesInput {
            requires_consent: true,
            obeys_do_not_track: true,
            ..site(5, "private.example")
        };
        let paused = SiteRulesInput {
            is_paused: true,
            ..site(3, "paused.example")
        };
        let inputs = [
            site(1, "example.com"),
            site(2, "other.example"),
            paused,
            strict,
            private,
        ];
        Self(
            inputs
                .into_iter()
                .map(|input| Arc::new(SiteRules::new(input)))
                .collect(),
        )
    }
}

impl Sites for KnownSites {
    fn rules(&self, domain: &str) -> Option<Arc<SiteRules>> {
        let domain = domain.to_ascii_lowercase();
        self.0.iter().find(|rules| rules.domain == domain).cloned()
    }

    fn key(&self, secret: &str, _now: UnixMillis) -> Result<KeyGrant, String> {
        match secret {
            "writer" => Ok(KeyGrant {
                may_write: true,
                site: None,
            }),
            "writer-1" => Ok(KeyGrant {
                may_write: true,
                site: Some(SiteId(1)),
            }),
            "reader" => Ok(KeyGrant {
                may_write: false,
                site: None,
            }),
            _ => Err("the key is unknown".to_owned()),
        }
    }
}
