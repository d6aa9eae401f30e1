//! Brings spooled events to their groups, oldest first.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use ringtail_proto::GroupId;
use tokio::time::{sleep, timeout};

use super::{Spool, SpooledEntry, blocking, directory::FileKey};
use crate::{RouteError, Router, retry::RetryReason};

/// Groups whose files are forwarded at once; of each group one file goes at a time.
const GROUPS_AT_ONCE: usize = 8;
/// The pause between rounds in which nobody got through.
const PAUSE_MS_MIN: u64 = 50;
const PAUSE_MS_MAX: u64 = 1_000;
/// Files of one message to a keeper of copies.
const FILES_TOLD_MAX: usize = 1_000;

/// What became of an attempt to forward a file.
enum Outcome {
    /// Its events are in their log, or nobody will ever take them.
    Gone,
    /// Not now.
    Later,
}

/// Forwards what the spool holds until it is stopped.
pub(crate) async fn forward_spooled(spool: Arc<Spool>, router: Router) {
    let mut stopping = spool.stopping.subscribe();
    let forwarding = async {
        let mut pause_ms = PAUSE_MS_MIN;
        loop {
            let groups = spool.index.lock().groups();
            let drained = stream::iter(groups)
                .map(|group| drain(&spool, &router, group))
                .buffer_unordered(GROUPS_AT_ONCE)
                .fold(0, async |sum, forwarded| sum + forwarded)
                .await;
            if spool.is_drained() {
                spool.news.notified().await;
                pause_ms = PAUSE_MS_MIN;
                continue;
            }
            pause_ms = match drained {
                0 => (pause_ms * 2).min(PAUSE_MS_MAX),
                _ => PAUSE_MS_MIN,
            };
            // News come with each file that is spooled: they must not turn the pause into none.
            sleep(Duration::from_millis(PAUSE_MS_MIN)).await;
            let rest = Duration::from_millis(pause_ms - PAUSE_MS_MIN);
            drop(timeout(rest, spool.news.notified()).await);
        }
    };
    tokio::select! {
        () = forwarding => {}
        _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
    }
}

/// Forwards a group's files, one after the other, until one has to wait; returns how many went.
async fn drain(spool: &Spool, router: &Router, group: GroupId) -> usize {
    let (mut count, mut untold) = (0, Vec::new());
    loop {
        let oldest = spool.index.lock().oldest(group);
        let Some(key) = oldest else {
            break;
        };
        match forward(spool, router, key).await {
            Outcome::Gone => untold.push(key),
            Outcome::Later => break,
        }
        count += 1;
        if untold.len() >= FILES_TOLD_MAX {
            tell_keepers(spool, std::mem::take(&mut untold)).await;
        }
    }
    tell_keepers(spool, untold).await;
    count
}

async fn forward(spool: &Spool, router: &Router, key: FileKey) -> Outcome {
    let directory = Arc::clone(&spool.directory);
    let content = blocking(move || directory.read(key)).await;
    let entry = match content {
        Ok(content) => SpooledEntry::decode(&content).map_err(|error| error.to_string()),
        // Too many open files, or a disk that will be back: the file is still there.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "route: a spool file cannot be read now");
            return Outcome::Later;
        }
        Err(error) => Err(error.to_string()),
    };
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => {
            tracing::error!(owner = %key.owner, file = key.file, %error, "route: a spool file is damaged");
            spool.metrics.damaged();
            spool.set_aside(key).await;
            return Outcome::Gone;
        }
    };
    let (bytes, events) = (entry.bytes.len(), entry.events);
    match send(router, entry).await {
        Ok(()) => {
            spool.metrics.forwarded(events);
            spool.remove(key).await;
            throttle(
                bytes as u64,
                spool.options.spool_forward_bytes_per_second_max,
            )
            .await;
            Outcome::Gone
        }
        Err(error) if is_hopeless(&error) => {
            tracing::error!(owner = %key.owner, file = key.file, %error, "route: nobody takes a spool file");
            spool.metrics.refused(events);
            spool.set_aside(key).await;
            Outcome::Gone
        }
        Err(error) => {
            tracing::debug!(%error, "route: a spool file has to wait");
            Outcome::Later
        }
    }
}

async fn send(router: &Router, entry: SpooledEntry) -> Result<(), RouteError> {
    router.submit_spooled(entry)?.committed().await
}

/// True when the group will refuse the entry for ever.
const fn is_hopeless(error: &RouteError) -> bool {
    matches!(
        error,
        RouteError::Refused { .. } | RouteError::TooLarge { .. }
    ) && RetryReason::of(error).is_none()
}

async fn throttle(bytes: u64, bytes_per_second: u64) {
    let micros = bytes.saturating_mul(1_000_000) / bytes_per_second.max(1);
    sleep(Duration::from_micros(micros)).await;
}

/// Tells whoever keeps copies that they may go. A message that is lost is made good when the keeper asks.
async fn tell_keepers(spool: &Spool, forwarded: Vec<FileKey>) {
    let mut files = std::collections::BTreeMap::<_, Vec<u64>>::new();
    {
        let mut index = spool.index.lock();
        for key in forwarded {
            let is_done = index.fate(key.file).is_none();
            if let Some(keeper) = index.take_keeper(key).filter(|_| is_done) {
                files.entry(keeper).or_default().push(key.file);
            }
        }
    }
    for (keeper, files) in files {
        if let Err(error) = spool.link.drop_copies(keeper, files).await {
            tracing::debug!(%error, "route: copies stay until their keeper asks");
        }
    }
}
