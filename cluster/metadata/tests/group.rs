//! The handle over a real Raft group, a real log and the embedded store.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use ringtail_checkpoint::{CheckpointStore, EmbeddedOptions, EmbeddedStore};
use ringtail_log::{LocalDisk, LogOptions, SegmentLog};
use ringtail_metadata::{
    Actor, ClusterId, Command, GoalCondition, KeyId, Limits, Metadata, MetadataError,
    MetadataMachine, NewKey, Outcome, Scope, Seams,
};
use ringtail_proto::{ErrorKind, GroupId, NodeId, SiteId, UnixMillis};
use ringtail_raft::{Group, Peering, RaftNode, RaftOptions};

struct FixedSeams(AtomicU8);

impl Seams for FixedSeams {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_000)
    }

    fn random(&self) -> [u8; 32] {
        [self.0.fetch_add(1, Ordering::Relaxed); 32]
    }
}

struct Node {
    raft: RaftNode,
    group: Group,
    store: Arc<dyn CheckpointStore>,
    metadata: Metadata,
}

impl Node {
    async fn start(directory: &Path) -> Self {
        let store = EmbeddedStore::open(&directory.join("store"), EmbeddedOptions::default());
        let store: Arc<dyn CheckpointStore> = Arc::new(store.unwrap());
        let log_directory = directory.join("log");
        std::fs::create_dir_all(&log_directory).unwrap();
        let options = LogOptions::default();
        let (log, _) = SegmentLog::open(Arc::new(LocalDisk), &log_directory, options).unwrap();
        let raft = RaftNode::start(RaftOptions::new(NodeId(1)), log, Peering::none()).unwrap();
        let machine = MetadataMachine::open(store.clone()).unwrap();
        let machine = Arc::new(machine);
        let group = raft.open_group(GroupId(0), machine.clone()).await.unwrap();
        group.initialize_single().await.unwrap();
        group.ready().await.unwrap();
        let metadata = Metadata::new(
            group.clone(),
            machine,
            Arc::new(FixedSeams(AtomicU8::new(1))),
        );
        Self {
            raft,
            group,
            store,
            metadata,
        }
    }

    async fn stop(self) {
        self.raft.shutdown().await.unwrap();
    }
}

fn admin() -> Actor {
    Actor::new("an administrator")
}

fn init() -> Command {
    Command::InitCluster {
        cluster: ClusterId(1),
        groups: 16,
        limits: Limits::default(),
    }
}

fn admin_key() -> NewKey {
    NewKey {
        name: "admin".to_owned(),
        scope: Scope::Admin,
        site: None,
        expires: None,
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart_without_a_persist() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let metadata = &node.metadata;
    metadata
        .execute(init(), &admin(), "first start")
        .await
        .unwrap();
    let site = metadata
        .add_site("a.example", "europe/berlin", &admin(), "")
        .await
        .unwrap();
    assert_eq!((site.id, &*site.timezone), (SiteId(1), "Europe/Berlin"));
    let (key, secret) = metadata.add_key(admin_key(), &admin(), "").await.unwrap();
    metadata.settle(vec![(site.id, 1)], &admin()).await.unwrap();
    let sites = metadata.directory().sites();
    let audit = metadata.audit(10).unwrap();
    node.stop().await;

    let node = Node::start(directory.path()).await;
    let metadata = &node.metadata;
    assert_eq!(metadata.directory().sites(), sites);
    assert_eq!(metadata.audit(10).unwrap(), audit);
    let found = metadata
        .directory()
        .key_by_secret(secret.expose(), UnixMillis(1))
        .unwrap();
    assert_eq!(found.id, key.id);
    let next = metadata
        .add_site("b.example", "UTC", &admin(), "")
        .await
        .unwrap();
    assert_eq!(next.id, SiteId(2));
    node.stop().await;
}

#[tokio::test]
async fn a_raised_floor_reaches_what_was_applied_and_keeps_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    node.metadata.execute(init(), &admin(), "").await.unwrap();
    for number in 0..20 {
        let name = format!("s{number}.example");
        node.metadata
            .add_site(&name, "UTC", &admin(), "")
            .await
            .unwrap();
    }
    node.metadata.raise_floor(node.store.clone()).await.unwrap();
    assert_eq!(node.group.metrics().floor, node.group.applied());
    // A second time there is nothing to do.
    node.metadata.raise_floor(node.store.clone()).await.unwrap();
    node.stop().await;

    let node = Node::start(directory.path()).await;
    assert_eq!(node.metadata.directory().site_count(), 20);
    let site = node
        .metadata
        .add_site("more.example", "UTC", &admin(), "")
        .await
        .unwrap();
    assert_eq!(site.id, SiteId(21));
    node.stop().await;
}

