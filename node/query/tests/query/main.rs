//! Reports as a reader meets them: these hits, this question, this table.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod bad_input;
mod breakdowns;
mod comparisons;
mod conservation;
mod periods;
mod realtime;
mod series;
mod site;
