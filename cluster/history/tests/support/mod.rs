//! Nodes of a counting machine with archivists: what they archive is read back and counted.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../../storage/archive/tests/common/faults.rs"]
pub(crate) mod faults;
#[path = "../../../partition/tests/support/mod.rs"]
mod nodes;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use nodes::{Directory, Node};
use parking_lot::Mutex;
use ringtail_archive::{
    Archive, ArchiveOptions, Location, MergeOptions, Replay, ReplayItem, Selection, verify,
};
use ringtail_checkpoint::FreeSpace;
use ringtail_history::{Archivist, HistoryOptions, ObjectPeers, ObjectsService, Room};
use ringtail_partition::{PartitionOptions, Partitions};
use ringtail_proto::{
    GroupId, LogIndex, NodeId, SiteId,
    stored::ArchiveObject,
    wire::peer::{FetchObjectRequest, objects_server::Objects as _},
};
use ringtail_raft::RaftError;
use tokio::time::{sleep, timeout};
use tonic::{Request, Status};

pub(crate) use nodes::Counter;

pub(crate) const GROUP: GroupId = GroupId(1);
/// Nothing takes longer, or something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for a condition that others bring about.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// Everything is due at once, and nothing is deleted.
pub(crate) fn eager() -> HistoryOptions {
    HistoryOptions {
        merge_interval_ms: u64::MAX >> 1,
        clean_interval_ms: u64::MAX >> 1,
        ..HistoryOptions::default()
    }
}

/// Two objects are merged already, and what is replaced goes at once.
pub(crate) fn tidy() -> HistoryOptions {
    HistoryOptions {
        merge_interval_ms: 0,
        merge: MergeOptions {
            objects_min: 2,
            ..MergeOptions::default()
        },
        clean_interval_ms: 0,
        grace_ms: 0,
        ..HistoryOptions::default()
    }
}

/// Archives by node: others fetch from them as over the network.
#[derive(Clone, Default)]
pub(crate) struct Neighbours(Arc<Mutex<BTreeMap<NodeId, Arc<Archive>>>>);

impl Neighbours {
    /// The node gives nothing any more.
    pub(crate) fn forget(&self, id: u64) {
        self.0.lock().remove(&NodeId(id));
    }
}

#[async_trait]
impl ObjectPeers for Neighbours {
    fn nodes(&self) -> Vec<NodeId> {
        self.0.lock().keys().copied().collect()
    }

    async fn fetch(
        &self,
        node: NodeId,
        object: &ArchiveObject,
    ) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let archive = self.0.lock().get(&node).cloned();
        let archive = archive.ok_or_else(|| Status::unavailable("it is gone"))?;
        let request = FetchObjectRequest {
            path: object.path.clone(),
            hash: object.hash.clone(),
            bytes: object.bytes,
        };
        let reply = ObjectsService { archive }
            .fetch(Request::new(request))
            .await?;
        let pieces = reply.into_inner().map_ok(|reply| reply.bytes);
        Ok(pieces.boxed())
    }
}

/// A disk that has as much room as a test says.
pub(crate) struct Disk(pub(crate) AtomicU64);

impl FreeSpace for Disk {
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}

/// Nodes that know each other.
pub(crate) struct Ring {
    directory: tempfile::TempDir,
    addresses: Directory,
    pub(crate) neighbours: Neighbours,
    pub(crate) options: HistoryOptions,
    /// Free bytes of every archive's disk, and a reserve of 1,000,000.
    pub(crate) free: Arc<Disk>,
}

pub(crate) struct RingNode {
    id: u64,
    path: PathBuf,
    node: Node,
    pub(crate) archive: Arc<Archive>,
    pub(crate) archivist: Archivist<Counter>,
}

