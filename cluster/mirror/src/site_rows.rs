//! The rows of a site that a write of it consists of, read piece by piece.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::ControlFlow,
    sync::Arc,
};

use bytes::Bytes;
use ringtail_checkpoint::{GroupKey, GroupSnapshot, SiteReader, StoreError, Stub};
use ringtail_proto::{HourStart, LogIndex, RowReader as _, SiteGeneration, SiteRow};
use ringtail_raft::spawn_blocking;

use crate::MirroringError;

const FIRST: HourStart = HourStart(i64::MIN);
const LAST: HourStart = HourStart(i64::MAX);
const HOT: (SiteRow, SiteRow) = (SiteRow::Hot(u8::MIN), SiteRow::Hot(u8::MAX));
const HOURS: (SiteRow, SiteRow) = (SiteRow::Rows(FIRST), SiteRow::Page(LAST));
const IDS: (SiteRow, SiteRow) = (SiteRow::Ids(FIRST, LogIndex(0)), SiteRow::IdFilter(LAST));

/// A row and its value, none for one that is gone.
pub(crate) type Row = (GroupKey, Option<Bytes>);

/// Reads rows of one site in one snapshot.
pub(crate) struct SiteRows {
    rows: Arc<dyn GroupSnapshot>,
    site: SiteGeneration,
    keys: VecDeque<GroupKey>,
    ranges: VecDeque<(SiteRow, SiteRow)>,
    /// The last row of the first range that was read.
    last: Option<SiteRow>,
}

impl SiteRows {
    /// All that is mirrored of a site. Rolled-up pages are not: they follow from hour pages.
    pub(crate) fn whole(rows: Arc<dyn GroupSnapshot>, site: SiteGeneration) -> Self {
        Self::new(rows, site, VecDeque::new(), [HOT, HOURS, IDS].into())
    }

    /// The rows that changed.
    pub(crate) fn changed(
        rows: Arc<dyn GroupSnapshot>,
        site: SiteGeneration,
        changed: &BTreeSet<Bytes>,
    ) -> Result<Self, StoreError> {
        Ok(Self::new(rows, site, keys(changed)?, VecDeque::new()))
    }

    /// The rows that changed, and all of those that replicas lay out each in its own way: so what is in the mirror becomes
    /// this replica's.
    pub(crate) fn taken_over(
        rows: Arc<dyn GroupSnapshot>,
        site: SiteGeneration,
        changed: &BTreeSet<Bytes>,
    ) -> Result<Self, StoreError> {
        Ok(Self::new(rows, site, keys(changed)?, [HOT, IDS].into()))
    }

    fn new(
        rows: Arc<dyn GroupSnapshot>,
        site: SiteGeneration,
        keys: VecDeque<GroupKey>,
        ranges: VecDeque<(SiteRow, SiteRow)>,
    ) -> Self {
        Self {
            rows,
            site,
            keys,
            ranges,
            last: None,
        }
    }

    /// The site row.
    pub(crate) async fn site_row(&self) -> Result<Option<Bytes>, MirroringError> {
        let (rows, site) = (Arc::clone(&self.rows), self.site);
        let read = spawn_blocking(move || rows.get(&GroupKey::Site(site, SiteRow::Site))).await;
        Ok(read.map_err(|_| MirroringError::Stopping)??)
    }

    /// The next rows, as many as fit, at least one; none when all were read.
    pub(crate) async fn next(mut self, bytes_max: u64) -> Result<(Self, Vec<Row>), MirroringError> {
        let read = spawn_blocking(move || {
            let piece = self.read(bytes_max)?;
            Ok::<_, StoreError>((self, piece))
        });
        Ok(read.await.map_err(|_| MirroringError::Stopping)??)
    }

    fn read(&mut self, bytes_max: u64) -> Result<Vec<Row>, StoreError> {
        let mut piece = Piece {
            rows: Vec::new(),
            bytes: 0,
            bytes_max,
        };
        while !piece.is_full()
            && let Some(key) = self.keys.pop_front()
        {
            let value = self.rows.get(&key)?;
            // Not twice: the ranges have all that is there.
            if value.is_none() || !self.is_in_ranges(&key) {
                piece.add(key, value);
            }
        }
        while !piece.is_full()
            && let Some(range) = self.ranges.front().copied()
        {
            self.read_range(range, &mut piece)?;
        }
        Ok(piece.rows)
    }

    fn is_in_ranges(&self, key: &GroupKey) -> bool {
        let mut ranges = self.ranges.iter();
        match key {
            GroupKey::Site(_, row) => ranges.any(|(from, to)| (from..=to).contains(&row)),
            GroupKey::Group(_) => false,
        }
    }

    fn read_range(
        &mut self,
        (from, to): (SiteRow, SiteRow),
        piece: &mut Piece,
    ) -> Result<(), StoreError> {
        let reader = SiteReader::new(Arc::clone(&self.rows), self.site);
        let (site, seen) = (self.site, self.last);
        let last = &mut self.last;
        let read = reader.range(seen.unwrap_or(from), to, &mut |row, value| {
            if seen == Some(row) {
                return ControlFlow::Continue(());
            }
            if piece.is_full() {
                return ControlFlow::Break(());
            }
            piece.add(GroupKey::Site(site, row), Some(value));
            *last = Some(row);
            ControlFlow::Continue(())
        });
        read.map_err(|error| StoreError::Corrupt {
            message: error.message,
        })?;
        if !piece.is_full() {
            self.ranges.pop_front();
            self.last = None;
        }
        Ok(())
    }
}

