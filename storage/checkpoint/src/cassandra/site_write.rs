//! A site's write that comes in pieces.

use bytes::Bytes;
use ringtail_proto::{GroupId, LogIndex, SiteGeneration, SiteRow};

use super::{
    MirrorError, MirrorWriter,
    intents::Intents,
    pruner::Superseded,
    writer::{bad, check_owner, superseded},
};
use crate::GroupKey;

/// Rows whose superseded versions are remembered until the end; of the others they stay until these rows change again.
const SUPERSEDED_MAX: usize = 1 << 18;

/// A write of a site at one version, piece by piece: readers see nothing of it before [`Self::finish`] returns. One that is
/// dropped before stays unfinished, which readers know.
pub struct SiteWrite {
    writer: MirrorWriter,
    group: GroupId,
    site: SiteGeneration,
    version: LogIndex,
    number: i64,
    has_begun: bool,
    superseded: Vec<Superseded>,
}

impl SiteWrite {
    pub(super) const fn new(
        writer: MirrorWriter,
        group: GroupId,
        site: SiteGeneration,
        (version, number): (LogIndex, i64),
    ) -> Self {
        Self {
            writer,
            group,
            site,
            version,
            number,
            has_begun: false,
            superseded: Vec::new(),
        }
    }

    /// Writes rows of the site, none of them its site row; a removed one has no value. A row that comes again has to have
    /// the same value.
    ///
    /// # Errors
    /// [`MirrorError::BadWrite`] before anything is sent; else the piece is to be put again, or all of it given up.
    pub async fn put(&mut self, rows: Vec<(GroupKey, Option<Bytes>)>) -> Result<(), MirrorError> {
        check_owner(self.site, &rows)?;
        let site_key = GroupKey::Site(self.site, SiteRow::Site);
        if rows.iter().any(|(key, _)| *key == site_key) {
            return Err(bad("the site row comes last".to_owned()));
        }
        if rows.is_empty() {
            return Ok(());
        }
        if !self.has_begun {
            self.intents()
                .begin(self.writer.link(), self.number)
                .await?;
            self.has_begun = true;
        }
        self.writer.put(self.group, self.number, &rows).await?;
        let cluster = self.writer.link().cluster;
        let superseded = superseded(cluster, self.group, self.version, &rows);
        let room = SUPERSEDED_MAX.saturating_sub(self.superseded.len());
        self.superseded.extend(superseded.take(room));
        Ok(())
    }

    /// Writes the site row: from now on readers see all of it.
    ///
    /// # Errors
    /// As for [`MirrorWriter::write`]; then it is not known whether readers see it, and the write is to be made again.
    pub async fn finish(self, site_row: Bytes) -> Result<(), MirrorError> {
        let link = self.writer.link();
        let site_key = GroupKey::Site(self.site, SiteRow::Site);
        let rows = vec![(site_key.clone(), Some(site_row))];
        self.writer
            .commit_at(link.cluster, self.group, self.version, rows, &site_key)
            .await?;
        if self.has_begun && self.intents().end(link, self.number).await.is_err() {
            // The site row tells as well that it is finished.
            metrics::counter!("ringtail_mirror_intents_left_total").increment(1);
        }
        self.writer.supersede(self.superseded.into_iter());
        Ok(())
    }

    fn intents(&self) -> Intents {
        Intents::of(self.writer.link().cluster, self.group, self.site)
    }
}
