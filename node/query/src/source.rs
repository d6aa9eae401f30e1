//! What a report reads of a site's hot state: a seam, so that tests can feed it without a server.

use ringtail_analytics::{
    CellTable, Dimension, Minute, RecentCell, RecentTable, SiteView, Zone, fold_dimension,
};
use ringtail_proto::{Generation, HourStart, LogIndex, RowReader, SiteId, Text, UnixMillis};

use crate::error::QueryError;

/// A site's state at one moment of its log. Hours before [`Self::hot_from`] lie in pages, all later ones here.
pub trait SiteSource {
    /// The first log entry with an event that no page shows yet.
    fn incomplete_since(&self) -> Option<LogIndex>;
    /// Late events that no page shows yet.
    fn pending_late(&self) -> u64;
    /// The site's zone as the log knows it: pages are keyed by its days and months.
    fn zone(&self) -> &Zone;
    /// The IANA name of that zone; none when the log holds no settings of the site yet.
    fn timezone(&self) -> Option<&str>;
    /// The first hour that is not in pages.
    fn hot_from(&self) -> HourStart;
    /// The earliest hour with data, hot or cold.
    fn first_hour(&self) -> Option<HourStart>;
    /// Folds the hot hours in `from..to` into cells of a dimension.
    fn fold(&self, from: HourStart, to: HourStart, dimension: Dimension) -> CellTable;
    /// The minutes with data in `from..to`, in order, by their start.
    ///
    /// # Errors
    /// When the rows of an hour that is not hot cannot be read.
    fn minutes(
        &self,
        from: UnixMillis,
        to: UnixMillis,
        rows: &dyn RowReader,
    ) -> Result<Vec<(UnixMillis, Minute)>, QueryError>;
    /// What the minutes from `since` on say by value; last what was counted together.
    fn recent(
        &self,
        table: RecentTable,
        since: UnixMillis,
        now: UnixMillis,
    ) -> (Vec<(Text, RecentCell)>, RecentCell);
    /// The slot of a property that has cells.
    fn property_slot(&self, key: &str) -> Option<u8>;
    /// The site's goals.
    fn goals(&self) -> Vec<GoalInfo>;
}

/// A goal as reports name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoalInfo {
    /// Its id; as decimal text it is the value in cells.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Events before this do not meet it.
    pub since: UnixMillis,
}

/// The site that a query asks about.
#[derive(Clone, Debug)]
pub struct SiteInfo {
    /// Its id: keeps its pages apart from other sites' in the cache.
    pub id: SiteId,
    /// The domain as asked for.
    pub domain: String,
    /// IANA name of its zone; empty is UTC. The log's own word counts where it has one.
    pub timezone: String,
    /// The generation of its history that is asked.
    pub generation: Generation,
    /// How often it was switched to another one.
    pub switches: u64,
}

impl SiteSource for SiteView {
    fn incomplete_since(&self) -> Option<LogIndex> {
        Self::incomplete_since(self)
    }

    fn pending_late(&self) -> u64 {
        Self::pending_late(self) as u64
    }

    fn zone(&self) -> &Zone {
        Self::zone(self)
    }

    fn timezone(&self) -> Option<&str> {
        let settings = self.settings();
        (settings.revision > 0).then(|| settings.zone.name())
    }

    fn hot_from(&self) -> HourStart {
        Self::hot_from(self)
    }

    fn first_hour(&self) -> Option<HourStart> {
        Self::first_hour(self)
    }

    fn fold(&self, from: HourStart, to: HourStart, dimension: Dimension) -> CellTable {
        let key = self.settings().sketch_key;
        let hours = self.hot_hours();
        let tables = hours
            .filter(|hour| from <= *hour && *hour < to)
            .map(|hour| {
                let rows = self.hour_rows_of(hour, dimension);
                fold_dimension(rows.iter(), &rows, dimension, key)
            });
        let tables: Vec<CellTable> = tables.collect();
        CellTable::merge_all(CellTable::precision_of(dimension), &tables)
    }

    fn minutes(
        &self,
        from: UnixMillis,
        to: UnixMillis,
        rows: &dyn RowReader,
    ) -> Result<Vec<(UnixMillis, Minute)>, QueryError> {
        Ok(Self::minutes(self, from, to, rows)?)
    }

    fn recent(
        &self,
        table: RecentTable,
        since: UnixMillis,
        now: UnixMillis,
    ) -> (Vec<(Text, RecentCell)>, RecentCell) {
        Self::recent(self, table, since, now)
    }

    fn property_slot(&self, key: &str) -> Option<u8> {
        self.settings().property_slot(key.as_bytes())
    }

    fn goals(&self) -> Vec<GoalInfo> {
        let goals = self.settings().goals.iter();
        let named = goals.map(|goal| GoalInfo {
            id: goal.id,
            name: goal.name.clone(),
            since: goal.since,
        });
        named.collect()
    }
}