impl Ring {
    pub(crate) fn new(options: HistoryOptions) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            addresses: Directory::default(),
            neighbours: Neighbours::default(),
            options,
            free: Arc::new(Disk(AtomicU64::new(u64::MAX))),
        }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.path().join(id.to_string())
    }

    /// A node with an archive of its own.
    pub(crate) async fn start(&self, id: u64, hosted: &[GroupId]) -> RingNode {
        let location = Location::Local(self.path(id).join("archive"));
        let archive = Archive::open(ArchiveOptions::new(location), "ring").await;
        self.start_over(id, hosted, archive.unwrap()).await
    }

    /// A node with this archive.
    pub(crate) async fn start_over(
        &self,
        id: u64,
        hosted: &[GroupId],
        archive: Archive,
    ) -> RingNode {
        let path = self.path(id);
        let options = PartitionOptions {
            dirty_age_ms_max: 0,
            floor_age_ms_max: 0,
            archives: true,
            holds_objects: !archive.options().location.is_shared(),
            ..PartitionOptions::default()
        };
        let hosted: BTreeSet<GroupId> = hosted.iter().copied().collect();
        let node = Node::start_in(&self.addresses, id, &path, hosted, options).await;
        let archive = Arc::new(archive);
        self.neighbours.0.lock().insert(NodeId(id), archive.clone());
        RingNode {
            id,
            archivist: Archivist::new(
                node.partitions.clone(),
                archive.clone(),
                Arc::new(self.neighbours.clone()),
                self.options.clone(),
            )
            .with_room(Room {
                free: self.free.clone(),
                reserve_bytes: 1_000_000,
            }),
            archive,
            node,
            path,
        }
    }

    /// The first node, with the group.
    pub(crate) async fn found(&self) -> RingNode {
        let node = self.start(1, &[GROUP]).await;
        node.initialize().await;
        node
    }

    /// Three nodes that vote on the group; the first one leads.
    pub(crate) async fn found_three(&self) -> [RingNode; 3] {
        let first = self.found().await;
        let others = [self.start(2, &[]).await, self.start(3, &[]).await];
        three_of(first, others).await
    }
}

/// Lets two more nodes vote on the group of the first one, which leads.
pub(crate) async fn three_of(first: RingNode, others: [RingNode; 2]) -> [RingNode; 3] {
    let leader = first.partitions().group(GROUP).unwrap();
    for node in &others {
        let opened = node.partitions().open_replica(&node.node.raft, GROUP);
        opened.await.unwrap();
        leader.add_learner(NodeId(node.id)).await.unwrap();
    }
    let voters = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
    until("three vote", async || {
        let changed = leader.change_voters(&voters, false).await;
        changed.is_ok() && leader.members().voters == voters
    })
    .await;
    let [second, third] = others;
    [first, second, third]
}

impl RingNode {
    pub(crate) async fn initialize(&self) {
        self.partitions().initialize_single([GROUP]).await.unwrap();
        self.partitions().ready().await.unwrap();
    }

    pub(crate) const fn partitions(&self) -> &Arc<Partitions<Counter>> {
        &self.node.partitions
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.path
    }

    pub(crate) async fn lead(&self, leader: &Self) {
        let group = self.partitions().group(GROUP).unwrap();
        let old = leader.partitions().group(GROUP).unwrap();
        until("leadership moves", async || {
            if old.is_leader() {
                drop(old.transfer_leader(NodeId(self.id)).await);
            }
            group.is_leader()
        })
        .await;
    }

    /// The sites of the group.
    pub(crate) fn sites(&self) -> Vec<u64> {
        let slots = self.partitions().slots();
        let sites = 1..=nodes::SITES;
        sites
            .filter(|site| slots.group_of(SiteId(*site)) == GROUP)
            .collect()
    }

    /// Two events of each visitor on each site, one entry for each.
    pub(crate) async fn submit(&self, visitors: std::ops::Range<u64>) {
        for visitor in visitors {
            for site in self.sites() {
                self.node.submit(site, visitor).await;
            }
        }
    }

