//! The spool's files on disk. Every method blocks.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use ringtail_log::Disk;
use ringtail_proto::NodeId;

use super::file::{FileError, HEADER_BYTES, Header};

const SUFFIX: &str = ".spool";
/// A file that is being written; nobody was told that it is there.
const NEW_SUFFIX: &str = ".new";

/// A spool file: the number that its owner gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileKey {
    pub(crate) owner: NodeId,
    pub(crate) file: u64,
}

/// The spool's files: those that wait, and beside them those that cannot be read.
pub(crate) struct Directory {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    damaged: PathBuf,
}

/// What was found at the start.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<(FileKey, Header)>,
    /// Files that were set aside, now or before.
    pub(crate) damaged: Vec<FileKey>,
}

/// Why a file's content is not here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Damaged(#[from] FileError),
    #[error("{0}")]
    Disk(#[from] io::Error),
}

impl FileKey {
    fn name(self) -> String {
        format!("{:016x}-{:016x}{SUFFIX}", self.owner.0, self.file)
    }

    fn parse(name: &str) -> Option<Self> {
        let (owner, file) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let key = Self {
            owner: NodeId(u64::from_str_radix(owner, 16).ok()?),
            file: u64::from_str_radix(file, 16).ok()?,
        };
        (key.name() == name).then_some(key)
    }
}

impl Directory {
    /// Opens the directory: removes what was never finished, sets aside what cannot be read.
    pub(crate) fn open(disk: Arc<dyn Disk>, path: &Path) -> io::Result<(Self, Found)> {
        let directory = Self {
            disk,
            path: path.to_owned(),
            damaged: path.join("damaged"),
        };
        let disk = &directory.disk;
        disk.create_directory(&directory.path)?;
        disk.create_directory(&directory.damaged)?;
        // The directories are as durable as what is in them.
        disk.sync_directory(path)?;
        if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
            disk.sync_directory(parent)?;
        }
        let mut found = Found::default();
        for name in disk.list_files(&directory.path)? {
            if name.ends_with(NEW_SUFFIX) {
                disk.remove(&path.join(&name))?;
                continue;
            }
            let Some(key) = FileKey::parse(&name) else {
                tracing::warn!(%name, "route: a file in the spool is none of the spool's");
                continue;
            };
            match directory.header(key) {
                Ok(header) => found.files.push((key, header)),
                Err(ReadError::Damaged(error)) => {
                    tracing::error!(%name, %error, "route: a spool file is damaged");
                    directory.set_aside(key)?;
                }
                Err(ReadError::Disk(error)) => return Err(error),
            }
        }
        let aside = disk.list_files(&directory.damaged)?;
        found.damaged = aside
            .iter()
            .filter_map(|name| FileKey::parse(name))
            .collect();
        disk.sync_directory(&directory.path)?;
        Ok((directory, found))
    }

    /// Writes a file; it is on disk, and its name too, when this returns.
    pub(crate) fn write(&self, key: FileKey, content: &[u8]) -> io::Result<()> {
        let path = self.path.join(key.name());
        let new = self.path.join(key.name() + NEW_SUFFIX);
        let written = self.write_new(&new, content);
        if let Err(error) = written.and_then(|()| self.disk.rename(&new, &path)) {
            // What cannot be removed now is removed at the next start.
            drop(self.disk.remove(&new));
            return Err(error);
        }
        self.disk.sync_directory(&self.path)
    }

    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let file = self.disk.create(path)?;
        file.write_all_at(&mut [IoSlice::new(content)], 0)?;
        file.sync_data()
    }

    /// The content of a file, whatever it is.
    pub(crate) fn read(&self, key: FileKey) -> io::Result<Bytes> {
        let file = self.disk.open(&self.path.join(key.name()))?;
        let mut content = vec![0; usize::try_from(file.bytes()?).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut content, 0)?;
        Ok(content.into())
    }

    fn header(&self, key: FileKey) -> Result<Header, ReadError> {
        let file = self.disk.open(&self.path.join(key.name()))?;
        let bytes = usize::try_from(file.bytes()?).unwrap_or(usize::MAX);
        let mut head = vec![0; bytes.min(HEADER_BYTES)];
        file.read_exact_at(&mut head, 0)?;
        let header = Header::decode(&head)?;
        header.check_length(bytes)?;
        Ok(header)
    }

    /// Removes files. Should they come back after a crash, their events are known.
    pub(crate) fn remove(&self, keys: &[FileKey]) -> io::Result<()> {
        for key in keys {
            match self.disk.remove(&self.path.join(key.name())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.disk.sync_directory(&self.path)
    }

    /// Moves a file to where nobody forwards it: a person may look at it.
    pub(crate) fn set_aside(&self, key: FileKey) -> io::Result<()> {
        let (from, to) = (self.path.join(key.name()), self.damaged.join(key.name()));
        self.disk.rename(&from, &to)?;
        self.disk.sync_directory(&self.damaged)?;
        self.disk.sync_directory(&self.path)
    }
}
