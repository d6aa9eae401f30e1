//! The rows of one generation of a site in a snapshot of its group.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{RowReadError, RowReader, SiteGeneration, SiteRow};

use crate::{
    Elsewhere, GroupKey, GroupSnapshot, StoreError,
    elsewhere::Resolving,
    group_key::{bounds_of, kind_of},
};

/// Pages that are asked for together.
const TOGETHER_MAX: usize = 64;

/// Reads the rows of one generation of a site as of one moment; no other's rows can be reached through it.
#[derive(Clone)]
pub struct SiteReader {
    snapshot: Arc<dyn GroupSnapshot>,
    site: SiteGeneration,
    resolving: Resolving,
}

impl SiteReader {
    /// Reads the rows of `site` in `snapshot`, as they are there.
    #[must_use]
    pub fn new(snapshot: Arc<dyn GroupSnapshot>, site: SiteGeneration) -> Self {
        Self {
            snapshot,
            site,
            resolving: Resolving::Not,
        }
    }

    /// Reads the same; pages that rest elsewhere are fetched from there.
    #[must_use]
    pub fn resolving(self, elsewhere: Option<Arc<dyn Elsewhere>>) -> Self {
        let resolving = Resolving::From(elsewhere);
        Self { resolving, ..self }
    }

    /// Reads the same as it is in the snapshot.
    #[must_use]
    pub fn unresolved(&self) -> Self {
        Self::new(Arc::clone(&self.snapshot), self.site)
    }

    /// Whose rows these are.
    #[must_use]
    pub const fn site(&self) -> SiteGeneration {
        self.site
    }

    /// Rows of one kind.
    fn range_of_kind(
        &self,
        (from, to): (SiteRow, SiteRow),
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut flow = ControlFlow::Continue(());
        self.snapshot.range(
            &GroupKey::Site(self.site, from),
            &GroupKey::Site(self.site, to),
            &mut |key, value| {
                let GroupKey::Site(_, row) = key else {
                    return ControlFlow::Continue(());
                };
                flow = visit(row, value);
                flow
            },
        )?;
        Ok(flow)
    }

    /// Pages, some of which may rest elsewhere: these are asked for together, a few at first, since many callers want no
    /// more.
    fn range_of_pages(
        &self,
        (from, to): (SiteRow, SiteRow),
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, RowReadError> {
        let (mut next, mut seen, mut together) = (from, None, 1);
        loop {
            let mut rows: Vec<(SiteRow, Bytes)> = Vec::new();
            let read = self.range_of_kind((next, to), &mut |row, value| {
                if seen == Some(row) {
                    return ControlFlow::Continue(());
                }
                rows.push((row, value));
                match rows.len() < together {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            self.resolving.resolve(self.site, &mut rows)?;
            for (row, value) in rows {
                (next, seen) = (row, Some(row));
                if visit(row, value).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if read.is_continue() {
                return Ok(read);
            }
            together = (together * 8).min(TOGETHER_MAX);
        }
    }
}

impl RowReader for SiteReader {
    fn get(&self, row: SiteRow) -> Result<Option<Bytes>, RowReadError> {
        let Some(value) = self.snapshot.get(&GroupKey::Site(self.site, row))? else {
            return Ok(None);
        };
        let mut rows = [(row, value)];
        self.resolving.resolve(self.site, &mut rows)?;
        let [(_, value)] = rows;
        Ok(Some(value))
    }

    /// Rows of different kinds do not lie side by side in the group, so each kind is a range of its own.
    fn range(
        &self,
        from: SiteRow,
        to: SiteRow,
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError> {
        for kind in kind_of(from)..=kind_of(to) {
            let Some((first, last)) = bounds_of(kind) else {
                continue;
            };
            let bounds = (first.max(from), last.min(to));
            let flow = match (&self.resolving, first) {
                (Resolving::From(_), SiteRow::Page(_)) => self.range_of_pages(bounds, visit)?,
                _ => self.range_of_kind(bounds, visit)?,
            };
            if flow.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ringtail_proto::{GroupId, HourStart, SiteId};

    use super::*;
    use crate::{CheckpointStore as _, GroupBatch, MemoryStore, Stub};

    const SITE: SiteGeneration = SiteGeneration::first(SiteId(7));

    /// Has the pages of even hours.
    struct Even;

    impl Elsewhere for Even {
        fn fetch(
            &self,
            _: SiteGeneration,
            pages: &[(SiteRow, Stub)],
        ) -> Result<Vec<Bytes>, RowReadError> {
            assert!(!pages.is_empty() && pages.len() <= TOGETHER_MAX);
            let pages = pages.iter().map(|(row, _)| match row {
                SiteRow::Page(hour) if hour.0 % 2 == 0 => Ok(page(hour.0)),
                row => Err(RowReadError {
                    message: format!("{row:?} is away"),
                }),
            });
            pages.collect()
        }
    }

    fn page(hour: i64) -> Bytes {
        Bytes::from(format!("\u{1}page {hour}"))
    }

    /// Pages of hours, of which even ones below a bound rest elsewhere.
    fn reader(hours: i64, elsewhere_below: i64) -> SiteReader {
        let rows = MemoryStore::default()
            .group(GroupId(1))
            .expect("memory has room");
        let mut batch = GroupBatch::new();
        for hour in 0..hours {
            let value = match hour < elsewhere_below {
                true => Stub::of(&page(hour)).encode(),
                false => page(hour),
            };
            batch.put(&GroupKey::Site(SITE, SiteRow::Page(HourStart(hour))), value);
        }
        let rows_of_hour = GroupKey::Site(SITE, SiteRow::Rows(HourStart(0)));
        batch.put(&rows_of_hour, Stub::of(b"no page").encode());
        rows.commit(batch).expect("memory has room");
        SiteReader::new(rows.snapshot(), SITE)
    }

    fn read(reader: &SiteReader, hours: i64) -> Result<Vec<Bytes>, RowReadError> {
        let mut found = Vec::new();
        let (from, to) = (HourStart(0), HourStart(hours));
        reader.range(SiteRow::Rows(from), SiteRow::Page(to), &mut |row, value| {
            if matches!(row, SiteRow::Page(_)) {
                found.push(value);
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    #[test]
    fn pages_that_rest_elsewhere_are_read_like_those_here() {
        let all: Vec<Bytes> = (0..200).map(page).collect();
        assert_eq!(read(&reader(200, 0).resolving(None), 200).ok(), Some(all));
        let one = reader(200, 1).resolving(Some(Arc::new(Even)));
        assert_eq!(read(&one, 200).map(|pages| pages.len()).ok(), Some(200));
        assert_eq!(
            one.get(SiteRow::Page(HourStart(0))).ok().flatten(),
            Some(page(0))
        );
        // Only pages can be stubs.
        let row = one.get(SiteRow::Rows(HourStart(0))).ok().flatten();
        assert_eq!(row, Some(Stub::of(b"no page").encode()));
    }

    #[test]
    fn what_is_not_to_be_had_is_an_error_and_no_gap() {
        let away = reader(200, 2).resolving(Some(Arc::new(Even)));
        assert!(read(&away, 200).is_err_and(|error| error.message.contains("is away")));
        assert!(read(&reader(3, 1).resolving(None), 3).is_err());
        let raw = reader(3, 1);
        assert_eq!(
            raw.get(SiteRow::Page(HourStart(0))).ok().flatten(),
            Some(Stub::of(&page(0)).encode())
        );
    }
}
