//! The site's state as a whole: arrival order, visits, deduplication, imports, caps, zones, stored formats.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod arrival_order;
mod caps;
mod dedup;
mod golden;
mod imports;
mod input;
mod late;
mod rule_set;
mod rules;
mod rules_anywhere;
mod support;
mod visits;
mod zones;
