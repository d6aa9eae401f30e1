//! Where events wait while their group has no quorum: on this node's disk, and on one other's.
//!
//! A file is on disk, name and all, before anybody is told so. It goes only once its events are in their log. What
//! comes back after a crash, or is forwarded by a keeper of a copy as well, apply knows by its ids.

mod directory;
mod file;
mod forwarder;
mod index;
mod keeper;
mod receipt;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use hashbrown::HashMap;
use parking_lot::Mutex;
use ringtail_log::Disk;
use ringtail_proto::NodeId;
use ringtail_raft::spawn_blocking;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    Clock, RouteError, RouterOptions, SpoolLink, link::Breaker, spool_metrics::SpoolMetrics,
};
use directory::{Directory, FileKey};
use file::Header;
pub(crate) use file::SpooledEntry;
pub(crate) use forwarder::forward_spooled;
use index::Index;
pub(crate) use index::Usage;
pub(crate) use keeper::{KeepRefusal, look_after_copies};

/// A node that kept no copy is not asked for so long.
const REST: Duration = Duration::from_secs(2);
/// Nodes asked to keep one copy.
const KEEPERS_ASKED_MAX: usize = 2;

/// Where the spool's files are.
#[derive(Clone)]
pub struct SpoolPlace {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The directory on it; nothing else may write there.
    pub directory: PathBuf,
}

/// Where events wait while their group has no quorum.
pub(crate) struct Spool {
    node: NodeId,
    options: RouterOptions,
    clock: Arc<dyn Clock>,
    link: Arc<dyn SpoolLink>,
    directory: Arc<Directory>,
    index: Mutex<Index>,
    /// Nodes that were asked to keep copies.
    keepers: Mutex<HashMap<NodeId, Breaker>>,
    /// Something waits to be forwarded, or may be forwarded now.
    news: Notify,
    stopping: watch::Sender<bool>,
    metrics: SpoolMetrics,
}

impl Spool {
    /// Opens the spool with whatever an earlier run left in it.
    pub(crate) async fn open(
        node: NodeId,
        options: RouterOptions,
        clock: Arc<dyn Clock>,
        link: Arc<dyn SpoolLink>,
        place: SpoolPlace,
    ) -> Result<Arc<Self>, RouteError> {
        let opening = move || Directory::open(place.disk, &place.directory);
        let (directory, found) = blocking(opening)
            .await
            .map_err(|error| RouteError::SpoolUnusable(error.to_string()))?;
        let mut index = Index::new(node);
        for (key, header) in found.files {
            index.reserve(key, header.file_bytes());
            index.insert(key, header);
        }
        let metrics = SpoolMetrics::new();
        for key in found.damaged {
            metrics.damaged();
            index.lose(key);
        }
        let spool = Self {
            node,
            options,
            clock,
            link,
            directory: Arc::new(directory),
            index: Mutex::new(index),
            keepers: Mutex::default(),
            news: Notify::new(),
            stopping: watch::Sender::new(false),
            metrics,
        };
        spool.show();
        Ok(Arc::new(spool))
    }

