//! Which row groups and pages of an object may hold wanted rows, by what its footer says of them.

use std::ops::Range;

use parquet::{
    arrow::arrow_reader::RowSelection,
    file::{
        metadata::{ParquetMetaData, RowGroupMetaData},
        page_index::column_index::ColumnIndexMetaData,
        statistics::Statistics,
    },
};

use crate::{selection::Selection, table::Table};

/// A footer and what is wanted.
pub(crate) struct Pruning<'a> {
    pub(crate) metadata: &'a ParquetMetaData,
    pub(crate) table: Table,
    pub(crate) selection: &'a Selection,
}

impl Pruning<'_> {
    /// Positions of the row groups that may hold wanted rows.
    pub(crate) fn row_groups(&self) -> Vec<usize> {
        let groups = self.metadata.row_groups().iter().enumerate();
        groups
            .filter(|(_, group)| self.is_possible(|name| bounds(self.metadata, group, name)))
            .map(|(position, _)| position)
            .collect()
    }

    /// Rows of pages that may hold wanted ones, counted over the given row groups.
    pub(crate) fn pages(&self, groups: &[usize]) -> RowSelection {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut rows_before = 0;
        for group in groups {
            let rows = self
                .metadata
                .row_groups()
                .get(*group)
                .map_or(0, |group| group.num_rows() as usize);
            // Pages of different columns begin at different rows, so each column narrows the rows by itself.
            let all = 0..rows;
            let mut wanted = vec![all];
            for name in self.table.key_columns() {
                let pages = self.wanted_pages(*group, rows, name);
                wanted = match pages {
                    None => wanted,
                    Some(pages) => both(&wanted, &pages),
                };
            }
            ranges.extend(
                wanted
                    .into_iter()
                    .map(|range| range.start + rows_before..range.end + rows_before),
            );
            rows_before += rows;
        }
        RowSelection::from_consecutive_ranges(ranges.into_iter(), rows_before)
    }

    /// Ranges of rows of the pages of one column that may hold wanted rows; none when nothing is known.
    fn wanted_pages(&self, group: usize, rows: usize, name: &str) -> Option<Vec<Range<usize>>> {
        let column = column(self.metadata, name)?;
        let bounds = self.metadata.column_index()?.get(group)?.get(column)?;
        let ColumnIndexMetaData::INT64(bounds) = bounds else {
            return None;
        };
        let places = self.metadata.offset_index()?.get(group)?.get(column)?;
        let starts: Vec<usize> = places
            .page_locations()
            .iter()
            .map(|page| page.first_row_index as usize)
            .collect();
        let ends = starts.iter().skip(1).copied().chain([rows]);
        let mut ranges = Vec::new();
        for (page, (start, end)) in starts.iter().zip(ends).enumerate() {
            let of_page = |asked: &str| match asked == name {
                true => Some((*bounds.min_value(page)?, *bounds.max_value(page)?)),
                false => None,
            };
            if self.is_possible(of_page) {
                ranges.push(*start..end);
            }
        }
        Some(ranges)
    }

    /// False when the bounds of the key columns say that no row is wanted; unknown bounds say nothing.
    fn is_possible(&self, bounds: impl Fn(&str) -> Option<(i64, i64)>) -> bool {
        let Self {
            table, selection, ..
        } = self;
        // Parquet keeps unsigned numbers as signed ones of the same bits.
        let unsigned = |name| bounds(name).map(|(low, high)| (low as u64, high as u64));
        unsigned("site").is_none_or(|(low, high)| selection.may_hold_sites(low, high))
            && unsigned("log_index").is_none_or(|(low, high)| selection.may_hold_indexes(low, high))
            && bounds(table.time_column())
                .is_none_or(|(low, high)| selection.may_hold_times(low, high))
    }
}

/// What the footer says of a key column of a row group, as (lowest, highest) of its bits.
pub(crate) fn bounds(
    metadata: &ParquetMetaData,
    group: &RowGroupMetaData,
    name: &str,
) -> Option<(i64, i64)> {
    let column = group.columns().get(column(metadata, name)?)?;
    match column.statistics()? {
        Statistics::Int64(span) => Some((*span.min_opt()?, *span.max_opt()?)),
        _ => None,
    }
}

fn column(metadata: &ParquetMetaData, name: &str) -> Option<usize> {
    let schema = metadata.file_metadata().schema_descr();
    schema
        .columns()
        .iter()
        .position(|column| column.path().string() == name)
}

