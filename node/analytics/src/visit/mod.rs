//! Visits as merging session windows: events sum into parts, parts form chains, chains are cut into visits.
//!
//! A [`chain::Chain`] is a visitor's run of events without a gap longer than the timeout. It holds one
//! [`part::Part`] per local hour, a sum over that hour's events. Everything about visits is derived from the parts,
//! so that a late event, which joins, extends or bridges chains, needs no undoing: merging is a union of sums.

pub(crate) mod applied_event;
pub(crate) mod chain;
pub(crate) mod derive;
pub(crate) mod part;
pub(crate) mod touch_sum;
