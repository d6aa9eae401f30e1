//! What every request asks: which site, which key, which group.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use parking_lot::Mutex;
use ringtail_proto::{GroupId, NodeId, SiteGeneration, SiteId, UnixMillis};
use ringtail_ring::SlotTable;

use crate::{
    Cluster, Domain, GroupPlacement, JoinToken, JoinTokenId, Key, KeyId, KeyRefusal,
    METADATA_GROUP, MetadataError, Node, Secret, SecretHash, Site, SitePast,
    placement_map::{PlacementMap, placement_of},
    ring_state::RingState,
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
    /// Replaced as a whole when another node's state is received.
    tables: ArcSwap<Tables>,
}

struct Tables {
    sites: Sharded<SiteId, Arc<Site>>,
    domains: Sharded<Domain, Arc<Site>>,
    keys: Sharded<KeyId, KeyEntry>,
    secrets: Sharded<SecretHash, KeyId>,
    ring: Mutex<RingTables>,
    nodes: ArcSwap<Vec<Arc<Node>>>,
    tokens: ArcSwap<Vec<Arc<JoinToken>>>,
    placement: ArcSwap<PlacementMap>,
    cluster: ArcSwapOption<Cluster>,
    slots: ArcSwap<SlotTable>,
    awaiting_settings: Mutex<BTreeSet<SiteId>>,
    pasts: Sharded<SiteId, Arc<SitePast>>,
    /// Kept beside the maps: counting locks every shard.
    site_count: AtomicUsize,
    key_count: AtomicUsize,
}

/// What the small tables are made of; few entries that seldom change.
#[derive(Clone, Default)]
struct RingTables {
    state: RingState,
    nodes: BTreeMap<NodeId, Arc<Node>>,
    tokens: BTreeMap<JoinTokenId, Arc<JoinToken>>,
    placements: BTreeMap<GroupId, Arc<GroupPlacement>>,
}

