//! The data directory: its format marker, the lock that keeps a second process out, and the node's identity.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use ringtail_proto::NodeId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// The node that makes a ring; all others join it.
pub(crate) const FOUNDER: NodeId = NodeId(1);
/// The format that this binary reads and writes.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "format";
const IDENTITY_FILE: &str = "node.id";
const LOCK_FILE: &str = "lock";
const SALTS_FILE: &str = "salts";
const TOKEN_FILE: &str = "admin.token";
const ADDRESSES_FILE: &str = "addresses.json";
const PEERS_FILE: &str = "peers.json";
const ATTEMPT_FILE: &str = "join.attempt";

/// An open data directory; the lock is held until this is dropped.
pub(crate) struct DataDirectory {
    path: PathBuf,
    /// Who this node is.
    pub identity: Identity,
    _lock: File,
}

/// Who a node is: written once, before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// The cluster, by an id made at its birth.
    pub cluster: Uuid,
    /// The node within the cluster.
    pub node: NodeId,
}

/// Addresses on which the node that holds the directory serves; for command-line clients on the same machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// HTTP address.
    pub http: String,
    /// gRPC address.
    pub grpc: String,
    /// Address for the other nodes.
    #[serde(default)]
    pub peer: String,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirectoryError {
    /// The file system said no.
    #[error("data directory {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("data directory {path} is in use by another process")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Written by a newer binary.
    #[error(
        "data directory {path} has format {found}, this binary knows up to {FORMAT}: use a newer ringtail"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// A file of ours that is not what we wrote.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Files, but none of ours.
    #[error("{path} is not empty and not a data directory of ringtail")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
}

/// A data directory that is locked, whether or not it knows yet which node it belongs to.
pub(crate) struct Unclaimed {
    path: PathBuf,
    lock: File,
}

impl Unclaimed {
    /// Opens the directory, or makes it when it is absent or empty.
    ///
    /// # Errors
    /// When it is in use, newer than this binary, damaged, or something else's.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirectoryError> {
        fs::create_dir_all(path).map_err(at(path))?;
        let is_ours = path.join(FORMAT_FILE).exists();
        if !is_ours && has_foreign_files(path).map_err(at(path))? {
            let path = path.to_owned();
            return Err(DataDirectoryError::Foreign { path });
        }
        let lock = take_lock(path)?;
        check_format(path)?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// Whose it is, if anybody's.
    ///
    /// # Errors
    /// When the file is not what was written.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, DataDirectoryError> {
        read_json(&self.path.join(IDENTITY_FILE))
    }

    /// Makes it this node's: written after everything else that a node needs.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn claim(&self, identity: &Identity) -> Result<(), DataDirectoryError> {
        write_json(&self.path.join(IDENTITY_FILE), identity)
    }

    /// The id of this directory's one attempt to join a ring.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn join_attempt(&self) -> Result<Uuid, DataDirectoryError> {
        let file = self.path.join(ATTEMPT_FILE);
        if let Some(attempt) = read_json(&file)? {
            return Ok(attempt);
        }
        let attempt = Uuid::new_v4();
        write_json(&file, &attempt)?;
        Ok(attempt)
    }

    /// Writes down where the other nodes are, until the metadata says so.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write_peers(
        &self,
        peers: &BTreeMap<NodeId, String>,
    ) -> Result<(), DataDirectoryError> {
        write_json(&self.path.join(PEERS_FILE), peers)
    }

    /// The directory of the certificates.
    pub(crate) fn tls(&self) -> PathBuf {
        self.path.join("tls")
    }

    /// The file of salts and import keys.
    pub(crate) fn salts(&self) -> PathBuf {
        self.path.join(SALTS_FILE)
    }

    /// The directory of the node that it belongs to; of a new ring's first node when it belongs to none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn into_claimed(self) -> Result<DataDirectory, DataDirectoryError> {
        let identity = match self.identity()? {
            Some(identity) => identity,
            None => {
                let identity = Identity {
                    cluster: Uuid::new_v4(),
                    node: FOUNDER,
                };
                self.claim(&identity)?;
                identity
            }
        };
        Ok(DataDirectory {
            path: self.path,
            identity,
            _lock: self.lock,
        })
    }
}

impl DataDirectory {
    /// The directory of the certificates.
    pub(crate) fn tls(&self) -> PathBuf {
        self.path.join("tls")
    }

    /// The directory of snapshots on their way in.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Where the other nodes were when this one joined.
    ///
    /// # Errors
    /// When the file is not what was written.
    pub(crate) fn peers(&self) -> Result<BTreeMap<NodeId, String>, DataDirectoryError> {
        Ok(read_json(&self.path.join(PEERS_FILE))?.unwrap_or_default())
    }

    /// The directory of the shared Raft log.
    #[must_use]
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The directory of the embedded store.
    #[must_use]
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where objects of the archive are, when the node has an archive of its own.
    pub(crate) fn archive(&self) -> PathBuf {
        self.path.join("archive")
    }

    /// The file of the salts.
    #[must_use]
    pub(crate) fn salts(&self) -> PathBuf {
        self.path.join(SALTS_FILE)
    }

