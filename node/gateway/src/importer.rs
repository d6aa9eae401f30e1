//! Turns chunks of an access log into events with their original times.

use std::{borrow::Cow, sync::Arc};

use ringtail_proto::{DropReason, Event, SiteId};

use crate::{
    Hit, ImportKey, SaltsError, SiteRules,
    dialects::access_log::Line,
    enricher::{Enricher, Mode},
    event_ids::id_of,
    gateway::Gateway,
    memo::Memo,
    pipeline,
};

/// One import into one site. Its visitors are hashed under a key that lasts until the import is finished.
pub struct Importer {
    gateway: Arc<Gateway>,
    site: Arc<SiteRules>,
    key: ImportKey,
    /// Event ids are a function of the source and the line.
    ids: [u8; 16],
}

/// What became of a chunk: every line is either an event or dropped.
#[derive(Debug, Default)]
pub struct ImportChunk {
    /// Page views, in the order of their lines. A robot's has its reason set and travels on to be kept for repair:
    /// its verdict will say so.
    pub events: Vec<Event>,
    /// The line of each event, counted from the chunk's first.
    pub event_lines: Vec<u32>,
    /// The other lines, counted from the chunk's first, with their reasons.
    pub dropped: Vec<(u32, DropReason)>,
    /// Lines in the chunk.
    pub lines: u32,
}

impl Importer {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        site: Arc<SiteRules>,
        source: &str,
    ) -> Result<Self, SaltsError> {
        let name = import_name(site.id(), source);
        let key = gateway.enricher.salts.import_key(&name)?;
        let ids = xxhash_rust::xxh3::xxh3_128(name.as_bytes()).to_le_bytes();
        Ok(Self {
            gateway,
            site,
            key,
            ids,
        })
    }

    /// The site.
    #[must_use]
    pub fn site(&self) -> &Arc<SiteRules> {
        &self.site
    }

    /// Reads whole lines, of which the first has this number in the log, from 1. Takes processor time, no locks: run it
    /// beside the threads that answer requests.
    #[must_use]
    pub fn enrich(&self, lines: &[u8], first_line: u64) -> ImportChunk {
        let enricher = &self.gateway.enricher;
        enricher.memos.with(|memo| {
            memo.site = Some((self.site.domain().into(), self.site.clone()));
            let mut chunk = ImportChunk::default();
            let body = lines.strip_suffix(b"\n").unwrap_or(lines);
            if lines.is_empty() {
                return chunk;
            }
            for line in body.split(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                match self.event(enricher, memo, line, first_line + u64::from(chunk.lines)) {
                    Ok(event) => {
                        chunk.events.push(event);
                        chunk.event_lines.push(chunk.lines);
                    }
                    Err(reason) => chunk.dropped.push((chunk.lines, reason)),
                }
                chunk.lines += 1;
            }
            enricher
                .counters
                .hits
                .access_log
                .increment(u64::from(chunk.lines));
            chunk
        })
    }

    fn event(
        &self,
        enricher: &Enricher,
        memo: &mut Memo,
        line: &[u8],
        number: u64,
    ) -> Result<Event, DropReason> {
        let counted = |reason: DropReason| {
            enricher.counters.dropped(reason, 1);
            reason
        };
        let line = Line::parse(line).map_err(counted)?;
        let target = line
            .page_view()
            .ok_or(DropReason::NotAPageview)
            .map_err(counted)?;
        let hit = self.hit(&line, target, number);
        let receipt = enricher.clock.now();
        let mode = Mode::Import { key: &self.key.0 };
        pipeline::enrich(enricher, memo, &hit, receipt, mode).map(|enriched| enriched.event)
    }

    fn hit<'a>(&'a self, line: &'a Line<'a>, target: &'a str, number: u64) -> Hit<'a> {
        let url = match target.starts_with('/') {
            true => format!("https://{}{target}", self.site.domain()),
            false if target.contains("://") => target.to_owned(),
            false => format!("https://{}/{target}", self.site.domain()),
        };
        let address = line.address();
        let user_agent = line.user_agent.as_deref();
        // Where the server wrote a name instead of the address, the name stands for it.
        let visitor = address.is_none().then(|| match user_agent {
            Some(user_agent) => Cow::Owned(format!("{} {user_agent}", line.host)),
            None => Cow::Borrowed(line.host.as_ref()),
        });
        Hit {
            id: Some(id_of(&self.ids, number)),
            time: Some(line.time),
            referrer: Cow::Borrowed(line.referrer.as_deref().unwrap_or_default()),
            user_agent: Cow::Borrowed(user_agent.unwrap_or_default()),
            address,
            visitor,
            // The common format records no user agent, so nothing can be said about robots.
            is_tested_for_bots: user_agent.is_some(),
            signals: crate::Signals {
                do_not_track: false,
                consent: Some(true),
            },
            ..Hit::new(self.site.domain(), url)
        }
    }
}

impl Gateway {
    /// Begins or resumes an import of an access log into a site. The source tells it from other imports.
    ///
    /// # Errors
    /// [`SaltsError`] when its key cannot be kept.
    pub fn importer(
        self: &Arc<Self>,
        site: Arc<SiteRules>,
        source: &str,
    ) -> Result<Importer, SaltsError> {
        Importer::new(Arc::clone(self), site, source)
    }

    /// The key of an import that begins here, or goes on here.
    ///
    /// # Errors
    /// [`SaltsError`] when it cannot be kept.
    pub fn import_key(&self, site: SiteId, source: &str) -> Result<ImportKey, SaltsError> {
        let salts = &self.enricher.salts;
        salts.import_key(&import_name(site, source))
    }

    /// True when this node holds the key of an import.
    #[must_use]
    pub fn holds_import_key(&self, site: SiteId, source: &str) -> bool {
        let salts = &self.enricher.salts;
        salts.holds_import_key(&import_name(site, source))
    }

    /// Takes over the key under which another node began an import, unless this one has its own.
    ///
    /// # Errors
    /// [`SaltsError`] when it cannot be kept.
    pub fn adopt_import_key(
        &self,
        site: SiteId,
        source: &str,
        key: ImportKey,
    ) -> Result<(), SaltsError> {
        let salts = &self.enricher.salts;
        let kept = salts.keep_import_key(&import_name(site, source), || key.0);
        kept.map(drop)
    }

    /// Forgets the key of an import: from now on nobody can tell which address was which visitor.
    ///
    /// # Errors
    /// When the file of keys cannot be written.
    pub fn finish_import(&self, site: SiteId, source: &str) -> Result<(), SaltsError> {
        let salts = &self.enricher.salts;
        salts.finish_import(&import_name(site, source))
    }
}

/// The name under which an import holds its key.
pub(crate) fn import_name(site: SiteId, source: &str) -> String {
    format!(
        "{site}/{:032x}",
        xxhash_rust::xxh3::xxh3_128(source.as_bytes())
    )
}
