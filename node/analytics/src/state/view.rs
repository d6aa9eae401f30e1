//! A handle on a site's state for queries.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use ringtail_proto::{
    DropReason, EventId, HourStart, LogIndex, RowReader, SiteId, SiteRow, Text, UnixMillis,
    VisitorId,
};

use super::{
    error::StateError,
    hot_chains::Chunk,
    imports::{ImportProgress, Imports},
    recent::{Recent, RecentCell, RecentTable},
    site_state::SiteState,
};
use crate::{
    Dimension, Settings, ValueId, Values, Zone,
    dedup::DedupView,
    rows::{
        HourRows, Minute, Touches, decode_minutes, hour_rows::Folded, minute::Minutes,
        stored_hour::StoredHour,
    },
    visit::{
        chain::Chain,
        derive::{visit_of_hour, visits},
    },
};

const MINUTE_MS: i64 = 60_000;

/// The state as of one index: later changes do not show. Cheap to take; it shares the state's chunks until they change.
///
/// Hours from [`Self::hot_from`] on are here, earlier ones in rows and pages, so that each event is in exactly one place;
/// late events in [`Self::pending_late`] are in neither yet.
#[derive(Clone, Debug)]
pub struct SiteView {
    site: SiteId,
    index: LogIndex,
    stamp: UnixMillis,
    settings: Arc<Settings>,
    values: Values,
    chunks: Vec<Arc<Chunk>>,
    hours: BTreeMap<HourStart, (Arc<Minutes>, Folded)>,
    hot_from: Option<HourStart>,
    first_hour: Option<HourStart>,
    pending_late: usize,
    incomplete_since: Option<LogIndex>,
    imports: Arc<Imports>,
    dropped: Arc<BTreeMap<u8, u64>>,
    recent: Recent,
    ids: DedupView,
}

/// A visit around an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitSpan {
    /// Whom the visit counts for.
    pub visitor: VisitorId,
    /// Its first event, engagement included.
    pub first: UnixMillis,
    /// Its last event.
    pub last: UnixMillis,
}

impl SiteState {
    /// A handle that later changes do not alter.
    #[must_use]
    pub fn view(&self) -> SiteView {
        let hot_from = self.hot_from.unwrap_or(HourStart(i64::MIN));
        SiteView {
            site: self.site,
            index: self.index,
            stamp: self.stamp,
            settings: self.settings.clone(),
            values: self.interner.values().clone(),
            chunks: self.chains.chunks().to_vec(),
            hours: self
                .hours
                .range(hot_from..)
                .map(|(hour, sums)| (*hour, (sums.minutes.clone(), sums.folded.clone())))
                .collect(),
            hot_from: self.hot_from,
            first_hour: self.first_hour,
            pending_late: self.late.len(),
            incomplete_since: self.incomplete_since,
            imports: self.imports.clone(),
            dropped: self.dropped.clone(),
            recent: self.recent.clone(),
            ids: self.dedup.view(),
        }
    }
}

impl SiteView {
    /// The site.
    #[must_use]
    pub const fn site(&self) -> SiteId {
        self.site
    }

    /// The last entry that this includes.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// The stamp of that entry.
    #[must_use]
    pub const fn stamp(&self) -> UnixMillis {
        self.stamp
    }

