//! Reports of a site, from cells: the last stage of the flow, *query*.
//!
//! A request in the shape of Plausible's Stats API v2 becomes a plan in which every word is
//! understood, the plan's spans are counted from pages and hot rows, and the rows are ordered and put into words.
//! The crate deliberately knows nothing of HTTP, gRPC, keys, clocks, actors or stores: it is given a site's state
//! ([`SiteSource`]), a reader of its rows, and what time it is.

mod answer;
mod buckets;
mod cache;
mod calendar;
mod cells;
mod comparison;
mod count;
mod countries;
mod dimension;
mod error;
mod metric;
mod money;
mod order;
mod period;
mod plan;
mod realtime;
mod reports;
mod request;
mod session;
mod source;
mod standing;

pub use answer::QueryResponse;
pub use error::QueryError;
pub use realtime::realtime_visitors;
pub use reports::Reports;
pub use request::{Include, Pagination, QueryRequest};
pub use session::{Seen, Session};
pub use source::{GoalInfo, SiteInfo, SiteSource};
pub use standing::Standing;
