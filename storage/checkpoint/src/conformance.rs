//! What every store must do: one suite, run against each implementation.

mod checks;

use std::sync::Arc;

use crate::CheckpointStore;

/// Runs every check, each on a store of its own.
///
/// # Panics
/// When the store does not do what the traits promise.
pub fn check_all(mut new_store: impl FnMut() -> Arc<dyn CheckpointStore>) {
    for check in checks::ALL {
        check(new_store().as_ref());
    }
}

/// Checks that what was persisted is there after the store was closed; `open` opens the same store each time.
///
/// # Panics
/// When something is missing or too much.
pub fn check_reopen(mut open: impl FnMut() -> Arc<dyn CheckpointStore>) {
    checks::write_before_reopen(open().as_ref());
    checks::find_after_reopen(open().as_ref());
    checks::find_after_reopen(open().as_ref());
}
