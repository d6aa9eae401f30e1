//! Cells of any span of whole hours: pages where time has come to rest, folds of hot rows where not.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_analytics::{
    CellTable, DAY_MS, Dimension, DimensionPage, HourPage, PAGE_VALUES_MAX, PageError, Zone,
};
use ringtail_proto::{HourStart, RowReader, SiteId, SiteRow, UnixMillis};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{
    cache::{CacheKey, TableCache},
    error::QueryError,
    source::SiteSource,
};

/// Where one query finds cells.
pub(crate) struct Cells<'a> {
    pub(crate) site: SiteId,
    pub(crate) source: &'a dyn SiteSource,
    pub(crate) rows: &'a dyn RowReader,
    pub(crate) cache: &'a TableCache,
}

/// What a span is made of, before anything is decoded.
enum Part {
    /// A stored page.
    Page { row: SiteRow, value: Bytes },
    /// A day or month without a page of its own yet: cut as its page will be, so that a report does not change when
    /// the page is made.
    Whole(Vec<Part>),
}

impl Cells<'_> {
    /// The cells of a dimension over `from..to`, both starts of local hours.
    pub(crate) fn table(
        &self,
        from: UnixMillis,
        to: UnixMillis,
        dimension: Dimension,
    ) -> Result<Arc<CellTable>, QueryError> {
        let hot_from = self.source.hot_from();
        let (from, to) = (HourStart(from.0), HourStart(to.0));
        let cold = self.cold(from, to.min(hot_from), dimension)?;
        let hot_start = from.max(hot_from);
        if hot_start >= to {
            return Ok(cold);
        }
        let hot = self.source.fold(hot_start, to, dimension);
        if hot.is_empty() {
            return Ok(cold);
        }
        if cold.is_empty() {
            return Ok(Arc::new(hot));
        }
        let precision = CellTable::precision_of(dimension);
        Ok(Arc::new(CellTable::merge_all(precision, [&*cold, &hot])))
    }

    /// The cells of hours that are in pages.
    fn cold(
        &self,
        from: HourStart,
        to: HourStart,
        dimension: Dimension,
    ) -> Result<Arc<CellTable>, QueryError> {
        let parts = self.parts(from, to, dimension)?;
        match parts.as_slice() {
            [] => return Ok(Arc::new(CellTable::new(dimension))),
            [Part::Page { row, value }] => return self.decode(*row, value, dimension),
            _ => {}
        }
        let key = CacheKey::Merged {
            site: self.site,
            dimension: dimension.code(),
            contents: hash_parts(&parts, 0),
        };
        if let Some(known) = self.cache.get(&key) {
            return Ok(known);
        }
        let merged = Arc::new(self.merge(&parts, dimension)?);
        self.cache.insert(key, &merged);
        Ok(merged)
    }

    /// Months where whole months lie in `from..to`, days where whole days do, hours at its ends. Nothing before the
    /// site's first hour needs to be looked for.
    fn parts(
        &self,
        from: HourStart,
        to: HourStart,
        dimension: Dimension,
    ) -> Result<Vec<Part>, QueryError> {
        let zone = self.source.zone();
        let first = self.source.first_hour().unwrap_or(to);
        let mut parts = Vec::new();
        let mut hour = from.max(first);
        while hour < to {
            let is_whole = |start: HourStart, end: HourStart| {
                (start == hour || hour == first) && from <= start && end <= to
            };
            let (month, next_month) = (zone.month_of(at(hour)), month_end(zone, hour));
            let (day, next_day) = (zone.day_of(at(hour)), day_end(zone, hour));
            if is_whole(month, next_month) {
                self.add_month(month, next_month, dimension, &mut parts)?;
                hour = next_month;
            } else if is_whole(day, next_day) {
                self.add_day(day, next_day, dimension, &mut parts)?;
                hour = next_day;
            } else {
                let end = next_day.min(to);
                self.add_hours(hour, end, &mut parts)?;
                hour = end;
            }
        }
        Ok(parts)
    }

    fn add_month(
        &self,
        start: HourStart,
        end: HourStart,
        dimension: Dimension,
        parts: &mut Vec<Part>,
    ) -> Result<(), QueryError> {
        let row = |dimension: Dimension| SiteRow::MonthPage(start, dimension.code());
        if self.add_stored(row, dimension, parts)? {
            return Ok(());
        }
        let zone = self.source.zone();
        let mut days = Vec::new();
        let mut day = start;
        while day < end {
            let next = day_end(zone, day);
            self.add_day(day, next, dimension, &mut days)?;
            day = next;
        }
        if !days.is_empty() {
            parts.push(Part::Whole(days));
        }
        Ok(())
    }

    fn add_day(
        &self,
        start: HourStart,
        end: HourStart,
        dimension: Dimension,
        parts: &mut Vec<Part>,
    ) -> Result<(), QueryError> {
        let row = |dimension: Dimension| SiteRow::DayPage(start, dimension.code());
        if self.add_stored(row, dimension, parts)? {
            return Ok(());
        }
        let mut hours = Vec::new();
        self.add_hours(start, end, &mut hours)?;
        if !hours.is_empty() {
            parts.push(Part::Whole(hours));
        }
        Ok(())
    }

    /// True when the day or month has pages: it may be that none of them is of this dimension.
    fn add_stored(
        &self,
        row: impl Fn(Dimension) -> SiteRow,
        dimension: Dimension,
        parts: &mut Vec<Part>,
    ) -> Result<bool, QueryError> {
        let wanted = row(dimension);
        if let Some(value) = self.rows.get(wanted)? {
            parts.push(Part::Page { row: wanted, value });
            return Ok(true);
        }
        // Every page has a total.
        Ok(dimension != Dimension::Total && self.rows.get(row(Dimension::Total))?.is_some())
    }

    fn add_hours(
        &self,
        from: HourStart,
        to: HourStart,
        parts: &mut Vec<Part>,
    ) -> Result<(), QueryError> {
        self.rows.range(
            SiteRow::Page(from),
            SiteRow::Page(HourStart(to.0 - 1)),
            &mut |row, value| {
                parts.push(Part::Page { row, value });
                ControlFlow::Continue(())
            },
        )?;
        Ok(())
    }

    fn merge(&self, parts: &[Part], dimension: Dimension) -> Result<CellTable, QueryError> {
        let mut tables = Vec::with_capacity(parts.len());
        for part in parts {
            tables.push(match part {
                Part::Page { row, value } => self.decode(*row, value, dimension)?,
                Part::Whole(parts) => Arc::new(self.merge(parts, dimension)?.cut(PAGE_VALUES_MAX)),
            });
        }
        let precision = CellTable::precision_of(dimension);
        Ok(CellTable::merge_all(
            precision,
            tables.iter().map(AsRef::as_ref),
        ))
    }

    fn decode(
        &self,
        row: SiteRow,
        value: &[u8],
        dimension: Dimension,
    ) -> Result<Arc<CellTable>, QueryError> {
        let key = CacheKey::Page {
            site: self.site,
            row,
            dimension: dimension.code(),
            contents: xxh3_64(value),
        };
        if let Some(known) = self.cache.get(&key) {
            return Ok(known);
        }
        let table = decode_page(row, value, dimension)
            .map_err(|source| QueryError::Page { row, source })?;
        let table = Arc::new(table);
        self.cache.insert(key, &table);
        Ok(table)
    }
}

