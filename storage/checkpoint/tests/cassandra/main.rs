//! The store in Cassandra against a real server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod conforms;
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
];

fn main() -> ExitCode {
    trials::run(TRIALS, Server::start)
}
