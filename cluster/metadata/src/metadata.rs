//! The handle through which a node reads and changes the metadata.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ringtail_checkpoint::CheckpointStore;
use ringtail_proto::{LogIndex, NodeId, SiteId, UnixMillis};
use tokio::sync::watch;

use crate::{
    AuditRecord, Command, Consensus, Directory, Domain, Entry, Key, LeaderLink, MetadataError,
    MetadataMachine, Outcome, Scope, Secret, Site, Written,
    ask::{Ask, from_raft},
    decide::Rules,
    leader_link::NoLink,
    validate::{HOUSEKEEPING_ROWS_MAX, validate, validate_reason},
    zone,
};

/// The largest entry that a peer may send: many times the largest command.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// How long a change or a read may wait for a leader. Default 10 s: a few elections.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Who asks for a change: a key, a user, or the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// As the audit log shows it, e.g. `key 3 (deploy)`.
    pub who: String,
}

impl Actor {
    /// Someone known by this description.
    #[must_use]
    pub fn new(who: impl Into<String>) -> Self {
        Self { who: who.into() }
    }
}

/// Clock and randomness of the proposer; apply never asks for either.
pub trait Seams: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> UnixMillis;

    /// 256 bits that nobody can guess.
    fn random(&self) -> [u8; 32];
}

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Where; none for every site.
    pub site: Option<SiteId>,
    /// From when on it is refused.
    pub expires: Option<UnixMillis>,
}

/// Reads and changes the metadata of the ring.
#[derive(Clone)]
pub struct Metadata {
    pub(crate) group: Arc<dyn Consensus>,
    pub(crate) machine: Arc<MetadataMachine>,
    pub(crate) seams: Arc<dyn Seams>,
    pub(crate) link: Arc<dyn LeaderLink>,
    pub(crate) deadline: Duration,
    /// Who may lead, for a node that has heard nothing from the ring yet.
    pub(crate) first_guesses: Arc<[NodeId]>,
}

impl Metadata {
    /// A handle on group 0, opened with this machine. It reaches no other node until it is given a link.
    #[must_use]
    pub fn new(
        group: impl Consensus,
        machine: Arc<MetadataMachine>,
        seams: Arc<dyn Seams>,
    ) -> Self {
        Self {
            group: Arc::new(group),
            machine,
            seams,
            link: Arc::new(NoLink),
            deadline: DEADLINE,
            first_guesses: Arc::new([]),
        }
    }

    /// The same handle with a way to the leader when that is another node.
    #[must_use]
    pub fn with_link(self, link: Arc<dyn LeaderLink>) -> Self {
        Self { link, ..self }
    }

    /// The same handle, which asks these nodes as long as it does not know who hosts the metadata.
    #[must_use]
    pub fn with_first_guesses(self, nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let first_guesses = nodes.into_iter().collect();
        Self {
            first_guesses,
            ..self
        }
    }

    /// The same handle with another bound on how long a change or a read may take.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Carries a command out, wherever the leader is; once it returns, [`Self::directory`] of this node shows what it
    /// did.
    ///
    /// # Errors
    /// Why it was refused, or why it did not reach the log; see [`MetadataError::may_still_commit`].
    /// [`MetadataError::Unavailable`] when no leader was found in time.
    pub async fn execute(
        &self,
        command: Command,
        by: &Actor,
        why: &str,
    ) -> Result<Outcome, MetadataError> {
        validate_reason(&by.who, why)?;
        self.check(&command)?;
        let entry = Entry {
            who: by.who.clone(),
            at: self.seams.now(),
            why: why.to_owned(),
            command,
        };
        let ask = Ask::Write {
            is_repeatable: entry.command.is_repeatable(),
            entry: entry.to_log(),
        };
        let written = self.ask(&ask).await?;
        Outcome::from_reply(&written.reply)
    }

    /// What can be refused before the log: the state that this node knows is enough for it.
    fn check(&self, command: &Command) -> Result<(), MetadataError> {
        validate(command)?;
        let directory = self.directory();
        let at = self.seams.now();
        let rules = Rules {
            directory: &directory,
            at,
        };
        rules.is_known_everywhere(command)
    }

    /// Waits until this node knows everything that was acknowledged anywhere before the call.
    ///
    /// # Errors
    /// [`MetadataError::Unavailable`] when no leader was found in time.
    pub async fn read_barrier(&self) -> Result<(), MetadataError> {
        self.ask(&Ask::Read).await.map(drop)
    }

    /// Proposes what another node has sent; only the leader can, and nothing is passed on from here.
    ///
    /// The time of the entry becomes this node's: of all clocks of the ring, only leaders' count.
    ///
    /// # Errors
    /// When it is not an entry, nothing that this ring takes, or this node does not lead.
    pub async fn propose_for_peer(&self, entry: Bytes) -> Result<Written, MetadataError> {
        if entry.len() > ENTRY_BYTES_MAX {
            let reason = format!(
                "it has {} bytes, {ENTRY_BYTES_MAX} are allowed",
                entry.len()
            );
            return Err(MetadataError::invalid("entry", reason));
        }
        let mut entry = Entry::from_log(&entry)?;
        validate_reason(&entry.who, &entry.why)?;
        self.check(&entry.command)?;
        entry.at = self.seams.now();
        let written = self.group.propose(entry.to_log()).await;
        written.map_err(from_raft)
    }

