//! A simulated machine: what is left of a node when its process ends.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringtail_checkpoint::MemoryStore;
use ringtail_log::FaultDisk;
use ringtail_proto::NodeId;

use super::clock::SimClock;

/// A simulated machine.
pub(crate) struct Host {
    /// Its number; its name is `node-NUMBER`.
    pub(crate) number: u64,
    pub(crate) clock: SimClock,
    /// Checkpoints: a store of its own kind, which loses what it had not persisted.
    pub(crate) store: MemoryStore,
    /// How long one write and sync of the log takes, in microseconds of virtual time.
    pub(crate) sync_us: AtomicU64,
    disk: Mutex<FaultDisk>,
    is_full: AtomicBool,
    identity: Mutex<Option<Identity>>,
}

/// What a node writes down when it joins.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) peers: BTreeMap<NodeId, String>,
}

impl Host {
    pub(crate) fn new(number: u64, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            number,
            clock: SimClock::new(seed ^ number << 32),
            store: MemoryStore::new(),
            sync_us: AtomicU64::new(1_000),
            disk: Mutex::default(),
            is_full: AtomicBool::new(false),
            identity: Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> String {
        format!("node-{}", self.number)
    }

    pub(crate) fn disk(&self) -> FaultDisk {
        self.disk.lock().clone()
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity.lock().clone()
    }

    pub(crate) fn claim(&self, identity: Identity) {
        *self.identity.lock() = Some(identity);
    }

    /// No byte more fits, until it does again.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
        self.disk().set_free_bytes(is_full.then_some(0));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// What was not synced is lost, in part or altogether; the seed says which part. Nothing runs here any more.
    pub(crate) fn lose_power(&self, seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut disk = self.disk.lock();
        *disk = match random.random_bool(0.5) {
            true => disk.lose_power(random.random()),
            false => disk.lose_power_and_everything_unsynced(),
        };
        drop(disk);
        self.store
            .crash(random.random_range(0..=self.store.unpersisted()));
        self.set_full(false);
    }
}

impl Host {
    pub(crate) fn set_sync_us(&self, sync_us: u64) {
        self.sync_us.store(sync_us, Ordering::Relaxed);
    }

    /// From now on the disk does not do what it says.
    pub(crate) fn lie_about_syncs(&self) {
        self.disk().lie_about_syncs();
    }
}