    /// The site's settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The site's zone.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.settings.zone
    }

    /// Hours from here on are in memory, earlier ones in rows and pages.
    #[must_use]
    pub fn hot_from(&self) -> HourStart {
        self.hot_from.unwrap_or(HourStart(i64::MIN))
    }

    /// The earliest hour with an accepted event.
    #[must_use]
    pub const fn first_hour(&self) -> Option<HourStart> {
        self.first_hour
    }

    /// Events accepted but not yet visible, because they belong to hours that rest in the store.
    #[must_use]
    pub const fn pending_late(&self) -> usize {
        self.pending_late
    }

    /// The first entry with an event that is accepted but not visible yet.
    #[must_use]
    pub const fn incomplete_since(&self) -> Option<LogIndex> {
        self.incomplete_since
    }

    /// Events that were not counted, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.dropped
            .iter()
            .filter_map(|(code, events)| Some((DropReason::from_code(*code)?, *events)))
    }

    /// How far the import of a source came.
    #[must_use]
    pub fn import(&self, source: &[u8]) -> Option<&ImportProgress> {
        self.imports.get(source)
    }

    /// All imports, by source.
    pub fn imports(&self) -> impl Iterator<Item = (Text, &ImportProgress)> {
        self.imports.iter()
    }

    /// The hours in memory that have events, in order.
    pub fn hot_hours(&self) -> impl Iterator<Item = HourStart> + '_ {
        self.hours.keys().copied()
    }

    /// The rows of an hour in memory; empty for other hours.
    #[must_use]
    pub fn hour_rows(&self, hour: HourStart, wanted: Touches) -> HourRows {
        let Some((_, folded)) = self.hours.get(&hour) else {
            return HourRows::default();
        };
        let mut rows = HourRows::new(self.values.clone(), folded.clone());
        let wants_touches = !matches!(wanted, Touches::Of(dimension) if !dimension.is_of_events());
        for chain in self.chains() {
            let Some(visit) = visit_of_hour(chain, hour) else {
                continue;
            };
            let position = visit.parts.iter().position(|part| part.hour == hour);
            let facts = position.and_then(|position| visit.facts(position, wants_touches));
            if let (Some(part), Some(facts)) = (chain.part(hour), facts) {
                rows.push(part, &facts, wanted);
            }
        }
        rows
    }

    /// The minutes with events within `from..to`, by their start.
    ///
    /// # Errors
    /// When the rows of an hour that rests in the store cannot be read.
    pub fn minutes(
        &self,
        from: UnixMillis,
        to: UnixMillis,
        rows: &dyn RowReader,
    ) -> Result<Vec<(UnixMillis, Minute)>, StateError> {
        let mut minutes = Vec::new();
        let mut push = |hour: HourStart, number: u8, minute: &Minute| {
            let start = UnixMillis(hour.0 + i64::from(number) * MINUTE_MS);
            if start >= from && start < to {
                minutes.push((start, minute.clone()));
            }
        };
        let first = self.zone().hour_of(from);
        let mut failed = None;
        let last_stored = HourStart(self.hot_from().0.saturating_sub(1).min(to.0));
        if first <= last_stored {
            rows.range(
                SiteRow::Rows(first),
                SiteRow::Rows(last_stored),
                &mut |row, bytes| {
                    let SiteRow::Rows(hour) = row else {
                        return ControlFlow::Continue(());
                    };
                    match decode_minutes(&bytes) {
                        Ok(rows) => {
                            for (number, minute) in &rows {
                                push(hour, *number, minute);
                            }
                            ControlFlow::Continue(())
                        }
                        Err(source) => {
                            failed = Some(StateError::Row { row, source });
                            ControlFlow::Break(())
                        }
                    }
                },
            )?;
        }
        if let Some(error) = failed {
            return Err(error);
        }
        for (hour, (hot, _)) in self.hours.range(first..) {
            for (number, minute) in hot.iter() {
                push(*hour, number, minute);
            }
        }
        Ok(minutes)
    }

    /// The site's totals of the last half hour, by minute.
    pub fn recent_minutes(
        &self,
        now: UnixMillis,
    ) -> impl Iterator<Item = (UnixMillis, &RecentCell)> {
        self.recent
            .minutes(now)
            .map(|(start, minute)| (start, &minute.total))
    }

    /// Values of the recent minutes from `since` on, by events, then text; last of all what was counted together.
    #[must_use]
    pub fn recent(
        &self,
        table: RecentTable,
        since: UnixMillis,
        now: UnixMillis,
    ) -> (Vec<(Text, RecentCell)>, RecentCell) {
        let mut cells: BTreeMap<Text, RecentCell> = BTreeMap::new();
        let mut remainder = RecentCell::default();
        for (_, minute) in self
            .recent
            .minutes(now)
            .filter(|(start, _)| *start >= since)
        {
            let (values, rest) = minute.table(table);
            remainder.merge(rest);
            for (value, cell) in values {
                let text = self.recent_text(table, value);
                cells.entry(text).or_default().merge(cell);
            }
        }
        let mut cells: Vec<(Text, RecentCell)> = cells.into_iter().collect();
        cells.sort_by(|(one_text, one), (other_text, other)| {
            (other.events, one_text).cmp(&(one.events, other_text))
        });
        (cells, remainder)
    }

    /// The log index under which an event was first accepted, as long as its id is remembered.
    ///
    /// # Errors
    /// When ids cannot be read.
    pub fn find_event(
        &self,
        id: EventId,
        rows: &dyn RowReader,
    ) -> Result<Option<LogIndex>, StateError> {
        self.ids.find(id.hash(), self.stamp, rows)
    }

    /// The visit of a visitor around an instant. Searches all of memory, so it may take milliseconds.
    ///
    /// # Errors
    /// When the rows of the hour cannot be read.
    pub fn visit_at(
        &self,
        visitor: VisitorId,
        time: UnixMillis,
        rows: &dyn RowReader,
    ) -> Result<Option<VisitSpan>, StateError> {
        for chain in self.chains().filter(|chain| chain.ids.contains(&visitor.0)) {
            for visit in visits(chain) {
                let first = visit
                    .parts
                    .first()
                    .map_or(i64::MAX, |part| part.first.time_ms);
                let last = visit.parts.last().map_or(i64::MIN, |part| part.last_ms);
                if (first..=last).contains(&time.0) {
                    return Ok(Some(VisitSpan {
                        visitor: VisitorId(visit.visitor),
                        first: UnixMillis(first),
                        last: UnixMillis(last),
                    }));
                }
            }
        }
        let hour = self.zone().hour_of(time);
        let row = SiteRow::Rows(hour);
        let Some(bytes) = rows.get(row)? else {
            return Ok(None);
        };
        let stored =
            StoredHour::decode(&bytes).map_err(|source| StateError::Row { row, source })?;
        let found = stored.rows.iter().find(|row| {
            row.ids.contains(&visitor.0)
                && (row.chain_first_ms..=row.chain_last_ms).contains(&time.0)
        });
        Ok(found.map(|row| VisitSpan {
            visitor: row
                .facts
                .as_ref()
                .map_or(visitor, |facts| facts.visitor_id()),
            first: UnixMillis(row.chain_first_ms),
            last: UnixMillis(row.chain_last_ms),
        }))
    }

    fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.values().flatten())
    }

    fn recent_text(&self, table: RecentTable, value: ValueId) -> Text {
        let text = match table {
            RecentTable::Pages => self.values.text(value).cloned(),
            RecentTable::Sources => self
                .values
                .acquisition(value)
                .map(|acquisition| acquisition.source.clone()),
            RecentTable::Countries => self.values.place(value).map(|place| place.country.clone()),
        };
        text.unwrap_or_default()
    }

    /// The dimension's touches only, for one query.
    #[must_use]
    pub fn hour_rows_of(&self, hour: HourStart, dimension: Dimension) -> HourRows {
        self.hour_rows(hour, Touches::Of(dimension))
    }
}
