//! The switch that sheds ingest while the disk is near its limit.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::RouteError;

/// Set by whoever watches the disk; asked by every submission of events. Commands pass: they are few, and the reserve
/// on disk is kept for them.
#[derive(Debug, Default)]
pub struct IngestGate {
    is_storage_full: AtomicBool,
    is_stopping: AtomicBool,
}

impl IngestGate {
    /// Says whether the disk is near its limit.
    pub fn set_storage_full(&self, is_storage_full: bool) {
        self.is_storage_full
            .store(is_storage_full, Ordering::Release);
    }

    /// True while events are shed because of the disk.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        self.is_storage_full.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub(crate) fn check_events(&self) -> Result<(), RouteError> {
        self.check_commands()?;
        if self.is_storage_full() {
            return Err(RouteError::StorageFull);
        }
        Ok(())
    }

    pub(crate) fn check_commands(&self) -> Result<(), RouteError> {
        if self.is_stopping.load(Ordering::Acquire) {
            return Err(RouteError::Stopping);
        }
        Ok(())
    }
}