impl Tables {
    fn new() -> Self {
        Self {
            sites: Sharded::new(),
            domains: Sharded::new(),
            keys: Sharded::new(),
            secrets: Sharded::new(),
            ring: Mutex::default(),
            nodes: ArcSwap::default(),
            tokens: ArcSwap::default(),
            placement: ArcSwap::default(),
            cluster: ArcSwapOption::empty(),
            slots: ArcSwap::from_pointee(
                SlotTable::even(1).expect("a ring of one partition is possible"),
            ),
            awaiting_settings: Mutex::default(),
            pasts: Sharded::new(),
            site_count: AtomicUsize::new(0),
            key_count: AtomicUsize::new(0),
        }
    }
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            tables: ArcSwap::from_pointee(Tables::new()),
        }
    }

    fn tables(&self) -> Guard<Arc<Tables>> {
        self.tables.load()
    }

    /// Shows another state from now on, whole. Uses of keys that are not written yet stay noted.
    pub(crate) fn become_like(&self, other: Self) {
        let next = other.tables.load_full();
        for entry in self.tables().keys.values() {
            if let Some(kept) = next.keys.get(&entry.key.id) {
                let used = entry.used.load(Ordering::Relaxed);
                kept.used.fetch_max(used, Ordering::Relaxed);
            }
        }
        self.tables.store(next);
    }

    /// The site of a domain or alias, in any case, with blanks around it.
    #[must_use]
    pub fn site_by_domain(&self, domain: &str) -> Option<Arc<Site>> {
        self.tables()
            .domains
            .get(Domain::normalise(domain).as_ref())
    }

    /// The site of a domain, once events of it may be logged: its partition's log holds its settings.
    #[must_use]
    pub fn site_for_events(&self, domain: &str) -> Option<Arc<Site>> {
        self.site_by_domain(domain).filter(|site| site.is_settled())
    }

    /// The site of this id.
    #[must_use]
    pub fn site(&self, site: SiteId) -> Option<Arc<Site>> {
        self.tables().sites.get(&site)
    }

    /// All sites by id; for lists, not for requests.
    #[must_use]
    pub fn sites(&self) -> Vec<Arc<Site>> {
        let mut sites = self.tables().sites.values();
        sites.sort_unstable_by_key(|site| site.id);
        sites
    }

    /// The number of sites.
    #[must_use]
    pub fn site_count(&self) -> usize {
        self.tables().site_count.load(Ordering::Relaxed)
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
            .tables()
            .secrets
            .get(&SecretHash::of(secret))
            .and_then(|key| self.tables().keys.get(&key))
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
        self.tables().keys.get(&key).map(KeyEntry::with_last_use)
    }

    /// The key whose secret has this hash, even when it is revoked or has expired.
    #[must_use]
    pub fn key_of_hash(&self, hash: &SecretHash) -> Option<KeyId> {
        self.tables().secrets.get(hash)
    }

    /// All keys by id, with their last use.
    #[must_use]
    pub fn keys(&self) -> Vec<Arc<Key>> {
        let mut keys: Vec<_> = self
            .tables()
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
        self.tables().key_count.load(Ordering::Relaxed)
    }

    /// Uses that are not written yet, at most `max` of them.
    #[must_use]
    pub fn unwritten_uses(&self, max: usize) -> Vec<(KeyId, UnixMillis)> {
        let entries = self.tables().keys.values();
        let uses = entries.iter().filter_map(|entry| {
            let used = entry.used.load(Ordering::Relaxed);
            let written = entry.key.last_used.map_or(NEVER, |time| time.0);
            (used > written).then_some((entry.key.id, UnixMillis(used)))
        });
        uses.take(max).collect()
    }

    /// All nodes by id, those that left included.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.tables().nodes.load().to_vec()
    }

    /// The node of this id.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<Arc<Node>> {
        let tables = self.tables();
        let nodes = tables.nodes.load();
        let place = nodes.binary_search_by_key(&node, |node| node.id).ok()?;
        nodes.get(place).cloned()
    }

    /// Join tokens by id, used and expired ones included.
    #[must_use]
    pub fn join_tokens(&self) -> Vec<Arc<JoinToken>> {
        self.tables().tokens.load().to_vec()
    }

    /// Where each group is and where it should be, the metadata group included; empty before the first node is
    /// registered.
    #[must_use]
    pub fn placement(&self) -> Arc<PlacementMap> {
        self.tables().placement.load_full()
    }

    /// The partitions of which a node has a replica, or has to have one.
    #[must_use]
    pub fn hosted_by(&self, node: NodeId) -> BTreeSet<GroupId> {
        let placement = self.placement();
        let places = placement
            .iter()
            .filter(|(group, place)| **group != METADATA_GROUP && place.hosts.contains(&node));
        places.map(|(group, _)| *group).collect()
    }

    /// Those of the groups that a node holds alone since the birth of the ring, so that it may make itself their first
    /// member. One that was elsewhere in between has members, whether or not this node knows them.
    #[must_use]
    pub fn never_moved(&self, node: NodeId, groups: &BTreeSet<GroupId>) -> BTreeSet<GroupId> {
        let placement = self.placement();
        let is_original = |group: &GroupId| {
            placement
                .get(group)
                .is_none_or(|place| place.revision == 0 && place.voters == [node])
        };
        groups.iter().copied().filter(is_original).collect()
    }

    /// Where the other nodes call each node that is in the ring and has said where it is.
    #[must_use]
    pub fn peer_addresses(&self) -> BTreeMap<NodeId, String> {
        let nodes = self.nodes();
        let members = nodes.iter().filter(|node| node.is_member());
        members
            .filter(|node| !node.addresses.peer.is_empty())
            .map(|node| (node.id, node.addresses.peer.clone()))
            .collect()
    }

    /// The most replicas of a group: 1, 3 or 5.
    #[must_use]
    pub fn replicas_max(&self) -> usize {
        usize::from(self.ring_state().replicas_max)
    }

    /// The newest feature that every node of the ring knows: what may be written, whoever has to read it.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        let tables = self.tables();
        let nodes = tables.nodes.load();
        let members = nodes.iter().filter(|node| node.is_member());
        members.map(|node| node.feature_level).min().unwrap_or(0)
    }

    /// Whether a node with a certificate of the ring may still use it: not once it has left. One that this node has not
    /// heard of yet is newer than all that it knows; one that was forgotten is older.
    #[must_use]
    pub fn may_call(&self, node: NodeId) -> bool {
        let greatest = self.nodes().last().map_or(0, |node| node.id.0);
        match self.node(node) {
            Some(known) => known.is_member(),
            None => node.0 > greatest.max(self.ring_state().last_node),
        }
    }

    /// What a binary has to know to be in the ring: what has been written, so that it has to be read.
    #[must_use]
    pub fn feature_gate(&self) -> u32 {
        self.ring_state().feature_gate
    }

    /// The ring; none before it is made.
    #[must_use]
    pub fn cluster(&self) -> Option<Arc<Cluster>> {
        self.tables().cluster.load_full()
    }

    /// Which group each slot of the site space belongs to.
    #[must_use]
    pub fn slots(&self) -> Arc<SlotTable> {
        self.tables().slots.load_full()
    }

    /// The group of a site.
    #[must_use]
    pub fn group_of(&self, site: SiteId) -> GroupId {
        self.tables().slots.load().group_of(site)
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
            .tables()
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
        self.tables().awaiting_settings.lock().len()
    }

    /// The generations of a site, if it was ever reprocessed.
    #[must_use]
    pub fn past(&self, site: SiteId) -> Option<Arc<SitePast>> {
        self.tables().pasts.get(&site)
    }

    /// The generations of all sites that were reprocessed, by site.
    #[must_use]
    pub fn pasts(&self) -> Vec<Arc<SitePast>> {
        let mut pasts = self.tables().pasts.values();
        pasts.sort_unstable_by_key(|past| past.site);
        pasts
    }

    /// The generation of a site that queries read.
    #[must_use]
    pub fn serving(&self, site: SiteId) -> SiteGeneration {
        let past = self.past(site);
        past.map_or_else(|| SiteGeneration::first(site), |past| past.serving())
    }

    pub(crate) fn put_past(&self, past: Arc<SitePast>) {
        self.tables().pasts.insert(past.site, past);
    }

    pub(crate) fn put_site(&self, site: Arc<Site>) {
        let former = self.tables().sites.insert(site.id, Arc::clone(&site));
        if former.is_none() {
            self.tables().site_count.fetch_add(1, Ordering::Relaxed);
        }
        for domain in site.domains() {
            self.tables()
                .domains
                .insert(domain.clone(), Arc::clone(&site));
        }
        for domain in former.iter().flat_map(|former| former.domains()) {
            if !site.domains().any(|kept| kept == domain) {
                self.tables().domains.remove(domain);
            }
        }
        let tables = self.tables();
        let mut awaiting = tables.awaiting_settings.lock();
        if site.awaits_settings() {
            awaiting.insert(site.id);
        } else {
            awaiting.remove(&site.id);
        }
    }

    pub(crate) fn put_key(&self, key: Arc<Key>) {
        let written = key.last_used.map_or(NEVER, |time| time.0);
        let former = self.tables().keys.get(&key.id);
        let used = match &former {
            Some(former) => Arc::clone(&former.used),
            None => Arc::new(AtomicI64::new(NEVER)),
        };
        used.fetch_max(written, Ordering::Relaxed);
        let (id, hash) = (key.id, key.secret_hash);
        self.tables().keys.insert(id, KeyEntry { key, used });
        self.tables().secrets.insert(hash, id);
        if former.is_none() {
            self.tables().key_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn forget_key(&self, key: KeyId) {
        if let Some(former) = self.tables().keys.remove(&key) {
            self.tables().secrets.remove(&former.key.secret_hash);
            self.tables().key_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The key as it is stored, without uses that are not written yet.
    pub(crate) fn stored_key(&self, key: KeyId) -> Option<Arc<Key>> {
        self.tables().keys.get(&key).map(|entry| entry.key)
    }

    /// Nodes that did not leave.
    pub(crate) fn member_count(&self) -> usize {
        let tables = self.tables();
        let nodes = tables.nodes.load();
        nodes.iter().filter(|node| node.is_member()).count()
    }

    pub(crate) fn ring_state(&self) -> RingState {
        self.tables().ring.lock().state
    }

    pub(crate) fn join_token(&self, token: JoinTokenId) -> Option<Arc<JoinToken>> {
        self.tables().ring.lock().tokens.get(&token).cloned()
    }

    pub(crate) fn put_ring_state(&self, state: RingState) {
        self.tables().ring.lock().state = state;
    }

    pub(crate) fn put_node(&self, node: Arc<Node>) {
        let tables = self.tables();
        tables.ring.lock().nodes.insert(node.id, node);
        tables.show_nodes();
    }

    pub(crate) fn forget_node(&self, node: NodeId) {
        let tables = self.tables();
        tables.ring.lock().nodes.remove(&node);
        tables.show_nodes();
    }

    pub(crate) fn put_token(&self, token: Arc<JoinToken>) {
        let tables = self.tables();
        tables.ring.lock().tokens.insert(token.id, token);
        tables.show_tokens();
    }

    pub(crate) fn forget_token(&self, token: JoinTokenId) {
        let tables = self.tables();
        tables.ring.lock().tokens.remove(&token);
        tables.show_tokens();
    }

    /// Takes groups' places and shows them together.
    pub(crate) fn put_placements(
        &self,
        placements: impl IntoIterator<Item = (GroupId, Arc<GroupPlacement>)>,
    ) {
        let tables = self.tables();
        tables.ring.lock().placements.extend(placements);
        tables.show_placement();
    }

    pub(crate) fn put_cluster(&self, cluster: Arc<Cluster>) {
        let tables = self.tables();
        tables.slots.store(Arc::new(cluster.slots.clone()));
        tables.cluster.store(Some(cluster));
        tables.show_placement();
    }
}

/// Readers see each of the small tables as one value.
impl Tables {
    fn show_nodes(&self) {
        let nodes = self.ring.lock().nodes.values().cloned().collect();
        self.nodes.store(Arc::new(nodes));
        self.show_placement();
    }

    fn show_tokens(&self) {
        let tokens = self.ring.lock().tokens.values().cloned().collect();
        self.tokens.store(Arc::new(tokens));
    }

    fn show_placement(&self) {
        let groups = self.cluster.load().as_ref().map(|cluster| cluster.groups);
        let ring = self.ring.lock();
        let placement = placement_of(groups, ring.nodes.values(), &ring.placements);
        self.placement.store(Arc::new(placement));
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
