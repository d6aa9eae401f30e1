//! What notes tell of which rows changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

use bytes::Bytes;
use ringtail_checkpoint::{GroupKey, GroupSnapshot, StoreError};
use ringtail_partition::Note;
use ringtail_proto::{LogIndex, SiteGeneration, SiteRow};
use ringtail_raft::spawn_blocking;

use crate::MirroringError;

/// Sites whose notes tell more than the mirror has.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) sites: Vec<NotedSite>,
    /// The last site that was looked at; none when that was the last of the group.
    pub(crate) rest_after: Option<SiteGeneration>,
    /// The lowest entry of which there is a note above what all replicas know to be mirrored.
    pub(crate) lowest_kept: Option<LogIndex>,
}

/// What one site's notes tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotedSite {
    pub(crate) site: SiteGeneration,
    /// The lowest and the highest entry of a note that the mirror lacks; none when there is no such note.
    pub(crate) entries: Option<(LogIndex, LogIndex)>,
    /// Encoded keys of rows that changed.
    pub(crate) changed: BTreeSet<Bytes>,
}

impl NotedSite {
    /// A site without notes.
    pub(crate) const fn silent(site: SiteGeneration) -> Self {
        Self {
            site,
            entries: None,
            changed: BTreeSet::new(),
        }
    }
}

/// Which notes are looked at.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Sites behind this one.
    pub(crate) after: Option<SiteGeneration>,
    /// What the mirror has already, by site.
    pub(crate) written: Arc<BTreeMap<SiteGeneration, LogIndex>>,
    /// What all replicas know to be mirrored.
    pub(crate) mirrored: Option<LogIndex>,
    /// No further site once there are more keys.
    pub(crate) keys_max: usize,
}

/// Reads notes of as many sites as keys fit, at least one.
pub(crate) async fn read(
    rows: Arc<dyn GroupSnapshot>,
    wanted: Wanted,
) -> Result<Noted, MirroringError> {
    let read = spawn_blocking(move || collect(&*rows, &wanted)).await;
    Ok(read.map_err(|_| MirroringError::Stopping)??)
}

fn collect(rows: &dyn GroupSnapshot, wanted: &Wanted) -> Result<Noted, StoreError> {
    let mut noted = Noted::default();
    let mut keys = 0;
    let mut failed = None;
    let (first, last) = (
        match wanted.after {
            Some(site) => GroupKey::Site(site, SiteRow::Notes(LogIndex(u64::MAX), u32::MAX)),
            None => GroupKey::Site(SiteGeneration::MIN, SiteRow::Notes(LogIndex(0), 0)),
        },
        GroupKey::Site(
            SiteGeneration::MAX,
            SiteRow::Notes(LogIndex(u64::MAX), u32::MAX),
        ),
    );
    rows.range(&first, &last, &mut |key, value| {
        let GroupKey::Site(site, SiteRow::Notes(index, _)) = key else {
            return ControlFlow::Continue(());
        };
        let is_next = noted.sites.last().is_none_or(|known| known.site != site);
        if is_next && keys > wanted.keys_max {
            noted.rest_after = noted.sites.last().map(|known| known.site);
            return ControlFlow::Break(());
        }
        if wanted.mirrored.is_none_or(|mirrored| index > mirrored) {
            let lowest = noted.lowest_kept.map_or(index, |lowest| lowest.min(index));
            noted.lowest_kept = Some(lowest);
        }
        if wanted
            .written
            .get(&site)
            .is_some_and(|written| *written >= index)
        {
            return ControlFlow::Continue(());
        }
        match Note::decode(&value) {
            Ok(note) => {
                let before = noted.add(site, index, note.changed);
                keys += before;
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(noted), Err)
}

impl Noted {
    /// Adds what a note tells; returns how many keys are new.
    fn add(&mut self, site: SiteGeneration, index: LogIndex, changed: BTreeSet<Bytes>) -> usize {
        if self.sites.last().is_none_or(|known| known.site != site) {
            self.sites.push(NotedSite::silent(site));
        }
        let Some(known) = self.sites.last_mut() else {
            return 0;
        };
        let before = known.changed.len();
        let (first, last) = known.entries.unwrap_or((index, index));
        known.entries = Some((first.min(index), last.max(index)));
        known.changed.extend(changed);
        known.changed.len() - before
    }
}

#[cfg(test)]
mod tests {
    use ringtail_checkpoint::{CheckpointStore as _, GroupBatch, MemoryStore};
    use ringtail_proto::{GroupId, HourStart, SiteId};

    use super::*;

    fn site(number: u64) -> SiteGeneration {
        SiteGeneration::first(SiteId(number))
    }

    fn key(number: u64, hour: i64) -> Bytes {
        GroupKey::Site(site(number), SiteRow::Page(HourStart(hour))).encode()
    }

    /// Rows with a note for each site, index and hour of a page.
    fn rows(notes: &[(u64, u64, i64)]) -> Arc<dyn GroupSnapshot> {
        let rows = MemoryStore::default()
            .group(GroupId(1))
            .expect("memory has room");
        let mut batch = GroupBatch::new();
        for (number, index, hour) in notes {
            let note = Note {
                changed: [key(*number, *hour)].into(),
                ..Note::default()
            };
            let value = postcard::to_extend(&note, vec![1]).expect("memory has room");
            let row = SiteRow::Notes(LogIndex(*index), 0);
            batch.put(&GroupKey::Site(site(*number), row), value.into());
        }
        rows.commit(batch).expect("memory has room");
        rows.snapshot()
    }

    fn wanted(written: &[(u64, u64)]) -> Wanted {
        let written = written.iter();
        let written = written.map(|(number, index)| (site(*number), LogIndex(*index)));
        Wanted {
            after: None,
            written: Arc::new(written.collect()),
            mirrored: Some(LogIndex(4)),
            keys_max: 100,
        }
    }

    #[test]
    fn many_notes_of_a_site_become_one_write_of_what_the_mirror_lacks() {
        let rows = rows(&[(1, 3, 1), (1, 5, 1), (1, 9, 2), (2, 7, 1), (3, 8, 1)]);
        let noted = collect(&*rows, &wanted(&[(1, 3), (2, 7)])).expect("notes are whole");
        let expect = [
            NotedSite {
                site: site(1),
                entries: Some((LogIndex(5), LogIndex(9))),
                changed: [key(1, 1), key(1, 2)].into(),
            },
            NotedSite {
                site: site(3),
                entries: Some((LogIndex(8), LogIndex(8))),
                changed: [key(3, 1)].into(),
            },
        ];
        assert_eq!(noted.sites, expect);
        assert_eq!(noted.lowest_kept, Some(LogIndex(5)));
        assert_eq!(noted.rest_after, None);
    }

    #[test]
    fn sites_come_in_pieces_and_each_one_whole() {
        let rows = rows(&[(1, 3, 1), (1, 5, 2), (2, 7, 1), (3, 8, 1), (3, 9, 2)]);
        let mut wanted = Wanted {
            keys_max: 1,
            ..wanted(&[])
        };
        let mut pieces = Vec::new();
        loop {
            let noted = collect(&*rows, &wanted).expect("notes are whole");
            let sites = noted.sites.iter();
            pieces.push(
                sites
                    .map(|noted| (noted.site.site.0, noted.changed.len()))
                    .collect::<Vec<_>>(),
            );
            match noted.rest_after {
                Some(site) => wanted.after = Some(site),
                None => break,
            }
        }
        assert_eq!(pieces, [vec![(1, 2)], vec![(2, 1), (3, 2)]]);
    }
}
