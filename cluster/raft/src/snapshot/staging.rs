//! Where snapshots wait until they are whole, and until they are in their machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringtail_log::Disk;
use ringtail_proto::GroupId;
use tokio::task::spawn_blocking;

use super::staged_file::StagedWriter;
use super::{SnapshotPart, StagedFile};

/// A directory for snapshots on their way in.
#[derive(Clone)]
pub struct Staging {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
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
        })
    }

    /// Begins a file of a group; what it had staged before is dropped.
    pub(crate) async fn begin(&self, group: GroupId, meta: Vec<u8>) -> io::Result<Arriving> {
        let (disk, path) = (self.disk.clone(), self.arriving_path(group));
        let writer = spawn_blocking(move || StagedWriter::create(&*disk, &path, &meta)).await??;
        Ok(Arriving {
            staging: self.clone(),
            group,
            writer,
        })
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
            match staging.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            staging.disk.sync_directory(&staging.directory)
        })
        .await?
    }

    fn arriving_path(&self, group: GroupId) -> PathBuf {
        self.directory.join(format!("{group}.arriving"))
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
    staging: Staging,
    group: GroupId,
    writer: StagedWriter,
}

impl Arriving {
    pub(crate) async fn put(mut self, part: SnapshotPart) -> io::Result<Self> {
        spawn_blocking(move || {
            self.writer.put(&part)?;
            Ok(self)
        })
        .await?
    }

    /// Everything has arrived: it is durable under its final name, and read back once.
    pub(crate) async fn finish(self) -> io::Result<Arc<StagedFile>> {
        spawn_blocking(move || {
            let Self {
                staging,
                group,
                writer,
            } = self;
            writer.finish()?;
            let arrived = staging.arriving_path(group);
            let file = StagedFile::open(&*staging.disk, arrived.clone())?;
            let whole = staging.directory.join(whole_name(group));
            staging.disk.rename(&arrived, &whole)?;
            staging.disk.sync_directory(&staging.directory)?;
            Ok(Arc::new(file.renamed(whole)))
        })
        .await?
    }
}
