//! Day and month pages: computed in the background from pages that have come to rest, removed when one of them changes.

use std::ops::ControlFlow;

use bytes::Bytes;
use ringtail_proto::{HourStart, RowReadError, RowReader, RowWrite, SiteRow, UnixMillis};

use super::{
    codec::PageError,
    page::{DimensionPage, HourPage, page_dimensions},
    table::CellTable,
};
use crate::{Dimension, Zone, zone::DAY_MS};

/// Why pages could not be rolled up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RollUpError {
    /// The store did not answer.
    #[error(transparent)]
    Read(#[from] RowReadError),
    /// A page is damaged.
    #[error("page of {row:?}: {source}")]
    Page {
        /// The row that holds it.
        row: SiteRow,
        /// What is wrong with it.
        source: PageError,
    },
}

/// The pages that are due: days and months that ended before `hot_from`, hold hour pages, and have no page yet.
///
/// Looks at no more than `days_max` due days at a time; call it again until nothing is due. A day whose hours cannot be
/// read holds no other up: it is due again at the next call.
///
/// # Errors
/// When a row cannot be read, and nothing else is due.
pub fn roll_up(
    rows: &dyn RowReader,
    zone: &Zone,
    hot_from: HourStart,
    days_max: usize,
) -> Result<Vec<RowWrite>, RollUpError> {
    let mut due = Due {
        rows,
        days_left: days_max,
        writes: Vec::new(),
        unread: None,
    };
    let mut from = HourStart(i64::MIN);
    while let Some(hour) = first_hour(rows, from, hot_from)? {
        let month = month_of(zone, hour);
        let has_all_days = due.roll_up_days(zone, hour, month.end.min(hot_from))?;
        if !has_all_days && due.days_left == 0 {
            break;
        }
        let is_over = month.end <= hot_from;
        if has_all_days && is_over && rows.get(month_row(month, Dimension::Total))?.is_none() {
            roll_up_month(rows, month, &mut due.writes)?;
        }
        from = month.end;
    }
    match due.unread {
        Some(error) if due.writes.is_empty() => Err(error.into()),
        _ => Ok(due.writes),
    }
}

/// What one call finds to do.
struct Due<'a> {
    rows: &'a dyn RowReader,
    /// Days that this call still takes on.
    days_left: usize,
    writes: Vec<RowWrite>,
    /// Why a day's hours could not be read.
    unread: Option<RowReadError>,
}

impl Due<'_> {
    /// Rolls up the due days from that of `hour` on that end by `end`; false when not all days up to there have pages now.
    fn roll_up_days(
        &mut self,
        zone: &Zone,
        hour: HourStart,
        end: HourStart,
    ) -> Result<bool, RollUpError> {
        let mut has_all = true;
        let mut next = Some(hour);
        while let Some(hour) = next {
            let day = day_of(zone, hour);
            if day.end > end {
                return Ok(has_all);
            }
            if self.rows.get(day_row(day, Dimension::Total))?.is_none() {
                if self.days_left == 0 {
                    return Ok(false);
                }
                let is_read = self.roll_up_day(day)?;
                self.days_left -= usize::from(is_read);
                has_all &= is_read;
            }
            next = first_hour(self.rows, day.end, end)?;
        }
        Ok(has_all)
    }

    /// False when the day's hours cannot be read.
    fn roll_up_day(&mut self, day: Span) -> Result<bool, RollUpError> {
        let pages = match hour_pages(self.rows, day) {
            Ok(pages) => pages,
            Err(error) => {
                self.unread = Some(error);
                return Ok(false);
            }
        };
        for dimension in page_dimensions() {
            let mut tables = Vec::new();
            for (row, bytes) in &pages {
                let table = HourPage::decode_dimension(bytes, dimension)
                    .map_err(|source| RollUpError::Page { row: *row, source })?;
                tables.extend(table);
            }
            write_page(
                day_row(day, dimension),
                dimension,
                &tables,
                &mut self.writes,
            );
        }
        Ok(true)
    }
}

