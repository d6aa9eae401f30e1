//! A small disk for each node, so that it can be full or slow without anybody else noticing.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::sandbox::system;

/// Room for a node's data in a run; the file behind it takes what is written.
const VOLUME_BYTES: u64 = 3 << 30;

/// A file system of its own, in a file.
#[derive(Debug)]
pub(super) struct Volume {
    root: PathBuf,
    is_mounted: bool,
}

impl Volume {
    /// Mounted, when `is_own`; else a plain folder, which can neither fill up nor freeze.
    pub(super) fn make(folder: &Path, slot: u8, is_own: bool) -> anyhow::Result<Self> {
        let root = folder.join(format!("disk{slot}"));
        fs::create_dir_all(&root)?;
        if is_own {
            let image = folder.join(format!("disk{slot}.image"));
            File::create(&image)?.set_len(VOLUME_BYTES)?;
            let (image, mount) = (text(&image)?, text(&root)?);
            system("mkfs.ext4", &["-q", "-F", "-m", "0", image])?;
            system("mount", &["-o", "loop", image, mount])?;
        }
        Ok(Self {
            root,
            is_mounted: is_own,
        })
    }

    /// Where the node keeps its data.
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Leaves so many bytes free.
    pub(super) fn fill(&self, free_bytes: u64) -> anyhow::Result<()> {
        let stat = rustix::fs::statvfs(&self.root)?;
        let available = stat.f_bavail * stat.f_frsize;
        let bytes = available.saturating_sub(free_bytes).to_string();
        let ballast = self.ballast();
        system("fallocate", &["--length", &bytes, text(&ballast)?])
    }

    /// Undoes [`Self::fill`].
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    /// Every write and every fsync waits until the guard is dropped.
    pub(super) fn freeze(&self) -> anyhow::Result<Frozen> {
        system("fsfreeze", &["--freeze", text(&self.root)?])?;
        Ok(Frozen(self.root.clone()))
    }

    /// Everything that the node ever wrote is gone.
    pub(super) fn lose(&self) -> anyhow::Result<()> {
        Ok(fs::remove_dir_all(self.data())?)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.is_mounted {
            // The end of the namespace unmounts what is left.
            let _ = text(&self.root).and_then(|root| system("umount", &["--lazy", root]));
        }
    }
}

/// A disk that answers nothing.
#[derive(Debug)]
pub(super) struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = text(&self.0).and_then(|root| system("fsfreeze", &["--unfreeze", root]));
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a temporary folder has a plain name")
}
