//! The only bridge between the cluster and the product: a site's state as the partitions' site machine.
//!
//! Place in the flow: *aggregate* and *checkpoint*. It hands log entries to [`ringtail_analytics::SiteState`] and rows
//! back. It deliberately decides nothing itself: rules are in `ringtail-analytics`, actors, stores and the log in
//! `ringtail-partition`.

mod machine;
mod shared_rules;

pub use machine::Aggregator;
