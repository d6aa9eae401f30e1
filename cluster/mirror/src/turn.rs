//! One look at one group: what the mirror lacks of it is written.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use ringtail_checkpoint::cassandra::{MirrorReader, MirrorWriter};
use ringtail_partition::MirrorTurn;
use ringtail_proto::{Generation, GroupId, LogIndex, SiteGeneration};

use crate::{
    MirrorerOptions, MirroringError, group_rows, index_of,
    notes::{self, NotedSite, Wanted},
    site_rows::SiteRows,
    tenure::Tenure,
    version,
};

/// How long the group may take to agree on how far its mirror is.
pub(crate) const TELL_WAIT_MAX: Duration = Duration::from_secs(30);

/// What one look at a group needs.
pub(crate) struct Turn<'a> {
    pub(crate) group: GroupId,
    pub(crate) moment: &'a MirrorTurn,
    pub(crate) reader: MirrorReader,
    pub(crate) writer: MirrorWriter,
    /// The servers did not answer lately.
    pub(crate) is_paused: bool,
    pub(crate) options: &'a MirrorerOptions,
}

/// What it came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sites: usize,
    pub(crate) rows: usize,
    pub(crate) left: usize,
    /// The lowest entry of a note that the mirror lacks.
    lowest_left: Option<LogIndex>,
    /// The lowest entry of a note that replicas would forget if they knew.
    pub(crate) lowest_kept: Option<LogIndex>,
    pub(crate) failure: Option<MirroringError>,
}

/// How much of a site is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Changes,
    TakeOver,
    Whole,
    /// It is there already.
    Nothing,
}

