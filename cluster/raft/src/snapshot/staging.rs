//! Where snapshots wait until they are whole, and until they are in their machine.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blocking::spawn_blocking;
use ringtail_log::Disk;
use ringtail_proto::GroupId;

use parking_lot::Mutex;

use super::staged_file::{BrokenFile, PartHash, StagedWriter};
use super::{SnapshotPart, StagedFile};

/// A directory for snapshots on their way in.
#[derive(Clone)]
pub struct Staging {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// Groups whose snapshot is on its way: one at a time, as all have the same file.
    arriving: Arc<Mutex<HashSet<GroupId>>>,
    /// What is held of a group, between the question for it and the transfer that follows.
    read: Arc<Mutex<HashMap<GroupId, BrokenFile>>>,
}

impl Staging {
    /// Makes the directory. Blocks.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(disk: Arc<dyn Disk>, directory: &Path) -> io::Result<Self> {
        disk.create_directory(directory)?;
        Ok(Self {
            disk,
            directory: directory.to_owned(),
            arriving: Arc::default(),
            read: Arc::default(),
        })
    }

    /// The parts that a broken transfer has left of a group. Nothing is held of a group whose snapshot is arriving.
    pub(crate) async fn held_parts(&self, group: GroupId) -> io::Result<Vec<PartHash>> {
        let Ok(turn) = Turn::take(self.clone(), group) else {
            return Ok(Vec::new());
        };
        spawn_blocking(move || {
            let staging = &turn.staging;
            staging.keep_broken(group)?;
            let broken = staging.broken(group)?;
            let hashes = broken.hashes().copied().collect();
            staging.read.lock().insert(group, broken);
            Ok(hashes)
        })
        .await?
    }

    /// Drops what is left of transfers of a group that is no longer here.
    pub(crate) async fn drop_group(&self, group: GroupId) -> io::Result<()> {
        let turn = Turn::take(self.clone(), group)?;
        spawn_blocking(move || {
            let staging = &turn.staging;
            staging.read.lock().remove(&group);
            for path in [staging.arriving_path(group), staging.broken_path(group)] {
                staging.remove_if_there(&path)?;
            }
            Ok(())
        })
        .await?
    }

    /// Blocks.
    fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is left of a transfer that broke is kept for the next one: of two, the larger. Blocks.
    fn keep_broken(&self, group: GroupId) -> io::Result<()> {
        let bytes = |path: &Path| match self.disk.open(path) {
            Ok(file) => file.bytes(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        };
        let (arriving, broken) = (self.arriving_path(group), self.broken_path(group));
        match bytes(&arriving)? {
            0 => Ok(()),
            new if new >= bytes(&broken)? => self.disk.rename(&arriving, &broken),
            _ => self.disk.remove(&arriving),
        }
    }

    /// Blocks.
    fn broken(&self, group: GroupId) -> io::Result<BrokenFile> {
        let path = self.broken_path(group);
        match BrokenFile::read(&*self.disk, &path) {
            Ok(broken) => Ok(broken),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BrokenFile::default()),
            Err(error) if is_damage(&error) => {
                self.disk.remove(&path).map(|()| BrokenFile::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Begins a file of a group; parts of a transfer that broke can be taken over.
    pub(crate) async fn begin(&self, group: GroupId, meta: Vec<u8>) -> io::Result<Arriving> {
        let turn = Turn::take(self.clone(), group)?;
        spawn_blocking(move || {
            let staging = &turn.staging;
            let read = staging.read.lock().remove(&group);
            let broken = match read {
                Some(broken) => broken,
                None => {
                    staging.keep_broken(group)?;
                    staging.broken(group)?
                }
            };
            let path = staging.arriving_path(group);
            let writer = StagedWriter::create(&*staging.disk, &path, &meta)?;
            Ok(Arriving {
                writer,
                broken,
                turn,
            })
        })
        .await?
    }

    /// The snapshot that had arrived whole when the process ended.
    pub(crate) async fn leftover(&self, group: GroupId) -> io::Result<Option<Arc<StagedFile>>> {
        let staging = self.clone();
        spawn_blocking(move || {
            let name = whole_name(group);
            let names = staging.disk.list_files(&staging.directory)?;
            if !names.contains(&name) {
                return Ok(None);
            }
            let path = staging.directory.join(name);
            match StagedFile::open(&*staging.disk, path.clone()) {
                Ok(file) => Ok(Some(Arc::new(file))),
                // The machine is as it was before, or says itself that it is not whole.
                Err(error) if is_damage(&error) => {
                    tracing::error!(%error, ?path, "what is left of a snapshot is dropped");
                    staging.disk.remove(&path).map(|()| None)
                }
                Err(error) => Err(error),
            }
        })
        .await?
    }

    /// The snapshot is in its machine, or will never be.
    pub(crate) async fn forget(&self, file: &StagedFile) -> io::Result<()> {
        let (staging, path) = (self.clone(), file.path().clone());
        spawn_blocking(move || {
            staging.remove_if_there(&path)?;
            staging.disk.sync_directory(&staging.directory)
        })
        .await?
    }

    fn arriving_path(&self, group: GroupId) -> PathBuf {
        self.directory.join(format!("{group}.arriving"))
    }

    fn broken_path(&self, group: GroupId) -> PathBuf {
        self.directory.join(format!("{group}.broken"))
    }
}

/// The right to receive a group's snapshot, and to take it over.
pub(super) struct Turn {
    staging: Staging,
    group: GroupId,
}

impl Turn {
    fn take(staging: Staging, group: GroupId) -> io::Result<Self> {
        let is_free = staging.arriving.lock().insert(group);
        match is_free {
            true => Ok(Self { staging, group }),
            false => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("a snapshot of group {group} is arriving already"),
            )),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.staging.arriving.lock().remove(&self.group);
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

fn whole_name(group: GroupId) -> String {
    format!("{group}.whole")
}

/// A snapshot on its way in.
pub(crate) struct Arriving {
    writer: StagedWriter,
    broken: BrokenFile,
    turn: Turn,
}

impl Arriving {
    pub(crate) async fn put(mut self, part: SnapshotPart) -> io::Result<Self> {
        spawn_blocking(move || {
            self.writer.put(&part)?;
            Ok(self)
        })
        .await?
    }

    /// A part that a broken transfer has left; none when it is not held.
    pub(crate) async fn held(self, hash: PartHash) -> io::Result<(Self, Option<SnapshotPart>)> {
        spawn_blocking(move || {
            let part = self.broken.part(&hash)?;
            Ok((self, part))
        })
        .await?
    }

    /// Everything has arrived: it is durable under its final name, and read back once.
    pub(crate) async fn finish(self) -> io::Result<Arc<StagedFile>> {
        spawn_blocking(move || {
            let Self {
                writer,
                broken,
                turn,
            } = self;
            let (staging, group) = (turn.staging.clone(), turn.group);
            writer.finish()?;
            let arrived = staging.arriving_path(group);
            let file = StagedFile::open(&*staging.disk, arrived.clone())?;
            let whole = staging.directory.join(whole_name(group));
            staging.disk.rename(&arrived, &whole)?;
            drop(broken);
            staging.remove_if_there(&staging.broken_path(group))?;
            staging.disk.sync_directory(&staging.directory)?;
            Ok(Arc::new(file.arrived(whole, turn)))
        })
        .await?
    }
}