    /// Writes events down; they are on disk when this answers, and on another node's if one is within reach.
    pub(crate) fn keep(
        self: &Arc<Self>,
        entry: SpooledEntry,
    ) -> BoxFuture<'static, Result<(), RouteError>> {
        let spool = Arc::clone(self);
        async move {
            let (group, events) = (entry.group, entry.events);
            let failed = |message: String| RouteError::SpoolFailed { group, message };
            let content = encode(entry).await.map_err(failed)?;
            let header = Header::decode(&content).expect("it was just encoded");
            let key = spool.reserve_own(&header).ok_or(RouteError::SpoolFull {
                group,
                bytes_max: spool.options.spool_bytes_max,
            })?;
            let (written, keeper) = futures::join!(
                spool.write(key, content.clone()),
                spool.keep_copy(key, content)
            );
            if let Err(error) = written {
                spool.index.lock().give_up(key, header.file_bytes());
                tracing::error!(%group, %error, "route: the spool could not take events");
                return Err(failed(error.to_string()));
            }
            {
                let mut index = spool.index.lock();
                index.insert(key, header);
                if let Some(keeper) = keeper {
                    index.set_keeper(key, keeper);
                }
            }
            spool.metrics.spooled(events, keeper.is_some());
            spool.show();
            spool.wake();
            Ok(())
        }
        .boxed()
    }

    /// A leader may be there again, or something new waits.
    pub(crate) fn wake(&self) {
        self.news.notify_one();
    }

    /// Ends what goes on in the background.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Files that this node has to forward, own and adopted ones.
    pub(crate) fn files_waiting(&self) -> usize {
        self.index.lock().files_waiting()
    }

    /// True while no file waits to be forwarded.
    pub(crate) fn is_drained(&self) -> bool {
        self.index.lock().is_drained()
    }

    fn reserve_own(&self, header: &Header) -> Option<FileKey> {
        let RouterOptions {
            spool_files_max,
            spool_bytes_max,
            ..
        } = self.options;
        let bytes = header.file_bytes();
        let mut index = self.index.lock();
        if !index
            .own()
            .has_room(bytes, spool_files_max, spool_bytes_max)
        {
            self.metrics.full();
            return None;
        }
        let key = index.next_file(self.clock.now());
        index.reserve(key, bytes);
        Some(key)
    }

    async fn write(&self, key: FileKey, content: Bytes) -> std::io::Result<()> {
        let directory = Arc::clone(&self.directory);
        blocking(move || directory.write(key, &content)).await
    }

    /// Has a copy kept elsewhere; returns by whom.
    async fn keep_copy(&self, key: FileKey, content: Bytes) -> Option<NodeId> {
        let wait = Duration::from_millis(self.options.spool_copy_wait_ms_max);
        for keeper in self.possible_keepers(key.file) {
            let kept = timeout(wait, self.link.keep(keeper, key.file, content.clone())).await;
            let is_kept = matches!(kept, Ok(Ok(())));
            if let Ok(Err(error)) = kept {
                tracing::debug!(%keeper, %error, "route: no copy of a spool file");
            }
            let now = self.clock.elapsed();
            if let Some(breaker) = self.keepers.lock().get_mut(&keeper) {
                match is_kept {
                    true => breaker.succeeded(),
                    false => breaker.failed(now),
                }
            }
            if is_kept {
                return Some(keeper);
            }
        }
        None
    }

    /// The nodes to ask, in turns.
    fn possible_keepers(&self, file: u64) -> Vec<NodeId> {
        let mut peers = self.link.peers();
        peers.sort_unstable();
        let turn = file as usize % peers.len().max(1);
        peers.rotate_left(turn);
        let now = self.clock.elapsed();
        let mut keepers = self.keepers.lock();
        let is_awake = |peer: &NodeId| {
            let breaker = keepers
                .entry(*peer)
                .or_insert_with(|| Breaker::new(1, REST));
            breaker.try_pass(now)
        };
        let awake = peers.into_iter().filter(is_awake);
        awake.take(KEEPERS_ASKED_MAX).collect()
    }

    /// Removes files whose events are in their logs.
    async fn remove(&self, key: FileKey) {
        let directory = Arc::clone(&self.directory);
        if let Err(error) = blocking(move || directory.remove(&[key])).await {
            tracing::warn!(%error, "route: a spool file stays and will be forwarded again");
        }
        self.index.lock().remove(key);
        self.show();
    }

    /// Moves a file to where nobody forwards it.
    async fn set_aside(&self, key: FileKey) {
        let directory = Arc::clone(&self.directory);
        if let Err(error) = blocking(move || directory.set_aside(key)).await {
            tracing::error!(%error, "route: a spool file could not be set aside");
        }
        let mut index = self.index.lock();
        index.remove(key);
        index.lose(key);
    }

    fn show(&self) {
        let index = self.index.lock();
        let age = index.oldest_received().map(|received| {
            let age_ms = self.clock.now().0.saturating_sub(received.0).max(0);
            Duration::from_millis(age_ms as u64)
        });
        self.metrics.show(index.own(), index.copies(), age);
    }
}

async fn encode(entry: SpooledEntry) -> Result<Bytes, String> {
    let encoding = move || {
        let bytes = receipt::settle_times(entry.bytes, entry.received)?;
        Ok::<_, ringtail_proto::stored::EntryError>(SpooledEntry { bytes, ..entry }.encode())
    };
    match spawn_blocking(encoding).await {
        Ok(content) => content.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    spawn_blocking(work).await.map_err(std::io::Error::other)?
}