    /// Up to where a peer has to have applied to know everything that was acknowledged before; only the leader knows.
    ///
    /// # Errors
    /// When this node does not lead.
    pub async fn read_index_for_peer(&self) -> Result<LogIndex, MetadataError> {
        self.group.read_index().await.map_err(from_raft)
    }

    /// True when this node leads group 0, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.group.is_leader()
    }

    /// Adds a site; the zone's name may be in any case.
    ///
    /// # Errors
    /// See [`Self::execute`].
    pub async fn add_site(
        &self,
        domain: &str,
        timezone: &str,
        by: &Actor,
        why: &str,
    ) -> Result<Arc<Site>, MetadataError> {
        let [
            first,
            second,
            third,
            fourth,
            fifth,
            sixth,
            seventh,
            eighth,
            ..,
        ] = self.seams.random();
        let command = Command::AddSite {
            domain: Domain::parse(domain)?,
            timezone: zone::canonical_name(timezone)?.into(),
            sketch_key: u64::from_le_bytes([
                first, second, third, fourth, fifth, sixth, seventh, eighth,
            ]),
        };
        let outcome = self.execute(command, by, why).await?;
        self.site_of(outcome)
    }

    /// Adds a key and returns its secret, which nobody can read again.
    ///
    /// # Errors
    /// See [`Self::execute`].
    pub async fn add_key(
        &self,
        key: NewKey,
        by: &Actor,
        why: &str,
    ) -> Result<(Arc<Key>, Secret), MetadataError> {
        let secret = Secret::new(key.scope, self.seams.random());
        let added = self.add_key_with(key, &secret, by, why).await?;
        Ok((added, secret))
    }

    /// A secret for a key that is not added yet.
    #[must_use]
    pub fn new_secret(&self, scope: Scope) -> Secret {
        Secret::new(scope, self.seams.random())
    }

    /// Makes sure that a key with this secret exists, whatever has become of it since: a first start writes the secret
    /// down before, so that a crash in between leaves neither a key without its secret nor a secret without its key.
    ///
    /// # Errors
    /// See [`Self::execute`].
    pub async fn adopt_key(
        &self,
        key: NewKey,
        secret: &Secret,
        by: &Actor,
        why: &str,
    ) -> Result<Arc<Key>, MetadataError> {
        let present = self.directory().key_of_hash(&secret.hash());
        match present.and_then(|key| self.directory().key(key)) {
            Some(key) => Ok(key),
            None => self.add_key_with(key, secret, by, why).await,
        }
    }

    async fn add_key_with(
        &self,
        key: NewKey,
        secret: &Secret,
        by: &Actor,
        why: &str,
    ) -> Result<Arc<Key>, MetadataError> {
        let command = Command::AddKey {
            name: key.name,
            scope: key.scope,
            site: key.site,
            secret_hash: secret.hash(),
            expires: key.expires,
        };
        match self.execute(command, by, why).await? {
            Outcome::Key(key) => self
                .directory()
                .key(key)
                .ok_or(MetadataError::UnknownKey { key }),
            other => Err(unexpected(other)),
        }
    }

    /// Notes that the partitions' logs hold these revisions of the settings; to be called after each has committed.
    ///
    /// # Errors
    /// See [`Self::execute`].
    pub async fn settle(
        &self,
        settled: Vec<(SiteId, u64)>,
        by: &Actor,
    ) -> Result<(), MetadataError> {
        for part in settled.chunks(HOUSEKEEPING_ROWS_MAX) {
            let settled = part.to_vec();
            self.execute(Command::SettleSites { settled }, by, "")
                .await?;
        }
        Ok(())
    }

    /// Writes down which keys were used since the last call; a duty calls it once a minute.
    ///
    /// # Errors
    /// See [`Self::execute`].
    pub async fn flush_key_uses(&self, by: &Actor) -> Result<usize, MetadataError> {
        let used = self.directory().unwritten_uses(HOUSEKEEPING_ROWS_MAX);
        let count = used.len();
        if count > 0 {
            self.execute(Command::TouchKeys { used }, by, "").await?;
        }
        Ok(count)
    }

    /// Persists the store and lets the log go up to what it holds; a duty calls it now and then.
    ///
    /// # Errors
    /// When the store fails or the group does not take the floor.
    pub async fn raise_floor(&self, store: Arc<dyn CheckpointStore>) -> Result<(), MetadataError> {
        let floor = self.machine.floor_now();
        let Some(position) = floor.position else {
            return Ok(());
        };
        ringtail_raft::spawn_blocking(move || store.persist())
            .await
            .map_err(MetadataError::storage)?
            .map_err(MetadataError::storage)?;
        self.group.raise_floor(position).await.map_err(from_raft)
    }

    /// The metadata as this node has applied it.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.machine.directory()
    }

    /// Changes whenever a command was applied.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<LogIndex> {
        self.machine.applied()
    }

    /// The newest records of the audit log, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn audit(&self, max: usize) -> Result<Vec<AuditRecord>, MetadataError> {
        self.machine.audit(max)
    }

    fn site_of(&self, outcome: Outcome) -> Result<Arc<Site>, MetadataError> {
        match outcome {
            Outcome::Site(site) => self
                .directory()
                .site(site)
                .ok_or(MetadataError::UnknownSite { site }),
            other => Err(unexpected(other)),
        }
    }
}

pub(crate) fn unexpected(outcome: Outcome) -> MetadataError {
    MetadataError::unreadable(
        "metadata reply",
        format!("{outcome:?} answers another command"),
    )
}