/// The rows in both lists of ranges; each is in order.
fn both(one: &[Range<usize>], other: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut common = Vec::new();
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(left), Some(right)) = (ones.peek(), others.peek()) {
        let range = left.start.max(right.start)..left.end.min(right.end);
        if !range.is_empty() {
            common.push(range);
        }
        match left.end <= right.end {
            true => ones.next(),
            false => others.next(),
        };
    }
    common
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]
mod tests {
    use ringtail_proto::{
        GroupId, LogIndex, SiteId, UnixMillis,
        stored::{EventBatch, SiteEvents, StoredEvent},
    };

    use super::*;
    use crate::{
        object_reader::ObjectReader,
        object_writer::{PAGE_ROWS_MAX, ROW_GROUP_ROWS_MAX},
        seal::{EntryHead, SealBuilder, SealOptions},
    };

    const SITES: u64 = 300;
    const EVENTS_PER_SITE: usize = 1_000;

    fn many_sites() -> ObjectReader {
        let mut seal = SealBuilder::new(GroupId(1), SealOptions::default());
        for site in 0..SITES {
            let entry = EntryHead {
                index: LogIndex(site + 1),
                stamp: UnixMillis(1_000_000),
                version: 1,
            };
            let events = SiteEvents {
                site,
                events: vec![StoredEvent::default(); EVENTS_PER_SITE],
                import: None,
            };
            let codes = [0; EVENTS_PER_SITE];
            seal.events(entry, 0, &EventBatch::default(), &events, &codes)
                .unwrap();
        }
        let built = seal.finish().unwrap().swap_remove(0);
        ObjectReader::open("object", Table::Events, built.bytes).unwrap()
    }

    fn pruning<'a>(reader: &'a ObjectReader, selection: &'a Selection) -> Pruning<'a> {
        Pruning {
            metadata: reader.metadata(),
            table: Table::Events,
            selection,
        }
    }

    #[test]
    fn a_reader_of_one_site_unpacks_only_the_pages_that_have_it() {
        let reader = many_sites();
        let groups = reader.metadata().num_row_groups();
        let all: usize = SITES as usize * EVENTS_PER_SITE;
        assert_eq!(groups, all.div_ceil(ROW_GROUP_ROWS_MAX));
        for site in [0, 130, 131, SITES - 1] {
            let selection = Selection::of_site(SiteId(site), LogIndex(0)..=LogIndex(u64::MAX));
            let every_group: Vec<usize> = (0..groups).collect();
            let unpacked = pruning(&reader, &selection).pages(&every_group).row_count();
            assert!(unpacked >= EVENTS_PER_SITE);
            assert!(
                unpacked <= EVENTS_PER_SITE + 3 * PAGE_ROWS_MAX,
                "{unpacked}"
            );
            let rows = reader.select(&selection).unwrap();
            let rows: usize = rows.map(|batch| batch.unwrap().num_rows()).sum();
            assert_eq!(rows, EVENTS_PER_SITE);
        }
    }

    #[test]
    fn what_no_page_can_have_unpacks_nothing() {
        let reader = many_sites();
        let nobody = Selection::of_site(SiteId(SITES), LogIndex(0)..=LogIndex(u64::MAX));
        let too_late = Selection::of_site(SiteId(1), LogIndex(SITES + 1)..=LogIndex(u64::MAX));
        // Site 1 has entry 2 only.
        let never = Selection::of_site(SiteId(1), LogIndex(250)..=LogIndex(260));
        for selection in [nobody, too_late, never] {
            assert_eq!(reader.select(&selection).unwrap().count(), 0);
            let pages = pruning(&reader, &selection).pages(&[0, 1, 2]);
            assert_eq!(pages.row_count(), 0);
        }
    }

    #[test]
    fn ranges_in_both_lists_are_common() {
        let check = |one: &[Range<usize>], other: &[Range<usize>], common: &[Range<usize>]| {
            assert_eq!(both(one, other), common);
            assert_eq!(both(other, one), common);
        };
        check(&[0..10, 20..30], &[5..25], &[5..10, 20..25]);
        check(&[0..10], &[10..20], &[]);
        check(&[0..10, 10..20], &[2..4, 6..18], &[2..4, 6..10, 10..18]);
        check(&[], &[0..5], &[]);
    }
}
