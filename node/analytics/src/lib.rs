//! The pure product core: from accepted events to reports, without clock, I/O, threads or actors.
//!
//! Place in the flow: *aggregate* (events → site state → rows and pages) and the arithmetic behind *query*
//! (rows and pages → cells). It deliberately knows nothing of Raft, actors, stores or the network.

mod dimension;
mod visit_hour;

pub use dimension::Dimension;
pub use visit_hour::{
    Money, NO_VALUE, REMAINDER, Touch, ValueId, VisitHour, VisitTotals,
};
