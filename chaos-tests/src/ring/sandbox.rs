//! A place of its own for a run: network, mounts and processes that nobody outside sees and that end with it.
//!
//! The harness starts itself once more in new namespaces. The kernel takes everything back when it ends, however it
//! ends: nodes, bridge, mounted volumes. Only its folder stays after a violent end, and the next run removes that.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

/// Says that we are inside already; its value is the process id outside, which names the folder.
const INSIDE: &str = "RINGTAIL_CHAOS_INSIDE";
/// What every run's folder is called, followed by the process id and something random.
const FOLDER_PREFIX: &str = "ringtail-chaos-";
/// Says that the user inside is root by name only; the value does not matter.
const MAPPED: &str = "RINGTAIL_CHAOS_MAPPED";
/// For whoever is not root: a user namespace, in which the others are permitted.
const MAP_USER: [&str; 2] = ["--user", "--map-root-user"];
const UNSHARE: [&str; 7] = [
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
];

/// Where a run takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// In namespaces of its own.
    Namespaces {
        /// True when each node can have a file system of its own: mounting one takes the machine's real root.
        has_disks: bool,
    },
    /// On this machine's loopback: namespaces are not permitted here, or not wanted.
    Loopback,
}

impl Sandbox {
    /// True when a node's disk can be full or slow without the others noticing.
    #[must_use]
    pub const fn has_disks(self) -> bool {
        matches!(self, Self::Namespaces { has_disks: true })
    }

    /// For the report.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Namespaces { has_disks: true } => "a network namespace and a disk for each node",
            Self::Namespaces { has_disks: false } => "a network namespace for each node",
            Self::Loopback => "loopback with a proxy before each node",
        }
    }
}

/// Puts this process into namespaces where that is permitted and wanted; there it begins anew.
///
/// # Errors
/// When the process cannot be started anew.
pub fn enter(is_wanted: bool) -> anyhow::Result<Sandbox> {
    if std::env::var_os(INSIDE).is_some() {
        prepare()?;
        let has_disks = std::env::var_os(MAPPED).is_none();
        return Ok(Sandbox::Namespaces { has_disks });
    }
    remove_leftovers();
    if !is_wanted {
        return Ok(Sandbox::Loopback);
    }
    let mut unshare = Command::new("unshare");
    if is_permitted(&[]) {
        unshare.env_remove(MAPPED);
    } else if is_permitted(&MAP_USER) {
        unshare.env(MAPPED, "1").args(MAP_USER);
    } else {
        return Ok(Sandbox::Loopback);
    }
    let failure = unshare
        .args(UNSHARE)
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, std::process::id().to_string())
        .exec();
    Err(failure).context("cannot start in namespaces")
}

/// A folder for one run, removed when it is dropped.
///
/// # Errors
/// When it cannot be made.
pub fn folder() -> anyhow::Result<tempfile::TempDir> {
    let owner = std::env::var(INSIDE).unwrap_or_else(|_| std::process::id().to_string());
    let prefix = format!("{FOLDER_PREFIX}{owner}-");
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir()?)
}

/// Keeps what the nodes of a failed round said; all else goes with its folder.
///
/// # Errors
/// When it cannot be copied.
pub fn keep_words(folder: &Path, seed: u64) -> anyhow::Result<PathBuf> {
    let kept = std::env::temp_dir().join(format!("ringtail-chaos-seed-{seed}"));
    fs::create_dir_all(&kept)?;
    for entry in fs::read_dir(folder)?.flatten() {
        let file = entry.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "stderr")
        {
            fs::copy(&file, kept.join(entry.file_name()))?;
        }
    }
    Ok(kept)
}

/// Runs a program of the system to its end.
///
/// # Errors
/// When it is missing or fails, with what it said.
pub(super) fn system(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}`: {}", arguments.join(" "), words.trim());
    }
    Ok(())
}

/// The network is bare, and names of network namespaces must not be seen outside.
fn prepare() -> anyhow::Result<()> {
    if fs::create_dir_all("/run/netns").is_err() {
        // A folder of the real root, who is not us; in here nobody needs what lies in it.
        system("mount", &["-t", "tmpfs", "ringtail-chaos", "/run"])?;
        fs::create_dir_all("/run/netns")?;
    }
    system("mount", &["-t", "tmpfs", "ringtail-chaos", "/run/netns"])?;
    system("ip", &["link", "set", "lo", "up"])
}

fn is_permitted(user: &[&str]) -> bool {
    let mut probe = Command::new("unshare");
    probe
        .args(user)
        .args(UNSHARE)
        .args(["ip", "link", "add", "rt-probe", "type", "bridge"])
        .stdin(Stdio::null());
    probe.output().is_ok_and(|output| output.status.success())
}

/// Removes folders of runs that were killed.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        if owner(&entry.path()).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Somebody else may be at it; nothing depends on it.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process id in the name of a run's folder.
fn owner(folder: &Path) -> Option<u32> {
    let name = folder.file_name()?.to_str()?;
    let (pid, _) = name.strip_prefix(FOLDER_PREFIX)?.split_once('-')?;
    pid.parse().ok()
}

/// The library that shifts a process's clock, where Debian puts it.
#[must_use]
pub fn faketime() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    let places = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    places.into_iter().find(|library| library.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_whose_it_is() {
        let owner = |name: &str| owner(Path::new(name));
        assert_eq!(owner("/tmp/ringtail-chaos-17-abc"), Some(17));
        assert_eq!(owner("/tmp/ringtail-chaos-x-abc"), None);
        assert_eq!(owner("/tmp/other-17-abc"), None);
    }
}