    /// The directory of events that wait for a quorum.
    pub(crate) fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// The directory itself.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The admin token, when the node wrote one.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub(crate) fn admin_token(&self) -> Result<Option<String>, DataDirectoryError> {
        read_token(&self.path)
    }

    /// Writes the admin token, readable by the owner alone.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write_admin_token(&self, token: &str) -> Result<(), DataDirectoryError> {
        write_durably(&self.path.join(TOKEN_FILE), token.as_bytes(), 0o600)
    }

    /// Tells clients on this machine where the node serves.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write_addresses(&self, addresses: &Addresses) -> Result<(), DataDirectoryError> {
        write_json(&self.path.join(ADDRESSES_FILE), addresses)
    }
}

/// Reads the admin token of a data directory without opening it.
///
/// # Errors
/// When the file exists and cannot be read.
pub(crate) fn read_token(path: &Path) -> Result<Option<String>, DataDirectoryError> {
    let file = path.join(TOKEN_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataDirectoryError::Io { path: file, source }),
    }
}

/// Reads whose a data directory is without opening it; none before it is anybody's.
///
/// # Errors
/// When the file exists and cannot be read.
pub(crate) fn read_identity(path: &Path) -> Result<Option<Identity>, DataDirectoryError> {
    read_json(&path.join(IDENTITY_FILE))
}

/// Reads where the node of a data directory serves, or served last.
///
/// # Errors
/// When the file exists and cannot be read.
pub(crate) fn read_addresses(path: &Path) -> Result<Option<Addresses>, DataDirectoryError> {
    read_json(&path.join(ADDRESSES_FILE))
}

fn has_foreign_files(path: &Path) -> io::Result<bool> {
    let ours = [LOCK_FILE, "lost+found"];
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !ours.iter().any(|ours| name == *ours) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn take_lock(path: &Path) -> Result<File, DataDirectoryError> {
    let file = path.join(LOCK_FILE);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&file)
        .map_err(at(&file))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirectoryError::InUse {
            path: path.to_owned(),
        }),
        Err(error) => Err(at(&file)(error.into())),
    }
}

fn check_format(path: &Path) -> Result<(), DataDirectoryError> {
    let file = path.join(FORMAT_FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return write_durably(&file, format!("ringtail {FORMAT}\n").as_bytes(), 0o644);
        }
        Err(source) => return Err(DataDirectoryError::Io { path: file, source }),
    };
    let found = text
        .strip_prefix("ringtail ")
        .and_then(|rest| rest.trim_end().parse::<u32>().ok())
        .ok_or_else(|| damaged(&file, "it does not say `ringtail NUMBER`"))?;
    if found > FORMAT {
        let path = path.to_owned();
        return Err(DataDirectoryError::Newer { path, found });
    }
    Ok(())
}

fn read_json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, DataDirectoryError> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| damaged(file, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(file)(error)),
    }
}

fn write_json(file: &Path, value: &impl Serialize) -> Result<(), DataDirectoryError> {
    let text = serde_json::to_vec(value).map_err(|error| damaged(file, error))?;
    write_durably(file, &text, 0o644)
}

/// Writes a file so that after a crash it holds either what it held before or all of the new content.
fn write_durably(file: &Path, content: &[u8], mode: u32) -> Result<(), DataDirectoryError> {
    let temporary = file.with_extension("new");
    let write = || -> io::Result<()> {
        let mut new = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(mode)
            .open(&temporary)?;
        new.write_all(content)?;
        new.sync_all()?;
        fs::rename(&temporary, file)?;
        match file.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(at(file))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DataDirectoryError {
    let path = path.to_owned();
    move |source| DataDirectoryError::Io { path, source }
}

fn damaged(path: &Path, reason: impl std::fmt::Display) -> DataDirectoryError {
    DataDirectoryError::Damaged {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn open(path: &Path) -> Result<DataDirectory, DataDirectoryError> {
        Unclaimed::open(path)?.into_claimed()
    }

    #[test]
    fn identity_survives_and_a_second_process_is_kept_out() {
        let temporary = tempfile::tempdir().unwrap();
        let first = open(temporary.path()).unwrap();
        let error = open(temporary.path()).err().unwrap();
        assert!(matches!(error, DataDirectoryError::InUse { .. }), "{error}");
        let identity = first.identity.clone();
        drop(first);
        let again = open(temporary.path()).unwrap();
        assert_eq!(again.identity, identity);
    }

    #[test]
    fn newer_damaged_and_foreign_directories_are_refused() {
        for (file, content, expect) in [
            ("format", "ringtail 2\n", "has format 2"),
            ("format", "ringtail x\n", "is damaged"),
            ("holiday.jpg", "", "not a data directory"),
        ] {
            let temporary = tempfile::tempdir().unwrap();
            fs::write(temporary.path().join(file), content).unwrap();
            let error = open(temporary.path()).err().unwrap();
            assert!(error.to_string().contains(expect), "{error}");
        }
    }

    #[test]
    fn token_is_readable_by_the_owner_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = open(temporary.path()).unwrap();
        assert_eq!(directory.admin_token().unwrap(), None);
        directory.write_admin_token("secret").unwrap();
        assert_eq!(directory.admin_token().unwrap().as_deref(), Some("secret"));
        let mode = fs::metadata(temporary.path().join(TOKEN_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
