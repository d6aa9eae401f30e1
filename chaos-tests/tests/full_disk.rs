//! A full disk sheds new events with a clear answer, keeps answering queries, and loses nothing.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use ringtail_chaos::{
    client::Client,
    process::{Node, NodeOptions},
    steady::Steady,
};

/// Size of the small disk.
const DISK: &str = "size=256m";
/// What the node is told to keep free.
const RESERVE_BYTES: u64 = 64 << 20;
/// Both changes must be noticed within this.
const NOTICED_AFTER_MAX: Duration = Duration::from_secs(30);

/// A file system in memory, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where we may not mount.
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", DISK, "ringtail-test"])
            .arg(path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(path.to_owned()))
    }

    /// Leaves so many bytes free.
    fn fill(&self, free_bytes: u64) {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let available = stat.f_bavail * stat.f_frsize;
        let ballast = vec![1; usize::try_from(available - free_bytes).unwrap()];
        fs::write(self.0.join("ballast"), ballast).unwrap();
    }

    fn clear(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "cannot unmount the small disk"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_sheds_events_keeps_queries_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else {
        eprintln!("skipped: a small disk can be mounted only by root");
        return;
    };
    let mut options = NodeOptions::new(disk.0.join("data")).unwrap();
    options.environment.push((
        "RINGTAIL_DISK_RESERVE_BYTES".to_owned(),
        RESERVE_BYTES.to_string(),
    ));
    let node = Node::start(options).await.unwrap();
    let mut steady = Steady::start(&node).await.unwrap();
    steady.send(&node, 10).await.unwrap();

    disk.fill(RESERVE_BYTES / 2);
    let started = Instant::now();
    let refused = loop {
        if let Err(error) = steady.send(&node, 1).await {
            break error.to_string();
        }
        assert!(
            started.elapsed() < NOTICED_AFTER_MAX,
            "a full disk is not noticed"
        );
    };
    assert!(
        refused.contains("503") && refused.contains("storage_full"),
        "{refused}"
    );
    // What was counted is still told.
    steady.check(&node).await.unwrap();
    let client = Client::new().unwrap();
    assert_eq!(client.get(&node.http, "/health/live").await.unwrap().0, 200);
    assert_eq!(
        client.get(&node.http, "/health/ready").await.unwrap().0,
        200
    );

    disk.clear();
    let started = Instant::now();
    while let Err(error) = steady.send(&node, 1).await {
        assert!(
            started.elapsed() < NOTICED_AFTER_MAX,
            "space is not noticed: {error:#}"
        );
    }
    steady.send(&node, 10).await.unwrap();
    steady.check(&node).await.unwrap();
    // The disk goes before the folder that holds it, and after the node.
    node.terminate().await.unwrap();
    drop(disk);
}
