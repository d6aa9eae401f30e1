//! Copies of what other nodes spooled.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashMap;
use ringtail_proto::NodeId;
use tokio::time::{Instant, sleep};

use super::{
    Spool, SpooledEntry, blocking,
    directory::FileKey,
    file::{FileError, Header},
};
use crate::FileFates;

/// Files of one question to an owner.
const FILES_ASKED_MAX: usize = 1_000;
/// Between two questions to an owner.
const ASK_SECONDS_MAX: u64 = 15;

/// Why a copy is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepRefusal {
    #[error("the copy is damaged: {0}")]
    Damaged(#[from] FileError),
    #[error("the file is this node's own")]
    Own,
    #[error("another file has this number")]
    Taken,
    #[error("copies are at their limit of {bytes_max} bytes")]
    Full { bytes_max: u64 },
    #[error("the disk did not take it: {0}")]
    Disk(#[from] std::io::Error),
}

impl Spool {
    /// Keeps a copy for its owner; it is on disk when this answers. Once begun it comes to its end, though the owner may
    /// hang up: what was reserved is either kept or given back.
    pub(crate) async fn keep_for(
        self: &Arc<Self>,
        owner: NodeId,
        file: u64,
        content: Bytes,
    ) -> Result<(), KeepRefusal> {
        let spool = Arc::clone(self);
        let keeping = async move { spool.keep_whole(owner, file, content).await };
        let kept = tokio::spawn(keeping).await;
        kept.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
    }

    async fn keep_whole(
        &self,
        owner: NodeId,
        file: u64,
        content: Bytes,
    ) -> Result<(), KeepRefusal> {
        let key = FileKey { owner, file };
        if owner == self.node {
            return Err(KeepRefusal::Own);
        }
        SpooledEntry::decode(&content)?;
        let header = Header::decode(&content)?;
        let bytes = header.file_bytes();
        let (files_max, bytes_max) = (
            self.options.spool_files_max,
            self.options.spool_copies_bytes_max,
        );
        {
            let mut index = self.index.lock();
            match index.get(key) {
                // The owner did not hear the answer.
                Some(known) if *known == header => return Ok(()),
                Some(_) => return Err(KeepRefusal::Taken),
                None => {}
            }
            if !index.copies().has_room(bytes, files_max, bytes_max) {
                return Err(KeepRefusal::Full { bytes_max });
            }
            index.reserve(key, bytes);
        }
        let written = self.write(key, content).await;
        {
            let mut index = self.index.lock();
            match &written {
                Ok(()) => index.insert(key, header),
                Err(_) => index.give_up(key, bytes),
            }
        }
        self.show();
        Ok(written?)
    }

    /// Removes copies whose owner says that it needs them no more.
    pub(crate) async fn drop_for(&self, owner: NodeId, files: &[u64]) {
        let keys: Vec<FileKey> = {
            let index = self.index.lock();
            let keys = files.iter().map(|file| FileKey { owner, file: *file });
            keys.filter(|key| owner != self.node && index.get(*key).is_some())
                .collect()
        };
        if keys.is_empty() {
            return;
        }
        let (directory, gone) = (Arc::clone(&self.directory), keys.clone());
        if let Err(error) = blocking(move || directory.remove(&gone)).await {
            tracing::warn!(%error, "route: copies of spool files could not be removed");
        }
        {
            let mut index = self.index.lock();
            for key in keys {
                index.remove(key);
            }
        }
        self.show();
    }

    /// What became of own files.
    pub(crate) fn fates(&self, files: &[u64]) -> FileFates {
        let index = self.index.lock();
        let mut fates = FileFates::default();
        for file in files {
            match index.fate(*file) {
                None => fates.done.push(*file),
                Some(true) => fates.lost.push(*file),
                Some(false) => {}
            }
        }
        fates
    }

    fn adopt(&self, owner: NodeId, files: &[u64]) {
        {
            let mut index = self.index.lock();
            for file in files {
                if index.adopt(FileKey { owner, file: *file }) {
                    self.metrics.adopted();
                }
            }
        }
        self.wake();
    }
}

/// Asks owners about copies until the spool is stopped: drops what is done, and adopts what is lost or whose owner is
/// not heard of for long.
pub(crate) async fn look_after_copies(spool: Arc<Spool>) {
    let adopt = Duration::from_secs(spool.options.spool_adopt_seconds_min);
    let interval = (adopt / 4).clamp(
        Duration::from_millis(20),
        Duration::from_secs(ASK_SECONDS_MAX),
    );
    let mut stopping = spool.stopping.subscribe();
    let asking = async {
        // An owner of which nothing was heard since this node started was heard of then.
        let mut heard: HashMap<NodeId, Instant> = HashMap::new();
        loop {
            sleep(interval).await;
            spool.show();
            let copies = spool.index.lock().copies_by_owner(FILES_ASKED_MAX);
            heard.retain(|owner, _| copies.contains_key(owner));
            for (owner, files) in copies {
                let last = *heard.entry(owner).or_insert_with(Instant::now);
                match spool.link.ask(owner, files.clone()).await {
                    Ok(fates) => {
                        heard.insert(owner, Instant::now());
                        let FileFates { done, lost } = fates;
                        let is_asked = |file: &u64| files.binary_search(file).is_ok();
                        let done: Vec<u64> = done.into_iter().filter(is_asked).collect();
                        spool.drop_for(owner, &done).await;
                        spool.adopt(owner, &lost);
                    }
                    Err(error) if last.elapsed() >= adopt => {
                        tracing::warn!(%owner, %error, copies = files.len(), "route: the owner of spooled events is gone, its copies are forwarded");
                        spool.adopt(owner, &files);
                    }
                    Err(_) => {}
                }
            }
        }
    };
    tokio::select! {
        () = asking => {}
        _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use ringtail_log::FaultDisk;
    use ringtail_proto::{GroupId, UnixMillis};

    use super::*;
    use crate::{NoPeers, RouterOptions, SystemClock, spool::SpoolPlace};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_whose_owner_hangs_up_is_kept_and_counted_once() {
        let place = SpoolPlace {
            disk: Arc::new(FaultDisk::new()),
            directory: "/spool".into(),
        };
        let (clock, link) = (Arc::new(SystemClock::new()), Arc::new(NoPeers));
        let opened = Spool::open(NodeId(1), RouterOptions::default(), clock, link, place).await;
        let spool = opened.expect("a fresh disk");
        let entry = SpooledEntry {
            group: GroupId(3),
            received: UnixMillis(5),
            events: 2,
            bytes: Bytes::from_static(b"entry"),
        };
        let owner = NodeId(2);
        let hung_up = spool.keep_for(owner, 7, entry.encode()).now_or_never();
        assert!(hung_up.is_none(), "it waits for the disk");
        let key = FileKey { owner, file: 7 };
        while spool.index.lock().get(key).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        spool.drop_for(owner, &[7]).await;
        assert_eq!(spool.index.lock().copies().files, 0);
    }
}
