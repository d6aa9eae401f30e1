//! Open files: the node asks for what the system grants, and takes no more connections than that leaves room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the log and the store may have open.
const RESERVED_FILES: u64 = 512;
/// Connections at most, whatever the system grants.
const CONNECTIONS_MAX: u64 = 50_000;
/// What a system without a limit is taken to grant.
const UNLIMITED: u64 = 1 << 20;

/// Raises the soft limit on open files to the hard one; returns how many connections all servers may have together.
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    connections_max(getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED))
}

fn connections_max(files: u64) -> u64 {
    files
        .saturating_sub(RESERVED_FILES)
        .clamp(64, CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_log_and_the_store() {
        for (files, expect) in [(1_024, 512), (256, 64), (20_000, 19_488), (1 << 20, 50_000)] {
            assert_eq!(connections_max(files), expect, "{files}");
        }
    }
}