/// Rows that are read together.
struct Piece {
    rows: Vec<Row>,
    bytes: u64,
    bytes_max: u64,
}

impl Piece {
    fn add(&mut self, key: GroupKey, value: Option<Bytes>) {
        // The mirror has the page, or the stub would not be there.
        if value.as_ref().is_some_and(|value| is_stub(&key, value)) {
            return;
        }
        /// What a row takes beside its value.
        const ROW_BYTES: u64 = 100;
        self.bytes += ROW_BYTES + value.as_ref().map_or(0, |value| value.len() as u64);
        self.rows.push((key, value));
    }

    const fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }
}

fn is_stub(key: &GroupKey, value: &[u8]) -> bool {
    matches!(key, GroupKey::Site(_, SiteRow::Page(_))) && Stub::decode(value).is_some()
}

/// The rows that these keys name and a write has to have, without the site row, which comes last.
fn keys(changed: &BTreeSet<Bytes>) -> Result<VecDeque<GroupKey>, StoreError> {
    let mut keys = VecDeque::new();
    for key in changed {
        let key = GroupKey::decode(key)?;
        let GroupKey::Site(_, row) = key else {
            continue;
        };
        let is_mirrored = !matches!(
            row,
            SiteRow::Site | SiteRow::DayPage(..) | SiteRow::MonthPage(..) | SiteRow::Notes(..)
        );
        if is_mirrored {
            keys.push_back(key);
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use ringtail_checkpoint::{CheckpointStore as _, GroupBatch, MemoryStore};
    use ringtail_proto::{GroupId, SiteId};

    use super::*;

    const SITE: SiteGeneration = SiteGeneration::first(SiteId(7));
    const HOUR: HourStart = HourStart(3_600_000);
    const PRESENT: [SiteRow; 8] = [
        SiteRow::Site,
        SiteRow::Hot(3),
        SiteRow::Rows(HOUR),
        SiteRow::Page(HOUR),
        SiteRow::DayPage(HOUR, 1),
        SiteRow::Ids(HOUR, LogIndex(5)),
        SiteRow::IdFilter(HOUR),
        SiteRow::Notes(LogIndex(5), 0),
    ];

    fn snapshot() -> Arc<dyn GroupSnapshot> {
        let rows = MemoryStore::default()
            .group(GroupId(1))
            .expect("memory has room");
        let mut batch = GroupBatch::new();
        for row in PRESENT {
            batch.put(&GroupKey::Site(SITE, row), Bytes::from_static(&[1; 50]));
        }
        let evicted = SiteRow::Page(HourStart(0));
        batch.put(&GroupKey::Site(SITE, evicted), Stub::of(b"page").encode());
        let other = GroupKey::Site(SiteGeneration::first(SiteId(8)), SiteRow::Hot(3));
        batch.put(&other, Bytes::from_static(&[1; 50]));
        rows.commit(batch).expect("memory has room");
        rows.snapshot()
    }

    /// All that is read, which does not depend on the size of pieces.
    fn read(make: impl Fn() -> SiteRows) -> Vec<(SiteRow, bool)> {
        let read = |bytes_max| {
            let mut rows = make();
            let mut found = Vec::new();
            loop {
                let piece = rows.read(bytes_max).expect("memory can be read");
                if piece.is_empty() {
                    return found;
                }
                found.extend(piece.into_iter().map(|(key, value)| match key {
                    GroupKey::Site(SITE, row) => (row, value.is_some()),
                    key => panic!("{key:?} is of another site"),
                }));
            }
        };
        let found = read(u64::MAX);
        for bytes_max in [1, 200, 400] {
            assert_eq!(read(bytes_max), found, "pieces of {bytes_max} bytes");
        }
        found
    }

    fn changed(rows: &[SiteRow]) -> BTreeSet<Bytes> {
        let keys = rows.iter().map(|row| GroupKey::Site(SITE, *row).encode());
        keys.collect()
    }

    #[test]
    fn a_whole_site_is_all_but_what_is_rolled_up_noted_or_elsewhere() {
        let expect = [
            (SiteRow::Hot(3), true),
            (SiteRow::Rows(HOUR), true),
            (SiteRow::Page(HOUR), true),
            (SiteRow::Ids(HOUR, LogIndex(5)), true),
            (SiteRow::IdFilter(HOUR), true),
        ];
        assert_eq!(read(|| SiteRows::whole(snapshot(), SITE)), expect);
    }

    #[test]
    fn changes_are_read_as_they_are_now() {
        let gone = SiteRow::IdFilter(HourStart(0));
        let evicted = SiteRow::Page(HourStart(0));
        let keys = changed(&[SiteRow::Site, SiteRow::Page(HOUR), evicted, gone]);
        let of = |rows: &dyn Fn() -> Result<SiteRows, StoreError>| {
            read(|| rows().expect("the keys are rows'"))
        };
        let found = of(&|| SiteRows::changed(snapshot(), SITE, &keys));
        assert_eq!(found, [(SiteRow::Page(HOUR), true), (gone, false)]);
        let expect = [
            (SiteRow::Page(HOUR), true),
            (gone, false),
            (SiteRow::Hot(3), true),
            (SiteRow::Ids(HOUR, LogIndex(5)), true),
            (SiteRow::IdFilter(HOUR), true),
        ];
        let keys = changed(&[SiteRow::Page(HOUR), gone, SiteRow::Hot(3)]);
        let found = of(&|| SiteRows::taken_over(snapshot(), SITE, &keys));
        assert_eq!(found, expect);
    }
}
