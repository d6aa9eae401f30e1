//! The last half hour, minute by minute: what the realtime view shows.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;
use ringtail_proto::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::{
    ValueId,
    cell::{Precision, Uniques},
    visit::{
        applied_event::{AppliedEvent, EventKind},
        part::Remap,
        touch_sum::TouchKind,
    },
};

/// So many minutes, the current one included.
pub const RECENT_MINUTES: i64 = 30;
/// Values kept apart per minute and table; the rest is counted together.
const RECENT_VALUES_MAX: usize = 200;
const MINUTE_MS: i64 = 60_000;

/// What the realtime view breaks down by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecentTable {
    /// Path of the page.
    Pages,
    /// Source.
    Sources,
    /// ISO 3166-1 alpha-2.
    Countries,
}

/// Sums of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentCell {
    /// Events, engagement left out.
    pub events: u64,
    /// Who had one.
    pub visitors: Uniques,
}

impl Default for RecentCell {
    fn default() -> Self {
        Self {
            events: 0,
            visitors: Uniques::new(Precision::Value),
        }
    }
}

impl RecentCell {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.visitors.merge(&other.visitors);
    }

    fn add(&mut self, visitor_hash: u64) {
        self.events += 1;
        self.visitors.insert(visitor_hash);
    }
}

/// The recent minutes; pages by text, sources by acquisition, countries by place. Each minute is shared with views.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    /// By start of the minute.
    minutes: BTreeMap<i64, Arc<RecentMinute>>,
}

/// One minute of the realtime view.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentMinute {
    pub(crate) total: RecentCell,
    pages: ValueCells,
    acquisitions: ValueCells,
    places: ValueCells,
}

#[derive(Clone, Debug, Default)]
struct ValueCells {
    cells: HashMap<ValueId, RecentCell>,
    remainder: RecentCell,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredRecent {
    minutes: Vec<(i64, StoredMinute)>,
}

#[derive(Serialize, Deserialize)]
struct StoredMinute {
    total: StoredCell,
    tables: [(Vec<(ValueId, StoredCell)>, StoredCell); 3],
}

#[derive(Serialize, Deserialize)]
struct StoredCell(u64, Vec<u8>);

impl Recent {
    /// Adds an event if it is recent at this stamp; forgets minutes that no longer are.
    pub(crate) fn add(&mut self, event: &AppliedEvent, visitor_hash: u64, stamp: UnixMillis) {
        let first = first_minute(stamp);
        while let Some(oldest) = self.minutes.first_entry() {
            if *oldest.key() >= first {
                break;
            }
            oldest.remove();
        }
        let minute = event.time_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        if minute < first || event.kind == EventKind::Engagement {
            return;
        }
        let minute = Arc::make_mut(self.minutes.entry(minute).or_default());
        minute.total.add(visitor_hash);
        minute.pages.add(event.page, visitor_hash);
        minute.acquisitions.add(event.acquisition, visitor_hash);
        minute.places.add(event.place, visitor_hash);
    }

    /// The minutes that are recent at this stamp, by their start.
    pub(crate) fn minutes(
        &self,
        stamp: UnixMillis,
    ) -> impl Iterator<Item = (UnixMillis, &RecentMinute)> {
        self.minutes
            .range(first_minute(stamp)..)
            .map(|(start, minute)| (UnixMillis(*start), &**minute))
    }

    /// Whether an event of this time would be recent.
    pub(crate) fn reaches(time_ms: i64, stamp: UnixMillis) -> bool {
        time_ms >= first_minute(stamp)
    }

    /// Notes or translates every position, in place.
    pub(crate) fn remap(&mut self, remap: &mut dyn Remap) {
        for minute in self.minutes.values_mut() {
            let minute = Arc::make_mut(minute);
            minute
                .pages
                .remap(|value| remap.text(TouchKind::PAGE, value));
            minute.acquisitions.remap(|value| remap.acquisition(value));
            minute.places.remap(|value| remap.place(value));
        }
    }

