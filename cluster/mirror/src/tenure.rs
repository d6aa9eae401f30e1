//! What a leader remembers of the mirror for as long as it leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use ringtail_checkpoint::{GroupKey, GroupSnapshot, StoreError};
use ringtail_partition::MirrorTurn;
use ringtail_proto::{LogIndex, SiteGeneration, SiteRow};
use ringtail_raft::spawn_blocking;

use crate::MirroringError;

/// One leader's work on the mirror of one group.
#[derive(Debug)]
pub(crate) struct Tenure {
    pub(crate) term: u64,
    /// An entry of the term. Whoever led before has written of no site beyond it: so a site is written only once the rows
    /// here hold all that it says up to there.
    pub(crate) since: LogIndex,
    /// Every change by entries after this one has left a note here; none when that is so only since this tenure.
    pub(crate) noted_since: Option<LogIndex>,
    /// The version of the mirror holds what this replica's rows held at these entries.
    pub(crate) written: Arc<BTreeMap<SiteGeneration, LogIndex>>,
    /// Sites of which it is not known what the mirror has.
    pub(crate) unknown: BTreeSet<SiteGeneration>,
    /// Ended generations that are gone from the mirror.
    pub(crate) removed: BTreeSet<SiteGeneration>,
    /// The group's own rows as the mirror has them.
    pub(crate) group_rows: BTreeMap<GroupKey, Bytes>,
    pub(crate) through: LogIndex,
    pub(crate) told: Option<(LogIndex, Instant)>,
}

impl Tenure {
    /// Begins with all sites unknown.
    pub(crate) async fn begin(turn: &MirrorTurn) -> Result<Self, MirroringError> {
        let rows = Arc::clone(&turn.rows);
        let sites = spawn_blocking(move || sites(&*rows)).await;
        Ok(Self {
            term: turn.term,
            since: turn.applied,
            noted_since: turn.noted_since,
            written: Arc::default(),
            unknown: sites.map_err(|_| MirroringError::Stopping)??,
            removed: BTreeSet::new(),
            group_rows: BTreeMap::new(),
            through: turn.mirrored.unwrap_or_default(),
            told: None,
        })
    }

    /// The rows of a site hold all that an earlier leader can have written of it.
    pub(crate) fn is_settled(&self, turn: &MirrorTurn, site: SiteGeneration) -> bool {
        let dirty = turn.dirty.get(&site);
        dirty.is_none_or(|since| *since > self.since)
    }

    /// The mirror has a site as it was at an entry.
    pub(crate) fn note_written(&mut self, site: SiteGeneration, index: LogIndex) {
        Arc::make_mut(&mut self.written).insert(site, index);
        self.unknown.remove(&site);
    }
}

/// All sites that have rows.
fn sites(rows: &dyn GroupSnapshot) -> Result<BTreeSet<SiteGeneration>, StoreError> {
    let mut sites = BTreeSet::new();
    let first = GroupKey::Site(SiteGeneration::MIN, SiteRow::Site);
    let last = GroupKey::Site(SiteGeneration::MAX, SiteRow::Site);
    rows.range(&first, &last, &mut |key, _| {
        if let GroupKey::Site(site, _) = key {
            sites.insert(site);
        }
        ControlFlow::Continue(())
    })?;
    Ok(sites)
}
