//! A local archive on a disk that is really full.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::{fs, path::Path, process::Command};

use bytes::Bytes;
use common::{log::LogMaker, options};
use futures::TryStreamExt;
use ringtail_archive::{Archive, ArchiveError, ArchiveOptions, BuiltObject, Location};
use ringtail_proto::stored::ArchiveObject;

/// A file system of 256 KiB in memory, gone when it is dropped.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// None where a test may not mount anything.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(directory.path())
            .output()
            .ok()?;
        mounted.status.success().then_some(Self { directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}

fn object(bytes: usize) -> BuiltObject {
    let bytes: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
    BuiltObject {
        object: ArchiveObject {
            path: format!(
                "v1/table=events/group=1/received=2026-11-22/{}",
                bytes.len()
            )
            .into(),
            hash: Bytes::copy_from_slice(blake3::hash(&bytes).as_bytes()),
            bytes: bytes.len() as u64,
            ..ArchiveObject::default()
        },
        bytes: bytes.into(),
    }
}

fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.file_name().into_string().unwrap()),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        // The same error from a store that says so is tested among the faults.
        return;
    };
    for part_bytes_max in [64 << 10, 1 << 20] {
        let options = ArchiveOptions {
            part_bytes_max,
            ..options(Location::Local(
                disk.path().join(part_bytes_max.to_string()),
            ))
        };
        let archive = Archive::open(options, "ring").await.unwrap();
        let (small, large) = (object(100 << 10), object(200 << 10));
        archive.put(&small).await.unwrap();
        let error = archive.put(&large).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Full { .. }), "{error}");
        assert_eq!(archive.get(&small.object).await.unwrap(), small.bytes);
        let error = archive.get(&large.object).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Missing { .. }), "{error}");
        // Nothing half written stays to fill the disk.
        let listed: Vec<_> = archive.list("v1").try_collect().await.unwrap();
        assert_eq!(listed.len(), 2);
        archive.delete(&listed_path(&small)).await.unwrap();
        archive.put(&large).await.unwrap();
        assert_eq!(archive.get(&large.object).await.unwrap(), large.bytes);
        archive.delete(&listed_path(&large)).await.unwrap();
        let directory = disk.path().join(part_bytes_max.to_string());
        assert_eq!(files(&directory), ["cluster.json"]);
    }
}

fn listed_path(built: &BuiltObject) -> String {
    String::from_utf8(built.object.path.to_vec()).unwrap()
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_swept_when_the_archive_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let location = || options(Location::Local(directory.path().into()));
    let archive = Archive::open(location(), "ring").await.unwrap();
    let built = common::log::seal(1, &LogMaker::new(1, 1).entries(5)).swap_remove(0);
    archive.put(&built).await.unwrap();
    let file = directory.path().join(listed_path(&built));
    fs::write(format!("{}#1", file.display()), "half").unwrap();
    fs::write(format!("{}#23", file.display()), "half").unwrap();
    assert_eq!(files(directory.path()).len(), 4);
    let archive = Archive::open(location(), "ring").await.unwrap();
    assert_eq!(files(directory.path()).len(), 2);
    assert_eq!(archive.get(&built.object).await.unwrap(), built.bytes);
}