#[tokio::test]
async fn bad_commands_never_reach_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let metadata = &node.metadata;
    metadata.execute(init(), &admin(), "").await.unwrap();
    let site = metadata
        .add_site("a.example", "UTC", &admin(), "")
        .await
        .unwrap();
    let applied = node.group.applied();
    let kind = |result: Result<_, MetadataError>| result.map(drop).unwrap_err().kind();
    let bad = ErrorKind::InvalidRequest;
    assert_eq!(
        kind(
            metadata
                .add_site("https://x.example", "UTC", &admin(), "")
                .await
        ),
        bad
    );
    assert_eq!(
        kind(
            metadata
                .add_site("x.example", "Mars/Olympus", &admin(), "")
                .await
        ),
        bad
    );
    let nobody = Actor::new("");
    assert_eq!(
        kind(metadata.add_site("x.example", "UTC", &nobody, "").await),
        bad
    );
    let long = "x".repeat(501);
    assert_eq!(
        kind(metadata.add_site("x.example", "UTC", &admin(), &long).await),
        bad
    );
    let goal = Command::AddGoal {
        site: site.id,
        name: String::new(),
        condition: GoalCondition::EventName("signup".to_owned()),
    };
    assert_eq!(
        metadata
            .execute(goal, &admin(), "")
            .await
            .unwrap_err()
            .kind(),
        bad
    );
    assert_eq!(node.group.applied(), applied);
    node.stop().await;
}

#[tokio::test]
async fn a_secret_that_was_written_down_first_is_adopted_once() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let metadata = &node.metadata;
    metadata.execute(init(), &admin(), "").await.unwrap();
    let secret = metadata.new_secret(Scope::Admin);
    let first = metadata
        .adopt_key(admin_key(), &secret, &admin(), "")
        .await
        .unwrap();
    let again = metadata
        .adopt_key(admin_key(), &secret, &admin(), "")
        .await
        .unwrap();
    assert_eq!((first.id, again.id), (KeyId(1), KeyId(1)));
    // Revoked is revoked: the file does not bring the key back.
    let revoke = Command::RevokeKey { key: first.id };
    metadata.execute(revoke, &admin(), "").await.unwrap();
    let again = metadata
        .adopt_key(admin_key(), &secret, &admin(), "")
        .await
        .unwrap();
    assert!(again.is_revoked);
    assert_eq!(metadata.directory().key_count(), 1);
    node.stop().await;
}

#[tokio::test]
async fn uses_of_keys_are_flushed_together() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let metadata = &node.metadata;
    metadata.execute(init(), &admin(), "").await.unwrap();
    let mut secrets = Vec::new();
    for _ in 0..5 {
        secrets.push(metadata.add_key(admin_key(), &admin(), "").await.unwrap().1);
    }
    for secret in &secrets {
        metadata
            .directory()
            .key_by_secret(secret.expose(), UnixMillis(77))
            .unwrap();
    }
    let before = node.group.applied().unwrap().index.0;
    assert_eq!(metadata.flush_key_uses(&admin()).await, Ok(5));
    assert_eq!(metadata.flush_key_uses(&admin()).await, Ok(0));
    assert_eq!(node.group.applied().unwrap().index.0, before + 1);
    let keys = metadata.directory().keys();
    assert!(keys.iter().all(|key| key.last_used == Some(UnixMillis(77))));
    node.stop().await;
}

#[tokio::test]
async fn watchers_hear_of_each_change_and_a_stopped_group_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let metadata = node.metadata.clone();
    let mut changes = metadata.changes();
    changes.mark_unchanged();
    let outcome = metadata.execute(init(), &admin(), "").await;
    assert_eq!(outcome, Ok(Outcome::Done));
    changes.changed().await.unwrap();
    assert_eq!(*changes.borrow(), node.group.applied().unwrap().index);
    node.stop().await;
    let error = metadata
        .add_site("a.example", "UTC", &admin(), "")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.may_still_commit());
}
