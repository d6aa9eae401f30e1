//! What every request asks: which site, which key, which group.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use ringtail_proto::{GroupId, NodeId, SiteId, UnixMillis};
use ringtail_ring::SlotTable;

use crate::{
    Cluster, Domain, Key, KeyId, KeyRefusal, MetadataError, Node, Secret, SecretHash, Site,
    settings::{SettingsPush, settings_of},
    sharded::Sharded,
};

/// A key and its last use, which is noted in memory and written once a minute.
#[derive(Clone)]
struct KeyEntry {
    key: Arc<Key>,
    used: Arc<AtomicI64>,
}

/// A key that was never used.
const NEVER: i64 = i64::MIN;

/// The replicated metadata as this node knows it. Reads take one short shard lock; a change touches only its own
/// entries, however many sites there are.
pub struct Directory {
    sites: Sharded<SiteId, Arc<Site>>,
    domains: Sharded<Domain, Arc<Site>>,
    keys: Sharded<KeyId, KeyEntry>,
    secrets: Sharded<SecretHash, KeyId>,
    nodes: Sharded<NodeId, Arc<Node>>,
    cluster: ArcSwapOption<Cluster>,
    slots: ArcSwap<SlotTable>,
    awaiting_settings: Mutex<BTreeSet<SiteId>>,
    /// Kept beside the maps: counting locks every shard.
    site_count: AtomicUsize,
    key_count: AtomicUsize,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            sites: Sharded::new(),
            domains: Sharded::new(),
            keys: Sharded::new(),
            secrets: Sharded::new(),
            nodes: Sharded::new(),
            cluster: ArcSwapOption::empty(),
            slots: ArcSwap::from_pointee(
                SlotTable::even(1).expect("a ring of one partition is possible"),
            ),
            awaiting_settings: Mutex::default(),
            site_count: AtomicUsize::new(0),
            key_count: AtomicUsize::new(0),
        }
    }

    /// The site of a domain or alias, in any case, with blanks around it.
    #[must_use]
    pub fn site_by_domain(&self, domain: &str) -> Option<Arc<Site>> {
        self.domains.get(Domain::normalise(domain).as_ref())
    }

    /// The site of a domain, once events of it may be logged: its partition's log holds its settings.
    #[must_use]
    pub fn site_for_events(&self, domain: &str) -> Option<Arc<Site>> {
        self.site_by_domain(domain).filter(|site| site.is_settled())
    }

    /// The site of this id.
    #[must_use]
    pub fn site(&self, site: SiteId) -> Option<Arc<Site>> {
        self.sites.get(&site)
    }

    /// All sites by id; for lists, not for requests.
    #[must_use]
    pub fn sites(&self) -> Vec<Arc<Site>> {
        let mut sites = self.sites.values();
        sites.sort_unstable_by_key(|site| site.id);
        sites
    }

    /// The number of sites.
    #[must_use]
    pub fn site_count(&self) -> usize {
        self.site_count.load(Ordering::Relaxed)
    }

    /// The key of a secret that a client sent, and notes its use.
    ///
    /// # Errors
    /// When no key has it, or the key is revoked or has expired.
    pub fn key_by_secret(&self, secret: &str, now: UnixMillis) -> Result<Arc<Key>, KeyRefusal> {
        if secret.len() > Secret::BYTES_MAX {
            return Err(KeyRefusal::Unknown);
        }
        let entry = self
            .secrets
            .get(&SecretHash::of(secret))
            .and_then(|key| self.keys.get(&key))
            .ok_or(KeyRefusal::Unknown)?;
        if entry.key.is_revoked {
            return Err(KeyRefusal::Revoked(entry.key.id));
        }
        if entry.key.is_expired(now) {
            return Err(KeyRefusal::Expired(entry.key.id));
        }
        entry.used.fetch_max(now.0, Ordering::Relaxed);
        Ok(entry.key)
    }

    /// The key of this id, with its last use.
    #[must_use]
    pub fn key(&self, key: KeyId) -> Option<Arc<Key>> {
        self.keys.get(&key).map(KeyEntry::with_last_use)
    }

    /// The key whose secret has this hash, even when it is revoked or has expired.
    #[must_use]
    pub fn key_of_hash(&self, hash: &SecretHash) -> Option<KeyId> {
        self.secrets.get(hash)
    }

    /// All keys by id, with their last use.
    #[must_use]
    pub fn keys(&self) -> Vec<Arc<Key>> {
        let mut keys: Vec<_> = self
            .keys
            .values()
            .into_iter()
            .map(KeyEntry::with_last_use)
            .collect();
        keys.sort_unstable_by_key(|key| key.id);
        keys
    }

    /// The number of keys, revoked ones included.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.key_count.load(Ordering::Relaxed)
    }

    /// Uses that are not written yet, at most `max` of them.
    #[must_use]
    pub fn unwritten_uses(&self, max: usize) -> Vec<(KeyId, UnixMillis)> {
        let entries = self.keys.values();
        let uses = entries.iter().filter_map(|entry| {
            let used = entry.used.load(Ordering::Relaxed);
            let written = entry.key.last_used.map_or(NEVER, |time| time.0);
            (used > written).then_some((entry.key.id, UnixMillis(used)))
        });
        uses.take(max).collect()
    }

    /// All nodes by id.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        let mut nodes = self.nodes.values();
        nodes.sort_unstable_by_key(|node| node.id);
        nodes
    }

    /// The node of this id.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<Arc<Node>> {
        self.nodes.get(&node)
    }

    /// The ring; none before it is made.
    #[must_use]
    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.load_full()
    }

    /// Which group each slot of the site space belongs to.
    #[must_use]
    pub fn slots(&self) -> Arc<SlotTable> {
        self.slots.load_full()
    }

    /// The group of a site.
    #[must_use]
    pub fn group_of(&self, site: SiteId) -> GroupId {
        self.slots.load().group_of(site)
    }

    /// Settings that the partitions' logs lack, oldest sites first, at most `max` of them.
    ///
    /// Metadata and partition logs have no common order. So whoever pushes these commits each to the partition of its
    /// site first and then confirms it with [`crate::Metadata::settle`]; a crash in between pushes the same revision
    /// again, which a partition ignores.
    ///
    /// # Errors
    /// When a site's zone is not in this binary's database.
    pub fn settings_to_push(&self, max: usize) -> Result<Vec<SettingsPush>, MetadataError> {
        let sites: Vec<_> = self
            .awaiting_settings
            .lock()
            .iter()
            .take(max)
            .copied()
            .collect();
        sites
            .into_iter()
            .filter_map(|site| self.site(site))
            .map(|site| settings_of(&site))
            .collect()
    }

    /// The number of sites whose settings wait to be pushed.
    #[must_use]
    pub fn awaiting_settings_count(&self) -> usize {
        self.awaiting_settings.lock().len()
    }

    pub(crate) fn put_site(&self, site: Arc<Site>) {
        let former = self.sites.insert(site.id, Arc::clone(&site));
        if former.is_none() {
            self.site_count.fetch_add(1, Ordering::Relaxed);
        }
        for domain in site.domains() {
            self.domains.insert(domain.clone(), Arc::clone(&site));
        }
        for domain in former.iter().flat_map(|former| former.domains()) {
            if !site.domains().any(|kept| kept == domain) {
                self.domains.remove(domain);
            }
        }
        let mut awaiting = self.awaiting_settings.lock();
        if site.awaits_settings() {
            awaiting.insert(site.id);
        } else {
            awaiting.remove(&site.id);
        }
    }

    pub(crate) fn put_key(&self, key: Arc<Key>) {
        let written = key.last_used.map_or(NEVER, |time| time.0);
        let former = self.keys.get(&key.id);
        let used = match &former {
            Some(former) => Arc::clone(&former.used),
            None => Arc::new(AtomicI64::new(NEVER)),
        };
        used.fetch_max(written, Ordering::Relaxed);
        let (id, hash) = (key.id, key.secret_hash);
        self.keys.insert(id, KeyEntry { key, used });
        self.secrets.insert(hash, id);
        if former.is_none() {
            self.key_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn forget_key(&self, key: KeyId) {
        if let Some(former) = self.keys.remove(&key) {
            self.secrets.remove(&former.key.secret_hash);
            self.key_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The key as it is stored, without uses that are not written yet.
    pub(crate) fn stored_key(&self, key: KeyId) -> Option<Arc<Key>> {
        self.keys.get(&key).map(|entry| entry.key)
    }

    pub(crate) fn put_node(&self, node: Arc<Node>) {
        self.nodes.insert(node.id, node);
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn put_cluster(&self, cluster: Arc<Cluster>) {
        self.slots.store(Arc::new(cluster.slots.clone()));
        self.cluster.store(Some(cluster));
    }
}

impl KeyEntry {
    fn with_last_use(self) -> Arc<Key> {
        let used = self.used.load(Ordering::Relaxed);
        let written = self.key.last_used.map_or(NEVER, |time| time.0);
        if used <= written {
            return self.key;
        }
        let mut key = Arc::unwrap_or_clone(self.key);
        key.last_used = Some(UnixMillis(used));
        Arc::new(key)
    }
}
