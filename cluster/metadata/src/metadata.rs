//! The handle through which a node reads and changes the metadata.

use std::sync::Arc;

use ringtail_checkpoint::CheckpointStore;
use ringtail_proto::{ErrorKind, LogIndex, SiteId, UnixMillis};
use ringtail_raft::{Group, RaftError};
use tokio::sync::watch;

use crate::{
    AuditRecord, Command, Directory, Domain, Entry, Key, MetadataError, MetadataMachine, Outcome,
    Scope, Secret, Site,
    validate::{HOUSEKEEPING_ROWS_MAX, validate, validate_reason},
    zone,
};

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
    group: Group,
    machine: Arc<MetadataMachine>,
    seams: Arc<dyn Seams>,
}

impl Metadata {
    /// A handle on group 0, opened with this machine.
    #[must_use]
    pub fn new(group: Group, machine: Arc<MetadataMachine>, seams: Arc<dyn Seams>) -> Self {
        Self {
            group,
            machine,
            seams,
        }
    }

    /// Carries a command out; once it returns, [`Self::directory`] shows what it did.
    ///
    /// # Errors
    /// Why it was refused, or why it did not reach the log; see [`MetadataError::may_still_commit`].
    pub async fn execute(
        &self,
        command: Command,
        by: &Actor,
        why: &str,
    ) -> Result<Outcome, MetadataError> {
        validate_reason(&by.who, why)?;
        validate(&command)?;
        let entry = Entry {
            who: by.who.clone(),
            at: self.seams.now(),
            why: why.to_owned(),
            command,
        };
        let proposal = self
            .group
            .propose(entry.to_log())
            .await
            .map_err(from_raft)?;
        let applied = proposal.applied().await.map_err(from_raft)?;
        Outcome::from_reply(&applied.reply)
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
        tokio::task::spawn_blocking(move || store.persist())
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

fn unexpected(outcome: Outcome) -> MetadataError {
    MetadataError::unreadable(
        "metadata reply",
        format!("{outcome:?} answers another command"),
    )
}

fn from_raft(error: RaftError) -> MetadataError {
    let message = error.to_string();
    if error.may_commit() {
        return MetadataError::InDoubt { message };
    }
    match error.kind() {
        ErrorKind::StorageFull => MetadataError::StorageFull { message },
        ErrorKind::Unavailable => MetadataError::Unavailable { message },
        _ => MetadataError::Storage { message },
    }
}