fn decode_page(row: SiteRow, value: &[u8], dimension: Dimension) -> Result<CellTable, PageError> {
    if matches!(row, SiteRow::Page(..)) {
        let table = HourPage::decode_dimension(value, dimension)?;
        return Ok(table.unwrap_or_else(|| CellTable::new(dimension)));
    }
    Ok(DimensionPage::decode(value, dimension)?.table)
}

/// Tells spans apart by all that their cells are computed from.
fn hash_parts(parts: &[Part], seed: u64) -> u64 {
    let mut hash = xxh3_64_with_seed(&parts.len().to_le_bytes(), seed);
    for part in parts {
        hash = match part {
            Part::Page { value, .. } => xxh3_64_with_seed(value, hash),
            Part::Whole(parts) => hash_parts(parts, hash.wrapping_add(1)),
        };
    }
    hash
}

const fn at(hour: HourStart) -> UnixMillis {
    UnixMillis(hour.0)
}

/// A day and a half after its start lies in the next day, whether this one has 23 or 25 hours.
fn day_end(zone: &Zone, hour: HourStart) -> HourStart {
    let start = zone.day_of(at(hour));
    zone.day_of(UnixMillis(start.0 + DAY_MS + DAY_MS / 2))
}

/// 33 days after its start lie in the next month, whatever the lengths of both.
fn month_end(zone: &Zone, hour: HourStart) -> HourStart {
    let start = zone.month_of(at(hour));
    zone.month_of(UnixMillis(start.0 + 33 * DAY_MS))
}
