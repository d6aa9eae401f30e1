//! Closes ingest while the disk is near its limit, and opens it again.

use std::{sync::Arc, time::Duration};

use ringtail_checkpoint::FreeSpace;
use ringtail_router::IngestGate;

const INTERVAL: Duration = Duration::from_millis(500);

/// Looks at the disk for as long as the node runs.
pub(crate) async fn watch(free: Arc<dyn FreeSpace>, gate: Arc<IngestGate>, reserve_bytes: u64) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        look(&*free, &gate, reserve_bytes);
    }
}

/// Looks at the disk once. To open again it takes a tenth more than to stay open, so that the gate does not flap.
pub(crate) fn look(free: &dyn FreeSpace, gate: &IngestGate, reserve_bytes: u64) {
    let was_full = gate.is_storage_full();
    let needed = if was_full {
        reserve_bytes + reserve_bytes / 10
    } else {
        reserve_bytes
    };
    match free.free_bytes() {
        Ok(bytes) => {
            let is_full = bytes < needed;
            metrics::gauge!("ringtail_disk_free_bytes").set(bytes as f64);
            if is_full != was_full {
                tracing::warn!(bytes, reserve_bytes, is_full, "disk reserve");
                gate.set_storage_full(is_full);
            }
        }
        Err(error) => tracing::error!(%error, "free disk space is unknown"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;

    struct Disk(AtomicU64);

    impl FreeSpace for Disk {
        fn free_bytes(&self) -> io::Result<u64> {
            Ok(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn ingest_closes_below_the_reserve_and_opens_a_tenth_above_it() {
        let (disk, gate) = (Disk(AtomicU64::new(100)), IngestGate::default());
        for (bytes, is_full) in [
            (100, false),
            (99, true),
            (105, true),
            (110, false),
            (100, false),
        ] {
            disk.0.store(bytes, Ordering::Relaxed);
            look(&disk, &gate, 100);
            assert_eq!(gate.is_storage_full(), is_full, "{bytes}");
        }
    }
}
