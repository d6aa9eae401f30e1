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

/// Checks that rows replace others wholly or not at all when the process is killed meanwhile. `open` opens the store the
/// first time, later as it is after the kill; what was opened before is dropped only at the end.
///
/// # Panics
/// When something is missing or too much.
pub fn check_replace_and_kill(mut open: impl FnMut() -> Arc<dyn CheckpointStore>) {
    let killed = open();
    let _unfinished = checks::replace_before_crash(killed.as_ref());
    checks::find_replaced_after_crash(open().as_ref());
    checks::find_replaced_after_crash(open().as_ref());
}
