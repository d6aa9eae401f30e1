//! What of the ring is on this node: replicas come and go as the placement says, and the router is told of them.
//!
//! Place in the flow: between *route* and *replicate*. The metadata say who hosts which group; [`Hosting`] opens and
//! closes replicas accordingly, and [`RouteLeadership`] follows who leads a group, from the replica here or from what
//! its voters answer.
//!
//! It deliberately decides nothing: where a group belongs is the reconciler's plan, who leads it the group's own vote.
//! Clock, network, disk and threads are those of the parts that it is given, so that a simulator runs the same code.

mod hosting;
mod leadership;

pub use hosting::{Hosting, LogOf};
pub use leadership::RouteLeadership;
