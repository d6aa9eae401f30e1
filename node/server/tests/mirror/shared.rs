//! The Cassandra that the tests share, and nodes that mirror in it.

use std::{
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use ringtail_checkpoint::cassandra::{CassandraOptions, Mirror};
use ringtail_local_cassandra::{LocalCassandra, Options};
use serde_json::Value;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::support::Node;

/// Longer than anything here takes on a slow and busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);
/// Between two looks at something that takes its time.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

pub(crate) struct Shared {
    pub(crate) cassandra: LocalCassandra,
    pub(crate) runtime: Runtime,
}

/// What a node is told.
pub(crate) type Environment = Vec<(&'static str, String)>;

impl Shared {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let options = Options::default().with("auto_snapshot", "false");
        Ok(Self {
            cassandra: LocalCassandra::start(&options)?,
            runtime: Runtime::new()?,
        })
    }

    /// What nodes are told so that they mirror in a keyspace.
    pub(crate) fn environment(&self, keyspace: &str) -> Environment {
        let nodes = self.cassandra.addresses();
        let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        vec![
            ("RINGTAIL_MIRROR_NODES", format!("{nodes:?}")),
            ("RINGTAIL_MIRROR_KEYSPACE", keyspace.to_owned()),
            ("RINGTAIL_CHECKPOINT_DIRTY_SECONDS_MAX", "1".to_owned()),
        ]
    }

    /// A ring's mirror, as a reader of its own sees it.
    pub(crate) fn mirror(&self, node: &Node, keyspace: &str) -> Mirror {
        let nodes = self.cassandra.addresses();
        let options = CassandraOptions {
            nodes: nodes.iter().map(ToString::to_string).collect(),
            keyspace: keyspace.to_owned(),
            request_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            ..CassandraOptions::default()
        };
        let cluster = self.status(node)["node"]["cluster"].clone();
        let cluster: Uuid = cluster.as_str().unwrap().parse().unwrap();
        let opened = Mirror::open(options, cluster);
        self.runtime.block_on(opened).unwrap()
    }

    pub(crate) fn status(&self, node: &Node) -> Value {
        let asked = node.admin(reqwest::Method::GET, "/api/v1/status", Value::Null);
        self.runtime.block_on(asked)
    }

    /// Waits until the mirror of a node, as its status tells, is so.
    pub(crate) fn until_mirror(&self, node: &Node, what: &str, is_so: impl Fn(&Value) -> bool) {
        let begin = Instant::now();
        loop {
            let mirror = &self.status(node)["mirror"];
            if is_so(mirror) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "not {what}: {mirror:#}");
            thread::sleep(LOOK);
        }
    }
}

/// Starts a node with this environment.
pub(crate) fn start(environment: &Environment) -> Node {
    Node::start_with(tempfile::tempdir().unwrap(), &[], &plain(environment))
}

/// Starts a node that joins another one's ring.
pub(crate) fn start_joining(node: &Node, environment: &Environment) -> Node {
    node.start_joining_with(&plain(environment))
}

pub(crate) fn plain(environment: &Environment) -> Vec<(&'static str, &str)> {
    let plain = environment.iter();
    plain.map(|(name, value)| (*name, value.as_str())).collect()
}

/// `ringtail store init` for the ring of a node.
pub(crate) fn store_init(node: &Node, environment: &Environment) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringtail"))
        .args(["store", "init", "--replication", "1", "--data-dir"])
        .arg(node.data.path())
        .envs(plain(environment))
        .output()
        .unwrap()
}

pub(crate) fn assert_success(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
