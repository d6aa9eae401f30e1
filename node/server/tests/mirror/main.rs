//! The mirror of real nodes in a real Cassandra.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../support/mod.rs"]
mod support;

mod equal;
mod load;
mod outage;
mod retention;
mod shared;
mod starts;

use std::process::ExitCode;

use ringtail_local_cassandra::trials::{self, Trial};
use shared::Shared;

const TRIALS: &[Trial<Shared>] = &[
    (
        "a_node_serves_before_the_keyspace_is_made_and_mirrors_afterwards",
        starts::before_init,
    ),
    (
        "a_keyspace_of_another_ring_is_refused_and_the_node_serves",
        starts::other_ring,
    ),
    (
        "a_configuration_that_cannot_be_is_refused_at_the_start",
        starts::bad_configuration,
    ),
    (
        "the_mirror_of_three_nodes_holds_the_state_of_every_site",
        equal::three_nodes,
    ),
    (
        "servers_frozen_or_killed_cost_no_event_and_the_mirror_catches_up",
        outage::under_load,
    ),
    (
        "pages_that_only_the_mirror_has_are_read_back_or_missed_by_name",
        retention::read_back,
    ),
];

fn main() -> ExitCode {
    trials::run(TRIALS, Shared::start)
}
