//! The table `visits`: one row for each visit and hour, so that query engines need not find visits in events.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, RecordBatch,
    types::{Int64Type, UInt32Type, UInt64Type},
};
use bytes::Bytes;
use hashbrown::HashMap;
use ringtail_proto::{
    Acquisition, Client, Generation, HourStart, LogIndex, Place, SiteId, Text, UnixMillis,
    VisitorId,
};

use crate::{
    error::ArchiveError,
    event::writer::{optional, required},
    intern::Interned,
    table::{Table, VISIT_TEXTS},
};

/// A visit's part in one hour as of a checkpoint, or the fact that the hour has no visit left.
///
/// The rows of a (site, generation, hour) with the highest index stand for the hour; all others are superseded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitRow {
    /// The site.
    pub site: SiteId,
    /// The rules under which the visit was found.
    pub generation: Generation,
    /// The hour.
    pub hour: HourStart,
    /// Log index of the checkpoint that wrote the hour.
    pub index: LogIndex,
    /// None says that the hour has no visit as of this index.
    pub part: Option<VisitPart>,
}

/// What a visit did in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitPart {
    /// Who.
    pub visitor: VisitorId,
    /// The earliest event of the hour.
    pub first: UnixMillis,
    /// The latest event of the hour.
    pub last: UnixMillis,
    /// Events of the hour, engagement left out.
    pub events: u32,
    /// Page views of the hour.
    pub pageviews: u32,
    /// Engaged time of the hour.
    pub engaged_ms: u64,
    /// Attributes of the visit.
    pub attributes: VisitAttributes,
    /// Totals of the whole visit, in the hour in which it starts and nowhere else.
    pub start: Option<VisitTotals>,
}

/// Attributes of a visit; raw headers are not archived here, the events have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VisitAttributes {
    /// Page of the first page view; none without one.
    pub entry_page: Option<Text>,
    /// Page of the latest page view; none without one.
    pub exit_page: Option<Text>,
    /// What the visitor uses.
    pub client: Client,
    /// Where the visitor is.
    pub place: Place,
    /// How the visitor came.
    pub acquisition: Acquisition,
}

/// Facts about a whole visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VisitTotals {
    /// Events, engagement left out.
    pub events: u32,
    /// Page views.
    pub pageviews: u32,
    /// Last minus first event.
    pub duration_ms: u64,
    /// One page view and no interactive event.
    pub is_bounce: bool,
    /// Engaged, lasting, with a goal, or of two page views.
    pub is_engaged: bool,
}

/// The rows that are not superseded, sorted by site, hour, index, and then by all else that tells visits apart.
pub(crate) fn to_batch(mut rows: Vec<VisitRow>) -> Result<RecordBatch, ArchiveError> {
    rows.sort_by_key(|row| {
        let part = row.part.as_ref();
        let visit = part.map(|part| (part.visitor, part.first, part.last));
        (row.site, row.hour, row.index, row.generation, visit)
    });
    drop_superseded(&mut rows);
    let parts = || rows.iter().map(|row| row.part.as_ref());
    let starts = || parts().map(|part| part.and_then(|part| part.start));
    let mut columns: Vec<ArrayRef> = vec![
        required::<UInt64Type>(rows.iter().map(|row| row.site.0)),
        required::<Int64Type>(rows.iter().map(|row| row.hour.0)),
        required::<UInt64Type>(rows.iter().map(|row| row.index.0)),
        required::<UInt32Type>(rows.iter().map(|row| row.generation.0)),
        optional::<UInt64Type>(parts().map(|part| part.map(|part| part.visitor.0))),
        optional::<Int64Type>(parts().map(|part| part.map(|part| part.first.0))),
        optional::<Int64Type>(parts().map(|part| part.map(|part| part.last.0))),
        optional::<UInt32Type>(parts().map(|part| part.map(|part| part.events))),
        optional::<UInt32Type>(parts().map(|part| part.map(|part| part.pageviews))),
        optional::<UInt64Type>(parts().map(|part| part.map(|part| part.engaged_ms))),
    ];
    columns.extend(text_columns(&rows));
    let is_bounce: BooleanArray = starts().map(|all| all.map(|all| all.is_bounce)).collect();
    let is_engaged: BooleanArray = starts().map(|all| all.map(|all| all.is_engaged)).collect();
    columns.extend([
        optional::<UInt32Type>(starts().map(|all| all.map(|all| all.events))),
        optional::<UInt32Type>(starts().map(|all| all.map(|all| all.pageviews))),
        optional::<UInt64Type>(starts().map(|all| all.map(|all| all.duration_ms))),
        Arc::new(is_bounce) as ArrayRef,
        Arc::new(is_engaged),
    ]);
    RecordBatch::try_new(Table::Visits.schema(), columns).map_err(ArchiveError::encode)
}

/// Of each hour and generation keeps the rows with the highest index; the rows are sorted.
fn drop_superseded(rows: &mut Vec<VisitRow>) {
    let hour = |row: &VisitRow| (row.site, row.hour, row.generation);
    // Rows come by index, so that what is inserted last is the highest.
    let newest: HashMap<_, _> = rows.iter().map(|row| (hour(row), row.index)).collect();
    rows.retain(|row| newest.get(&hour(row)) == Some(&row.index));
}

fn text_columns(rows: &[VisitRow]) -> Vec<ArrayRef> {
    let mut columns = [(); VISIT_TEXTS.len()].map(|()| Interned::<Bytes>::default());
    for row in rows {
        let texts = row.part.as_ref().map(|part| texts(&part.attributes));
        let texts = texts.unwrap_or([const { None }; VISIT_TEXTS.len()]);
        for (column, text) in columns.iter_mut().zip(texts) {
            column.push(text.map(Text::to_bytes).as_ref());
        }
    }
    let order: Vec<u32> = (0..rows.len() as u32).collect();
    columns
        .iter()
        .map(|column| Arc::new(column.text_column(&order)) as ArrayRef)
        .collect()
}

/// In the order of [`VISIT_TEXTS`].
fn texts(visit: &VisitAttributes) -> [Option<&Text>; VISIT_TEXTS.len()] {
    let VisitAttributes {
        entry_page,
        exit_page,
        client,
        place,
        acquisition,
    } = visit;
    [
        entry_page.as_ref(),
        exit_page.as_ref(),
        Some(&acquisition.referrer),
        Some(&acquisition.source),
        Some(&acquisition.channel),
        Some(&acquisition.utm_source),
        Some(&acquisition.utm_medium),
        Some(&acquisition.utm_campaign),
        Some(&acquisition.utm_content),
        Some(&acquisition.utm_term),
        Some(&place.country),
        Some(&place.region),
        Some(&place.city),
        Some(&client.browser),
        Some(&client.browser_version),
        Some(&client.os),
        Some(&client.os_version),
        Some(&client.device),
        Some(&client.screen),
        Some(&client.language),
    ]
}
