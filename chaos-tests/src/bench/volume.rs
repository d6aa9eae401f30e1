//! A small disk of its own whose unsynced bytes can be dropped, as a power cut drops them: an ext4 file system in a file.
//!
//! What the file system has not written to the file yet (no `fsync`, no writeback) is only in memory. A copy of the file,
//! taken at the moment of the cut, is what a disk would hold; it is mounted in the place of the original.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

const BYTES: u64 = 512 << 20;

/// A mounted file.
pub(super) struct Volume {
    image: PathBuf,
    mount: PathBuf,
}

impl Volume {
    /// Makes and mounts one below a folder.
    ///
    /// # Errors
    /// Where we may not mount.
    pub(super) fn make(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let folder = std::path::absolute(folder)?;
        let volume = Self {
            image: folder.join(format!("{name}.image")),
            mount: folder.join(name),
        };
        File::create(&volume.image)?.set_len(BYTES)?;
        fs::create_dir(&volume.mount)?;
        run("mkfs.ext4", &["-q", "-F"], &[&volume.image])?;
        volume.mount()?;
        Ok(volume)
    }

    /// Where its files are.
    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    /// Goes back to what was written to the disk. Nobody may have a file open there.
    ///
    /// # Errors
    /// When it cannot be mounted again.
    pub(super) fn drop_unsynced(&self) -> anyhow::Result<()> {
        let cut = self.image.with_extension("cut");
        run("cp", &["--sparse=always"], &[&self.image, &cut])?;
        run("umount", &[], &[&self.mount])?;
        fs::rename(cut, &self.image)?;
        self.mount()
    }

    fn mount(&self) -> anyhow::Result<()> {
        run("mount", &["-o", "loop"], &[&self.image, &self.mount])
            .context("the figure needs root and loop devices")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // It is mounted unless mounting failed. Lazily: after a failure a process may still end.
        let _ = run("umount", &["--lazy"], &[&self.mount]);
    }
}

fn run(program: &str, options: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    let output = command.args(options).args(paths).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", said.trim());
    }
    Ok(())
}
