//! The server that the tests share, and what they do with it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ringtail_checkpoint::{
    CheckpointStore,
    cassandra::{CassandraOptions, CassandraStore, Mirror, MirrorError, Replication, init},
};
use ringtail_local_cassandra::{LocalCassandra, Options};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use tokio::runtime::Runtime;
use uuid::Uuid;

pub(crate) const KEYSPACE: &str = "ringtail_test";
pub(crate) const CLUSTER: Uuid = Uuid::from_u128(7);

pub(crate) struct Server {
    pub(crate) cassandra: LocalCassandra,
    pub(crate) runtime: Runtime,
}

impl Server {
    /// With a keyspace for the cluster.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let options = Options {
            settings: BTreeMap::new(),
            ..Options::default()
        };
        let server = Self {
            cassandra: LocalCassandra::start(&options.with("auto_snapshot", "false"))?,
            runtime: Runtime::new()?,
        };
        server
            .runtime
            .block_on(init(&server.options(), &Replication::Simple(1), CLUSTER))?;
        Ok(server)
    }

    pub(crate) fn options(&self) -> CassandraOptions {
        CassandraOptions {
            nodes: self
                .cassandra
                .addresses()
                .iter()
                .map(ToString::to_string)
                .collect(),
            keyspace: KEYSPACE.to_owned(),
            // A busy machine is slow, which is not what most tests are about.
            request_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            ..CassandraOptions::default()
        }
    }

    pub(crate) fn open(&self) -> Result<Mirror, MirrorError> {
        self.runtime.block_on(Mirror::open(self.options(), CLUSTER))
    }

    pub(crate) fn store(&self) -> Arc<dyn CheckpointStore> {
        let mirror = self.open().unwrap();
        Arc::new(CassandraStore::new(mirror, self.runtime.handle().clone()))
    }

    /// A session that does as it is told.
    pub(crate) fn session(&self) -> Session {
        let builder = SessionBuilder::new().known_node_addr(self.cassandra.addresses()[0]);
        self.runtime.block_on(builder.build()).unwrap()
    }

    pub(crate) fn run(&self, session: &Session, text: &str) {
        self.runtime
            .block_on(session.query_unpaged(text, ()))
            .unwrap();
    }
}
