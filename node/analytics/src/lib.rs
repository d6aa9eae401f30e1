//! The pure product core: from accepted events to reports, without clock, I/O, threads or actors.
//!
//! Place in the flow: *aggregate* (events → site state → rows and pages) and the arithmetic behind *query*
//! (rows and pages → cells). It deliberately knows nothing of Raft, actors, stores or the network.

mod cell;
mod compression;
mod dedup;
mod dimension;
mod goal;
mod interner;
mod money;
mod rows;
mod rules;
mod settings;
mod state;
mod values;
mod visit;
mod visit_hour;
mod zone;

pub use cell::{
    Cell, CellTable, Dictionary, DimensionPage, HourPage, PAGE_VALUES_MAX, PageError, Precision,
    Remainder, RevenueSum, RollUpError, Uniques, fold_dimension, fold_hour, page_dimensions,
    remove_pages_over, roll_up,
};
pub use dimension::Dimension;
pub use goal::{Condition, Goal};
pub use rows::{HourRows, Minute, RowError, Touches, decode_minutes};
pub use rules::{
    BotRules, ChannelRule, GoalRule, PageRewrite, Pattern, RuleSet, RuleSetError, RuledEvents,
    RuledState, Rules, SettingsRules, Subject, Unlisted, Without, ZoneRule,
};
pub use settings::Settings;
pub use state::{
    DICTIONARY_BYTES_MAX, IMPORT_SOURCES_MAX, ImportProgress, LATE_EVENTS_HARD_MAX,
    LATE_EVENTS_MAX, RECENT_MINUTES, RecentCell, RecentTable, SiteOutline, SiteState, SiteView,
    StateError, VisitSpan,
};
pub use values::Values;
pub use visit_hour::{Money, NO_VALUE, REMAINDER, Touch, ValueId, VisitHour, VisitTotals};
pub use zone::{DAY_MS, HOUR_MS, Zone};