    /// Notes every position that is used.
    pub(crate) fn collect(&self, values: &mut dyn Remap) {
        for minute in self.minutes.values() {
            for value in minute.pages.cells.keys() {
                values.text(TouchKind::PAGE, *value);
            }
            for value in minute.acquisitions.cells.keys() {
                values.acquisition(*value);
            }
            for value in minute.places.cells.keys() {
                values.place(*value);
            }
        }
    }

    pub(crate) fn to_stored(&self) -> StoredRecent {
        let minutes = self.minutes.iter().map(|(start, minute)| {
            let stored = StoredMinute {
                total: store(&minute.total),
                tables: [&minute.pages, &minute.acquisitions, &minute.places]
                    .map(ValueCells::to_stored),
            };
            (*start, stored)
        });
        StoredRecent {
            minutes: minutes.collect(),
        }
    }

    /// None when a set of visitors is damaged.
    pub(crate) fn from_stored(stored: StoredRecent) -> Option<Self> {
        let mut recent = Self::default();
        for (start, minute) in stored.minutes {
            let [pages, acquisitions, places] = minute.tables;
            recent.minutes.insert(
                start,
                Arc::new(RecentMinute {
                    total: restore(minute.total)?,
                    pages: ValueCells::from_stored(pages)?,
                    acquisitions: ValueCells::from_stored(acquisitions)?,
                    places: ValueCells::from_stored(places)?,
                }),
            );
        }
        Some(recent)
    }
}

impl RecentMinute {
    /// The cells of a table by position, and what was counted together.
    pub(crate) fn table(
        &self,
        table: RecentTable,
    ) -> (impl Iterator<Item = (ValueId, &RecentCell)>, &RecentCell) {
        let cells = match table {
            RecentTable::Pages => &self.pages,
            RecentTable::Sources => &self.acquisitions,
            RecentTable::Countries => &self.places,
        };
        let by_value = cells.cells.iter().map(|(value, cell)| (*value, cell));
        (by_value, &cells.remainder)
    }
}

impl ValueCells {
    fn add(&mut self, value: ValueId, visitor_hash: u64) {
        if self.cells.len() >= RECENT_VALUES_MAX && !self.cells.contains_key(&value) {
            self.remainder.add(visitor_hash);
            return;
        }
        self.cells.entry(value).or_default().add(visitor_hash);
    }

    fn remap(&mut self, mut to: impl FnMut(ValueId) -> ValueId) {
        let cells = std::mem::take(&mut self.cells);
        for (value, cell) in cells {
            self.cells.entry(to(value)).or_default().merge(&cell);
        }
    }

    fn to_stored(&self) -> (Vec<(ValueId, StoredCell)>, StoredCell) {
        let mut cells: Vec<(ValueId, StoredCell)> = self
            .cells
            .iter()
            .map(|(value, cell)| (*value, store(cell)))
            .collect();
        cells.sort_by_key(|(value, _)| *value);
        (cells, store(&self.remainder))
    }

    fn from_stored(stored: (Vec<(ValueId, StoredCell)>, StoredCell)) -> Option<Self> {
        let mut cells = HashMap::new();
        for (value, cell) in stored.0 {
            cells.insert(value, restore(cell)?);
        }
        Some(Self {
            cells,
            remainder: restore(stored.1)?,
        })
    }
}

fn store(cell: &RecentCell) -> StoredCell {
    StoredCell(cell.events, cell.visitors.to_stored())
}

fn restore(cell: StoredCell) -> Option<RecentCell> {
    Some(RecentCell {
        events: cell.0,
        visitors: Uniques::from_stored(&cell.1, Precision::Value)?,
    })
}

fn first_minute(stamp: UnixMillis) -> i64 {
    stamp.0.div_euclid(MINUTE_MS) * MINUTE_MS - (RECENT_MINUTES - 1) * MINUTE_MS
}
