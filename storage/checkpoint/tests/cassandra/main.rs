//! The store in Cassandra against a real server; with `RINGTAIL_CASSANDRA_NODES=3` in the environment against three.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod conforms;
mod faults;
mod frozen_leader;
mod model;
mod reads;
mod refused;
mod server;

use std::process::ExitCode;

use ringtail_local_cassandra::trials::{self, Trial};
use server::Server;

const TRIALS: &[Trial<Server>] = &[
    ("the_cassandra_store_conforms", conforms::all),
    (
        "the_cassandra_store_is_whole_after_it_was_opened_again",
        conforms::reopened,
    ),
    (
        "rows_replace_others_wholly_or_not_at_all_through_a_kill",
        conforms::replaced_and_killed,
    ),
    (
        "a_commit_that_was_cut_off_is_gone_at_the_next_open",
        conforms::cut_off,
    ),
    (
        "a_pinned_site_does_not_change_while_it_is_written",
        reads::pinned,
    ),
    ("a_site_row_comes_after_all_others", reads::site_row_last),
    (
        "a_write_in_pieces_is_seen_as_a_whole_or_not_at_all",
        reads::in_pieces,
    ),
    ("writes_that_cannot_be_are_refused", reads::bad_writes),
    (
        "superseded_versions_go_after_the_grace_and_not_before",
        reads::pruned,
    ),
    ("a_removed_site_is_gone_at_once", reads::removed),
    (
        "what_a_leader_began_and_never_finished_is_not_read",
        reads::unfinished,
    ),
    ("a_torn_or_mixed_value_is_noticed", reads::torn),
    ("reads_at_any_pin_agree_with_a_model", model::random_commits),
    (
        "a_frozen_leader_harms_nothing_in_ten_thousand_attempts",
        frozen_leader::attempts,
    ),
    (
        "each_reason_not_to_open_has_its_own_error",
        refused::reasons,
    ),
    (
        "two_clusters_do_not_get_one_keyspace",
        refused::other_cluster,
    ),
    ("a_user_without_rights_is_told_so", refused::rights),
    (
        "a_killed_server_comes_back_with_all_that_it_acknowledged",
        faults::killed,
    ),
    (
        "a_frozen_server_is_written_to_again_once_it_thaws",
        faults::frozen,
    ),
    (
        "writes_that_are_applied_and_answered_with_timeouts_leave_the_same_state",
        faults::timeouts,
    ),
    (
        "a_node_starts_while_the_server_is_down_and_connects_later",
        faults::started_down,
    ),
];

/// Those for three servers: what more than one can do wrong.
const TRIALS_OF_THREE: &[Trial<Server>] = &[
    ("the_cassandra_store_conforms", conforms::all),
    ("reads_at_any_pin_agree_with_a_model", model::random_commits),
    (
        "a_frozen_leader_harms_nothing_in_ten_thousand_attempts",
        frozen_leader::attempts,
    ),
    (
        "one_of_three_servers_dies_and_nothing_fails",
        faults::one_of_three,
    ),
    (
        "without_a_quorum_nothing_is_acknowledged_and_nothing_lost",
        faults::two_of_three,
    ),
];

fn main() -> ExitCode {
    let trials = match server::nodes() {
        1 => TRIALS,
        _ => TRIALS_OF_THREE,
    };
    trials::run(trials, Server::start)
}