    /// As [`Self::submit`], through whichever of these nodes leads.
    pub(crate) async fn submit_by_any(nodes: &[Self], visitor: u64) {
        for site in nodes[0].sites() {
            until("an entry is taken", async || {
                for node in nodes {
                    match node.node.try_submit(site, visitor).await {
                        Ok(_) => return true,
                        Err(RaftError::NotLeader { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                false
            })
            .await;
        }
    }

    /// Settles and seals what these nodes have applied, whichever of them leads.
    pub(crate) async fn seal_by_any(nodes: &[Self]) {
        until("all is sealed", async || {
            for node in nodes {
                node.settle().await;
                node.archivist.run_once(true).await;
            }
            nodes.iter().any(|node| {
                let state = node.partitions().archive_state(GROUP).unwrap();
                state.leading_term.is_some() && state.unsealed.is_none()
            })
        })
        .await;
    }

    /// Makes another node lead than does.
    pub(crate) async fn lead_by_another(nodes: &[Self]) {
        let leads = |node: &&Self| node.partitions().leads(GROUP);
        let old = nodes.iter().find(leads).map_or(0, |node| node.id);
        until("leadership moves", async || {
            for node in nodes.iter().filter(leads) {
                if node.id != old {
                    return true;
                }
                let next = nodes.iter().find(|next| next.id != old).unwrap();
                let group = node.partitions().group(GROUP).unwrap();
                drop(group.transfer_leader(NodeId(next.id)).await);
            }
            false
        })
        .await;
    }

    /// Writes everything that is applied.
    pub(crate) async fn settle(&self) {
        self.partitions().run_duties().await.unwrap();
    }

    /// Settles and seals all that this node, which leads, has applied.
    pub(crate) async fn seal(&self) {
        until("all is sealed", async || {
            self.settle().await;
            self.archivist.run_once(true).await;
            self.partitions()
                .archive_state(GROUP)
                .unwrap()
                .unsealed
                .is_none()
        })
        .await;
    }

    pub(crate) fn objects(&self) -> BTreeMap<Bytes, ArchiveObject> {
        let manifest = self.partitions().archive_manifest(GROUP).unwrap();
        (*manifest.objects).clone()
    }

    /// What lies in the archive, whether named or not.
    pub(crate) async fn listed(&self) -> BTreeSet<String> {
        let listed: Vec<_> = self.archive.list("v1").try_collect().await.unwrap();
        let paths = listed.into_iter().map(|object| object.path);
        paths.filter(|path| path.ends_with(".parquet")).collect()
    }

    /// Everything that the manifest names, and nothing else, is here and right.
    pub(crate) async fn assert_tidy(&self) {
        let objects = self.objects();
        for object in objects.values() {
            verify(&self.archive, object).await.unwrap();
        }
        let named = objects
            .keys()
            .map(|path| String::from_utf8(path.to_vec()).unwrap());
        assert_eq!(self.listed().await, named.collect());
    }

    /// How many events of each site and visitor the archive tells of.
    pub(crate) async fn archived(&self) -> BTreeMap<(u64, u64), usize> {
        let objects: Vec<ArchiveObject> = self.objects().into_values().collect();
        let mut replay = Replay::new(self.archive.clone(), &objects, Selection::default()).unwrap();
        let mut counts = BTreeMap::new();
        let mut last = LogIndex(0);
        while let Some(item) = replay.next().await.unwrap() {
            assert!(item.entry().index >= last, "in the order of the log");
            last = item.entry().index;
            let ReplayItem::Events(slice) = item else {
                continue;
            };
            let site = slice.events().unwrap();
            for event in &site.events {
                *counts.entry((site.site, event.visitor)).or_default() += 1;
            }
        }
        counts
    }

    /// The archive has two events of each of these visitors on each site, and no others.
    pub(crate) async fn assert_archived(&self, visitors: std::ops::Range<u64>) {
        let sites = self.sites();
        let all = visitors.flat_map(|visitor| sites.iter().map(move |site| ((*site, visitor), 2)));
        assert_eq!(self.archived().await, all.collect());
    }

    pub(crate) async fn stop(self) {
        self.node.stop().await;
    }
}

/// Seals of so many events at most.
pub(crate) fn few_events(seal_events_max: u64) -> HistoryOptions {
    HistoryOptions {
        seal_events_max,
        ..eager()
    }
}