/// Removes the day and month pages that cover an hour whose page is about to change; goes into the same batch.
///
/// # Errors
/// When a row cannot be read.
pub fn remove_pages_over(
    rows: &dyn RowReader,
    zone: &Zone,
    hour: HourStart,
) -> Result<Vec<RowWrite>, RowReadError> {
    let day = zone.day_of(at(hour));
    let month = zone.month_of(at(hour));
    let mut writes = Vec::new();
    let spans = [
        (SiteRow::DayPage(day, 0), SiteRow::DayPage(day, u32::MAX)),
        (
            SiteRow::MonthPage(month, 0),
            SiteRow::MonthPage(month, u32::MAX),
        ),
    ];
    for (from, to) in spans {
        rows.range(from, to, &mut |row, _| {
            writes.push(RowWrite { row, value: None });
            ControlFlow::Continue(())
        })?;
    }
    Ok(writes)
}

/// The hours of a local day or month.
#[derive(Clone, Copy)]
struct Span {
    start: HourStart,
    /// The first hour after it.
    end: HourStart,
}

const fn at(hour: HourStart) -> UnixMillis {
    UnixMillis(hour.0)
}

fn day_of(zone: &Zone, hour: HourStart) -> Span {
    let start = zone.day_of(at(hour));
    // A day and a half lies in the next day, whether this one has 23 or 25 hours.
    let end = zone.day_of(UnixMillis(start.0.saturating_add(DAY_MS + DAY_MS / 2)));
    Span { start, end }
}

fn month_of(zone: &Zone, hour: HourStart) -> Span {
    let start = zone.month_of(at(hour));
    // 33 days after its start lie in the next month, whatever the lengths of both.
    let end = zone.month_of(UnixMillis(start.0.saturating_add(33 * DAY_MS)));
    Span { start, end }
}

/// The earliest hour with a page in `from..to`.
fn first_hour(
    rows: &dyn RowReader,
    from: HourStart,
    to: HourStart,
) -> Result<Option<HourStart>, RowReadError> {
    if from >= to {
        return Ok(None);
    }
    let last = HourStart(to.0.saturating_sub(1));
    let first = rows.first(SiteRow::Page(from), SiteRow::Page(last))?;
    Ok(first.and_then(|row| match row {
        SiteRow::Page(hour) => Some(hour),
        _ => None,
    }))
}

/// A month is the merge of its days as pages hold them, whether these rest in the store or were made just now.
fn roll_up_month(
    rows: &dyn RowReader,
    month: Span,
    writes: &mut Vec<RowWrite>,
) -> Result<(), RollUpError> {
    let mut days: Vec<(SiteRow, Bytes)> = Vec::new();
    rows.range(
        SiteRow::DayPage(month.start, 0),
        SiteRow::DayPage(HourStart(month.end.0 - 1), u32::MAX),
        &mut |row, value| {
            days.push((row, value));
            ControlFlow::Continue(())
        },
    )?;
    for write in writes.iter() {
        if let (SiteRow::DayPage(day, _), Some(value)) = (write.row, &write.value)
            && month.start <= day
            && day < month.end
        {
            days.push((write.row, value.clone()));
        }
    }
    for dimension in page_dimensions() {
        let mut tables = Vec::new();
        for (row, bytes) in &days {
            if matches!(row, SiteRow::DayPage(_, code) if *code == dimension.code()) {
                let page = DimensionPage::decode(bytes, dimension)
                    .map_err(|source| RollUpError::Page { row: *row, source })?;
                tables.push(page.table);
            }
        }
        write_page(month_row(month, dimension), dimension, &tables, writes);
    }
    Ok(())
}

/// Writes the merge of the tables; nothing when no value is in them.
fn write_page(
    row: SiteRow,
    dimension: Dimension,
    tables: &[CellTable],
    writes: &mut Vec<RowWrite>,
) {
    if tables.is_empty() {
        return;
    }
    let page = DimensionPage::merge(dimension, tables);
    writes.push(RowWrite {
        row,
        value: Some(page.encode()),
    });
}

fn hour_pages(rows: &dyn RowReader, span: Span) -> Result<Vec<(SiteRow, Bytes)>, RowReadError> {
    let mut pages = Vec::new();
    rows.range(
        SiteRow::Page(span.start),
        SiteRow::Page(HourStart(span.end.0 - 1)),
        &mut |row, value| {
            pages.push((row, value));
            ControlFlow::Continue(())
        },
    )?;
    Ok(pages)
}

const fn day_row(day: Span, dimension: Dimension) -> SiteRow {
    SiteRow::DayPage(day.start, dimension.code())
}

const fn month_row(month: Span, dimension: Dimension) -> SiteRow {
    SiteRow::MonthPage(month.start, dimension.code())
}
