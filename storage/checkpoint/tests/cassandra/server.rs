//! The server that the tests share, and what they do with it.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::TryStreamExt;
use ringtail_checkpoint::{
    CheckpointStore, GroupKey,
    cassandra::{CassandraOptions, CassandraStore, Mirror, MirrorError, Replication, init},
};
use ringtail_local_cassandra::{LocalCassandra, Options};
use ringtail_proto::{GroupId, HourStart, LogIndex, SiteGeneration, SiteId, SiteRow};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use tokio::runtime::Runtime;
use uuid::Uuid;

pub(crate) const KEYSPACE: &str = "ringtail_test";
pub(crate) const CLUSTER: Uuid = Uuid::from_u128(7);

/// Longer than anything that a test waits for on a slow and busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// How many servers there are: 1, or the 3 that the environment asks for.
pub(crate) fn nodes() -> u8 {
    match std::env::var("RINGTAIL_CASSANDRA_NODES") {
        Ok(nodes) => nodes.parse().unwrap(),
        Err(_) => 1,
    }
}

/// Changed rows of a site, by their names.
pub(crate) type Changes = Vec<(SiteRow, Option<Bytes>)>;

pub(crate) struct Server {
    pub(crate) cassandra: LocalCassandra,
    pub(crate) runtime: Runtime,
}

impl Server {
    /// With a keyspace for the cluster.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let options = Options {
            nodes: nodes().into(),
            ..Options::default()
        };
        let server = Self {
            cassandra: LocalCassandra::start(&options.with("auto_snapshot", "false"))?,
            runtime: Runtime::new()?,
        };
        server.runtime.block_on(init(
            &server.options(),
            &Replication::Simple(nodes()),
            CLUSTER,
        ))?;
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

    pub(crate) fn session_as(&self, user: &str, password: &str) -> Session {
        let builder = SessionBuilder::new()
            .known_node_addr(self.cassandra.addresses()[0])
            .user(user, password);
        self.runtime.block_on(builder.build()).unwrap()
    }

    pub(crate) fn run(&self, session: &Session, text: &str) {
        self.runtime
            .block_on(session.query_unpaged(text, ()))
            .unwrap();
    }

    pub(crate) fn mirror(&self) -> Mirror {
        self.open().unwrap()
    }

    /// Writes, again and again while the server does not answer.
    pub(crate) fn write(
        &self,
        mirror: &Mirror,
        group: GroupId,
        version: u64,
        changes: &Changes,
    ) -> Result<(), MirrorError> {
        let started = Instant::now();
        loop {
            match self.write_once(mirror, group, version, changes) {
                Err(error) if error.is_outage() && started.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(50));
                }
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn write_once(
        &self,
        mirror: &Mirror,
        group: GroupId,
        version: u64,
        changes: &Changes,
    ) -> Result<(), MirrorError> {
        let rows = changes
            .iter()
            .map(|(row, value)| (GroupKey::Site(SITE, *row), value.clone()));
        let rows = rows.collect();
        let writer = mirror.writer();
        self.runtime
            .block_on(writer.write(group, SITE, LogIndex(version), rows))
    }

    /// The site as it is now: its version and all its rows in the order in which they came.
    pub(crate) fn read_all(&self, mirror: &Mirror, group: GroupId) -> (u64, Vec<(SiteRow, Bytes)>) {
        let reader = mirror.reader();
        let read = async {
            let pin = reader.pin(group, SITE).await?.unwrap();
            let version = pin.version.0;
            let rows: Vec<_> = reader.read_site(pin).try_collect().await?;
            Ok::<_, MirrorError>((version, rows))
        };
        let (version, rows) = self.runtime.block_on(read).unwrap();
        let rows = rows.into_iter().map(|(key, value)| match key {
            GroupKey::Site(SITE, row) => (row, value),
            key => panic!("{key:?} is of another site"),
        });
        (version, rows.collect())
    }
}

/// The site of all tests; each has a group of its own.
pub(crate) const SITE: SiteGeneration = SiteGeneration::first(SiteId(7));

/// A page of the n-th week.
pub(crate) fn page(week: i64) -> SiteRow {
    SiteRow::Page(HourStart(week * 7 * 86_400_000))
}

pub(crate) fn value(text: impl Into<String>) -> Option<Bytes> {
    Some(Bytes::from(text.into()))
}

/// Polls until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
