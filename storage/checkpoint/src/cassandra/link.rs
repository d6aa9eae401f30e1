//! The way to the servers: made in the background, watched by a breaker, open to retries.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use scylla::client::session::Session;
use tokio::{runtime::Handle, task::AbortHandle};
use uuid::Uuid;

use super::{
    CassandraOptions, MirrorError, MirrorReader, MirrorWriter,
    breaker::{Breaker, Passage, pause},
    schema,
    session::{connect, user},
    statements::Statements,
    writer::Memory,
};

/// The mirror of a cluster's checkpoints in ScyllaDB or Cassandra. Clones share the session, the breaker and the limits.
#[derive(Clone)]
pub struct Mirror {
    link: Arc<Link>,
    memory: Arc<Memory>,
    /// Ends the attempts to connect when the last clone goes.
    _connecting: Arc<StopOnDrop>,
}

/// How the servers can be used right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorState {
    /// No session yet; attempts go on.
    Connecting {
        /// What the last attempt failed with.
        last_error: Option<MirrorError>,
    },
    /// Requests are answered.
    Up,
    /// Requests failed; one tries from time to time.
    Paused {
        /// What the last request failed with.
        last_error: Option<MirrorError>,
    },
}

pub(super) struct Link {
    pub(super) options: CassandraOptions,
    pub(super) cluster: Uuid,
    connection: OnceLock<Connection>,
    breaker: Mutex<Breaker>,
    last_error: Mutex<Option<MirrorError>>,
}

/// A session whose keyspace was checked.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) session: Arc<Session>,
    pub(super) statements: Arc<Statements>,
}

struct StopOnDrop(Option<AbortHandle>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Mirror {
    /// Connects and checks keyspace, tables, owner and rights; one attempt.
    ///
    /// # Errors
    /// Each reason why this cluster cannot use what is there has a variant of its own.
    pub async fn open(options: CassandraOptions, cluster: Uuid) -> Result<Self, MirrorError> {
        let link = Arc::new(Link::new(options, cluster));
        link.open().await?;
        Ok(Self::new(link, None))
    }

    /// Returns at once and connects in the background for as long as it takes: servers that are down keep no node from
    /// starting. Until then, requests answer with what keeps it.
    #[must_use]
    pub fn start(options: CassandraOptions, cluster: Uuid, runtime: &Handle) -> Self {
        let link = Arc::new(Link::new(options, cluster));
        let task = runtime.spawn(connect_until_done(link.clone()));
        Self::new(link, Some(task.abort_handle()))
    }

    fn new(link: Arc<Link>, connecting: Option<AbortHandle>) -> Self {
        let memory = Memory::new(link.options.grace, link.options.prune_rows_max);
        Self {
            link,
            memory: Arc::new(memory),
            _connecting: Arc::new(StopOnDrop(connecting)),
        }
    }

    /// How the servers can be used right now.
    #[must_use]
    pub fn state(&self) -> MirrorState {
        self.link.state()
    }

    /// The side that writes.
    #[must_use]
    pub fn writer(&self) -> MirrorWriter {
        MirrorWriter::new(self.clone(), self.memory.clone())
    }

    /// The side that reads.
    #[must_use]
    pub fn reader(&self) -> MirrorReader {
        MirrorReader::new(self.clone())
    }

    pub(super) const fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

async fn connect_until_done(link: Arc<Link>) {
    let mut failures = 0;
    while let Err(error) = link.open().await {
        failures += 1;
        // Each tenth is enough of a reminder.
        if failures % 10 == 1 {
            tracing::warn!(%error, failures, "the mirror is not reached; attempts go on");
        }
        tokio::time::sleep(pause(failures, rand::random())).await;
    }
    tracing::info!(keyspace = %link.options.keyspace, "the mirror is reached");
}

impl Link {
    fn new(options: CassandraOptions, cluster: Uuid) -> Self {
        Self {
            options,
            cluster,
            connection: OnceLock::new(),
            breaker: Mutex::default(),
            last_error: Mutex::default(),
        }
    }

    async fn open(&self) -> Result<(), MirrorError> {
        let opened = self.connect().await;
        match opened {
            Ok(connection) => {
                let _ = self.connection.set(connection);
                *self.last_error.lock() = None;
                metrics::gauge!("ringtail_mirror_connected").set(1.0);
                Ok(())
            }
            Err(error) => {
                metrics::gauge!("ringtail_mirror_connected").set(0.0);
                self.note(&error);
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Connection, MirrorError> {
        let session = connect(&self.options).await?;
        schema::check(&session, &self.options, self.cluster).await?;
        let statements = Statements::prepare(&session, &self.options).await?;
        Ok(Connection {
            session: Arc::new(session),
            statements: Arc::new(statements),
        })
    }

    fn state(&self) -> MirrorState {
        let last_error = self.last_error.lock().clone();
        if self.connection.get().is_none() {
            return MirrorState::Connecting { last_error };
        }
        match self.breaker.lock().passage(Instant::now()) {
            Passage::Open => MirrorState::Up,
            Passage::Probing | Passage::Closed => MirrorState::Paused { last_error },
        }
    }

    /// The user's name for messages.
    pub(super) fn user(&self) -> &str {
        user(&self.options)
    }

    /// Makes a request, again while the servers do not answer, up to the options' attempts. Requests are idempotent: one
    /// whose outcome is not known is made again.
    pub(super) async fn call<T, F>(
        &self,
        request: impl Fn(Connection) -> F,
    ) -> Result<T, MirrorError>
    where
        F: Future<Output = Result<T, MirrorError>>,
    {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = match self.admit() {
                Ok(connection) => {
                    let outcome = request(connection).await;
                    self.learn(&outcome);
                    outcome
                }
                Err(error) => return Err(error),
            };
            match outcome {
                Err(error) if error.is_outage() && attempts < self.options.attempts_max => {
                    tokio::time::sleep(pause(attempts, rand::random())).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn admit(&self) -> Result<Connection, MirrorError> {
        let Some(connection) = self.connection.get() else {
            return Err(self.last_error.lock().clone().unwrap_or_else(|| {
                let message = "no connection was made yet".to_owned();
                MirrorError::NoAnswer { message }
            }));
        };
        // The driver itself asks other servers before the time is up; twice that is long enough for a trying request.
        let probe_max = self.options.request_timeout * 2;
        let admitted = self.breaker.lock().admit(Instant::now(), probe_max);
        admitted.map_err(|retry_after| MirrorError::Paused {
            retry_after: retry_after.max(Duration::from_millis(1)),
            message: match self.last_error.lock().as_ref() {
                Some(error) => error.to_string(),
                None => "no failure is known".to_owned(),
            },
        })?;
        Ok(connection.clone())
    }

    fn learn<T>(&self, outcome: &Result<T, MirrorError>) {
        match outcome {
            Err(error) if error.is_outage() => {
                self.breaker.lock().fail(Instant::now(), rand::random());
                self.note(error);
            }
            // A refusal is an answer, too.
            outcome => {
                self.breaker.lock().succeed();
                if let Err(error) = outcome {
                    self.note(error);
                }
            }
        }
        let passage = self.breaker.lock().passage(Instant::now());
        metrics::gauge!("ringtail_mirror_breaker").set(match passage {
            Passage::Open => 0.0,
            Passage::Probing => 1.0,
            Passage::Closed => 2.0,
        });
    }

    fn note(&self, error: &MirrorError) {
        metrics::counter!("ringtail_mirror_errors_total", "error" => error.name()).increment(1);
        *self.last_error.lock() = Some(error.clone());
    }
}