impl Turn<'_> {
    /// Writes what can be written now.
    pub(crate) async fn run(&self, tenure: &mut Tenure) -> Result<Outcome, MirroringError> {
        let mut outcome = Outcome::default();
        if self.is_paused {
            // One question finds out whether the servers are back; until then no rows are read for them.
            self.reader.sites(self.group).await?;
        }
        self.write_group_rows(tenure).await?;
        let mut wanted = Wanted {
            after: None,
            written: Arc::clone(&tenure.written),
            mirrored: self.moment.mirrored,
            keys_max: self.options.noted_keys_max,
        };
        // One that was built since this node leads has left no notes.
        for site in self.moment.later() {
            if !tenure.written.contains_key(&site) {
                tenure.unknown.insert(site);
            }
        }
        let mut silent = tenure.unknown.clone();
        loop {
            let noted = notes::read(Arc::clone(&self.moment.rows), wanted.clone()).await?;
            let kept = outcome.lowest_kept.into_iter().chain(noted.lowest_kept);
            outcome.lowest_kept = kept.min();
            for noted in &noted.sites {
                silent.remove(&noted.site);
            }
            self.write_sites(tenure, noted.sites, &mut outcome).await?;
            match noted.rest_after {
                Some(site) => wanted.after = Some(site),
                None => break,
            }
        }
        let silent = silent.into_iter().map(NotedSite::silent).collect();
        self.write_sites(tenure, silent, &mut outcome).await?;
        self.remove_ended(tenure).await?;
        self.advance(tenure, &outcome);
        Ok(outcome)
    }

    /// The mirror has everything below the first note that it lacks, once nothing is unknown any more.
    fn advance(&self, tenure: &mut Tenure, outcome: &Outcome) {
        let mut unknown = tenure.unknown.iter();
        if unknown.any(|site| self.moment.is_fed(*site)) {
            return;
        }
        let settled = self.moment.settled;
        let through = match outcome.lowest_left {
            Some(left) => settled.min(LogIndex(left.0.saturating_sub(1))),
            None => settled,
        };
        tenure.through = tenure.through.max(through);
    }

    async fn write_group_rows(&self, tenure: &mut Tenure) -> Result<(), MirroringError> {
        let rows = Arc::clone(&self.moment.rows);
        let Some(now) = group_rows::read(rows, &tenure.group_rows).await? else {
            return Ok(());
        };
        let changes = group_rows::changes(&tenure.group_rows, &now);
        let version = version(tenure.term, group_rows::index(&now))?;
        self.writer
            .write_group(self.group, version, changes)
            .await?;
        tenure.group_rows = now;
        Ok(())
    }

    /// Writes some sites, a few at once; ends at the first sign of an outage.
    async fn write_sites(
        &self,
        tenure: &mut Tenure,
        sites: Vec<NotedSite>,
        outcome: &mut Outcome,
    ) -> Result<(), MirroringError> {
        let (due, waiting): (Vec<_>, Vec<_>) = sites.into_iter().partition(|noted| {
            self.moment.is_fed(noted.site) && tenure.is_settled(self.moment, noted.site)
        });
        for noted in &waiting {
            // What is still being built is written as a whole once it is complete.
            if self.moment.is_fed(noted.site) {
                outcome.leave(noted);
            }
        }
        let before: &Tenure = tenure;
        let mut done = Vec::new();
        let mut writing = stream::iter(due)
            .map(async |noted| {
                let written = self.write_site(before, &noted).await;
                (noted, written)
            })
            .buffer_unordered(self.options.sites_at_once.max(1));
        let mut outage = None;
        while let Some((noted, written)) = writing.next().await {
            match written {
                Ok(rows) => {
                    outcome.sites += 1;
                    outcome.rows += rows;
                    done.push(noted);
                }
                Err(error) if error.is_outage() => {
                    outage = Some(error);
                    break;
                }
                Err(error) => {
                    let site = noted.site;
                    tracing::warn!(group = %self.group, %site, %error, "checkpoint: a site is not mirrored");
                    metrics::counter!("ringtail_mirror_site_failures_total").increment(1);
                    outcome.leave(&noted);
                    outcome.failure = Some(error);
                }
            }
        }
        drop(writing);
        for noted in done {
            let last = noted.entries.map(|(_, last)| last);
            tenure.note_written(noted.site, last.unwrap_or(tenure.since));
        }
        outage.map_or(Ok(()), Err)
    }

    /// Writes one site as it is in the rows; returns of how many rows that was.
    async fn write_site(
        &self,
        tenure: &Tenure,
        noted: &NotedSite,
    ) -> Result<usize, MirroringError> {
        let site = noted.site;
        let rows = || Arc::clone(&self.moment.rows);
        let mut pieces = match self.extent(tenure, noted).await? {
            Extent::Nothing => return Ok(0),
            Extent::Changes => SiteRows::changed(rows(), site, &noted.changed)?,
            Extent::TakeOver => SiteRows::taken_over(rows(), site, &noted.changed)?,
            Extent::Whole => SiteRows::whole(rows(), site),
        };
        let Some(site_row) = pieces.site_row().await? else {
            return Ok(0);
        };
        // A site without notes has not changed in this term yet: its next note is of a later entry.
        let index = noted.entries.map_or(tenure.since, |(_, last)| last);
        let version = version(tenure.term, index)?;
        let mut write = self.writer.begin(self.group, site, version)?;
        let mut count = 1;
        loop {
            let (rest, piece) = pieces.next(self.options.piece_bytes_max).await?;
            if piece.is_empty() {
                break;
            }
            count += piece.len();
            write.put(piece).await?;
            pieces = rest;
        }
        write.finish(site_row).await?;
        Ok(count)
    }

    /// What the mirror lacks of a site.
    async fn extent(&self, tenure: &Tenure, noted: &NotedSite) -> Result<Extent, MirroringError> {
        let site = noted.site;
        if tenure.written.contains_key(&site) {
            return Ok(Extent::Changes);
        }
        // What is derived from the archive is written without notes.
        let leaves_notes = site.generation == Generation(0);
        let pin = self.reader.pin(self.group, site).await?;
        let known = pin
            .map(|pin| index_of(pin.version))
            .filter(|_| leaves_notes);
        let noted_since = tenure.noted_since;
        Ok(match (known, noted_since) {
            (Some(known), Some(since)) if known >= since => match noted.entries {
                None => Extent::Nothing,
                Some(_) => Extent::TakeOver,
            },
            _ => Extent::Whole,
        })
    }

    /// Removes generations that are fed no longer, as far as the mirror may have them, once it has those that are.
    async fn remove_ended(&self, tenure: &mut Tenure) -> Result<(), MirroringError> {
        let ended: Vec<SiteGeneration> = {
            let ended = self.moment.ended.iter();
            let is_left = |site: &SiteGeneration| {
                let mut unknown = tenure.unknown.iter();
                !tenure.removed.contains(site)
                    && !self.moment.is_fed(*site)
                    && !unknown.any(|other| other.site == site.site && self.moment.is_fed(*other))
            };
            let left = ended.filter(|site| is_left(site));
            left.copied().collect()
        };
        if ended.is_empty() {
            return Ok(());
        }
        let through = version(tenure.term, self.moment.applied)?;
        let listed = self.reader.sites(self.group).await?;
        for site in ended {
            if listed.binary_search(&site).is_ok() {
                self.writer.remove_site(self.group, site, through).await?;
                tracing::info!(group = %self.group, %site, "checkpoint: an ended generation is gone from the mirror");
            }
            tenure.removed.insert(site);
            tenure.unknown.remove(&site);
        }
        Ok(())
    }
}

impl Outcome {
    fn leave(&mut self, noted: &NotedSite) {
        self.left += 1;
        if let Some((first, _)) = noted.entries {
            let lowest = self.lowest_left.into_iter().chain([first]);
            self.lowest_left = lowest.min();
        }
    }
}
