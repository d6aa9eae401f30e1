//! What a report reads of a site's hot state: a seam, so that tests can feed it without a server.

use ringtail_analytics::{CellTable, Dimension, Uniques, Zone};
use ringtail_proto::{Generation, HourStart, LogIndex, UnixMillis};

/// A site's state at one moment of its log. Hours before [`Self::hot_from`] lie in pages, all later ones here.
pub trait SiteSource {
    /// The log index that the state stands at.
    fn index(&self) -> LogIndex;
    /// The leader's stamp of that index.
    fn stamp(&self) -> UnixMillis;
    /// Late events that no page shows yet.
    fn pending_late(&self) -> u64;
    /// The generation whose pages to read.
    fn generation(&self) -> Generation;
    /// The site's zone as the log knows it: pages are keyed by its days and months.
    fn zone(&self) -> &Zone;
    /// The first hour that is not in pages.
    fn hot_from(&self) -> HourStart;
    /// The earliest hour with data, hot or cold.
    fn first_hour(&self) -> Option<HourStart>;
    /// Folds the hot hours in `from..to` into cells of a dimension.
    fn fold(&self, from: HourStart, to: HourStart, dimension: Dimension) -> CellTable;
    /// The minutes with data in `from..to`, in order.
    fn minutes(&self, from: UnixMillis, to: UnixMillis) -> Vec<Minute>;
    /// What the minutes from `from` on say by page, source or country; none for other dimensions.
    fn recent(&self, from: UnixMillis, dimension: Dimension) -> Option<CellTable>;
    /// The slot of a property that has cells.
    fn property_slot(&self, key: &str) -> Option<u8>;
    /// The site's goals and since when each counts.
    fn goals(&self) -> Vec<(String, UnixMillis)>;
}

/// What is kept of one minute.
#[derive(Clone, Debug)]
pub struct Minute {
    /// Its start.
    pub start: UnixMillis,
    /// Events, engagement left out.
    pub events: u64,
    /// Page views.
    pub pageviews: u64,
    /// Visitors with an event in it.
    pub visitors: Uniques,
}

/// The site that a query asks about.
#[derive(Clone, Debug)]
pub struct SiteInfo {
    /// Its id: keeps its pages apart from other sites' in the cache.
    pub id: ringtail_proto::SiteId,
    /// The domain as asked for.
    pub domain: String,
    /// IANA name of its zone; empty is UTC.
    pub timezone: String,
}
