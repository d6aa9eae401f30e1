//! One suite for every kind of store: a local directory and a real S3 server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::{
    log::{LogMaker, seal},
    options,
    s3::S3Server,
};
use futures::{TryStreamExt, stream};
use ringtail_archive::{Archive, ArchiveError, ArchiveOptions, BuiltObject, Location};
use ringtail_proto::stored::ArchiveObject;

async fn conformance(location: &Location, other: &Location) {
    let archive = Archive::open(options(location.clone()), "ring-a")
        .await
        .unwrap();
    what_is_put_is_got_back(&archive).await;
    large_objects_go_in_parts(location).await;
    what_is_missing_or_different_is_an_error(&archive).await;
    copies_are_taken_only_when_they_are_right(&archive).await;
    lists_name_what_is_there(&archive).await;
    a_place_belongs_to_one_cluster(location, other).await;
}

fn objects(seed: u64) -> Vec<BuiltObject> {
    seal(3, &LogMaker::new(seed, 3).entries(30))
}

async fn what_is_put_is_got_back(archive: &Archive) {
    for built in objects(1) {
        assert!(!archive.holds(&built.object).await.unwrap());
        archive.put(&built).await.unwrap();
        archive.put(&built).await.unwrap();
        assert!(archive.holds(&built.object).await.unwrap());
        assert_eq!(archive.get(&built.object).await.unwrap(), built.bytes);
        let path = String::from_utf8(built.object.path.to_vec()).unwrap();
        archive.delete(&path).await.unwrap();
        archive.delete(&path).await.unwrap();
        let error = archive.get(&built.object).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Missing { .. }), "{error}");
    }
}

/// More than two parts.
fn large(number: usize) -> BuiltObject {
    let bytes: Vec<u8> = (0..13_usize << 20)
        .map(|n| (n * 7 + number) as u8)
        .collect();
    let path = format!("v1/table=events/group=1/received=2026-11-22/large-{number}.parquet");
    BuiltObject {
        object: ArchiveObject {
            path: path.into(),
            hash: Bytes::copy_from_slice(blake3::hash(&bytes).as_bytes()),
            bytes: bytes.len() as u64,
            ..ArchiveObject::default()
        },
        bytes: bytes.into(),
    }
}

async fn large_objects_go_in_parts(location: &Location) {
    let options = ArchiveOptions {
        part_bytes_max: 5 << 20,
        ..options(location.clone())
    };
    let archive = Archive::open(options, "ring-a").await.unwrap();
    let built = large(0);
    archive.put(&built).await.unwrap();
    assert_eq!(archive.get(&built.object).await.unwrap(), built.bytes);
    archive
        .delete(std::str::from_utf8(&built.object.path).unwrap())
        .await
        .unwrap();
}

async fn what_is_missing_or_different_is_an_error(archive: &Archive) {
    let built = objects(2).swap_remove(0);
    archive.put(&built).await.unwrap();
    let mut other = built.object.clone();
    other.hash = Bytes::from_static(&[7; 32]);
    let error = archive.get(&other).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    for bytes in [built.object.bytes - 1, built.object.bytes + 1] {
        other.bytes = bytes;
        let error = archive.get(&other).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
        assert!(!archive.holds(&other).await.unwrap());
    }
    other.bytes = archive.options().object_bytes_max + 1;
    let error = archive.get(&other).await.unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");
    let wrong = BuiltObject {
        bytes: built.bytes.slice(1..),
        ..built
    };
    let error = archive.put(&wrong).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
}

async fn copies_are_taken_only_when_they_are_right(archive: &Archive) {
    let built = objects(3).swap_remove(0);
    let pieces = |bytes: &Bytes| {
        let pieces: Vec<Result<Bytes, String>> = bytes
            .chunks(1000)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        pieces
    };
    let mut cut = pieces(&built.bytes);
    cut.pop();
    let mut broken = cut.clone();
    broken.push(Err("the peer hung up".to_owned()));
    let mut long = pieces(&built.bytes);
    long.push(Ok(Bytes::from_static(b"x")));
    let mut altered = built.bytes.to_vec();
    altered[50] ^= 1;
    for wrong in [cut, broken, long, pieces(&altered.into())] {
        let copied = archive.copy_in(&built.object, stream::iter(wrong)).await;
        assert!(matches!(copied, Err(ArchiveError::Damaged { .. })));
        assert!(!archive.holds(&built.object).await.unwrap());
    }
    archive
        .copy_in(&built.object, stream::iter(pieces(&built.bytes)))
        .await
        .unwrap();
    assert_eq!(archive.get(&built.object).await.unwrap(), built.bytes);
}

async fn lists_name_what_is_there(archive: &Archive) {
    let before = names(archive, "v1").await;
    let built = objects(4);
    for object in &built {
        archive.put(object).await.unwrap();
    }
    let mut wanted = before.clone();
    for object in &built {
        wanted.insert(String::from_utf8(object.object.path.to_vec()).unwrap());
    }
    assert_eq!(names(archive, "v1").await, wanted);
    assert!(wanted.contains("v1/cluster.json"));
    wanted.retain(|path| path.starts_with("v1/table=changes/"));
    assert!(!wanted.is_empty());
    assert_eq!(names(archive, "v1/table=changes").await, wanted);
    assert_eq!(names(archive, "v1/table=nothing").await, BTreeSet::new());
}

async fn names(archive: &Archive, folder: &str) -> BTreeSet<String> {
    let listed: Vec<_> = archive.list(folder).try_collect().await.unwrap();
    listed
        .into_iter()
        .map(|object| {
            assert!(object.bytes > 0);
            assert!(object.modified.0 > 1_700_000_000_000);
            object.path
        })
        .collect()
}

async fn a_place_belongs_to_one_cluster(location: &Location, other: &Location) {
    Archive::open(options(location.clone()), "ring-a")
        .await
        .unwrap();
    let error = Archive::open(options(location.clone()), "ring-b")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ArchiveError::OtherCluster { found, expected, .. } if found == "ring-a" && expected == "ring-b"),
        "{error}"
    );
    Archive::open(options(other.clone()), "ring-b")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_local_directory_is_an_archive() {
    let directory = tempfile::tempdir().unwrap();
    let location = |name: &str| Location::Local(directory.path().join(name));
    conformance(&location("a/deep/one"), &location("b")).await;
}

#[tokio::test]
async fn a_bucket_is_an_archive() {
    let server = S3Server::start().await;
    conformance(
        &server.location("some/prefix", common::s3::SECRET),
        &server.location("", common::s3::SECRET),
    )
    .await;
}

#[tokio::test]
async fn a_wrong_key_is_refused_without_waiting() {
    let server = S3Server::start().await;
    let location = server.location("a", "guessed");
    let error = Archive::open(options(location), "ring").await.unwrap_err();
    assert!(matches!(error, ArchiveError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_archive_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("v1/cluster.json");
    std::fs::create_dir(directory.path().join("v1")).unwrap();
    let open = || {
        let location = Location::Local(directory.path().into());
        Archive::open(options(location), "ring")
    };
    std::fs::write(&file, r#"{"format":2,"cluster":"ring"}"#).unwrap();
    let error = open().await.unwrap_err();
    assert!(matches!(error, ArchiveError::Newer { .. }), "{error}");
    std::fs::write(&file, "{").unwrap();
    let error = open().await.unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    std::fs::write(&file, r#"{"format":1,"cluster":"ring"}"#).unwrap();
    open().await.unwrap();
}

#[tokio::test]
async fn of_clusters_that_come_at_once_one_has_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let open = async |number: u32| {
        let cluster = format!("ring-{}", number % 4);
        let place = Location::Local(directory.path().into());
        Archive::open(options(place), &cluster).await
    };
    let opened = futures::future::join_all((0..16).map(open)).await;
    let winners: BTreeSet<usize> = opened
        .iter()
        .zip(0_usize..)
        .filter(|(opened, _)| opened.is_ok())
        .map(|(_, number)| number % 4)
        .collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    for error in opened.into_iter().filter_map(Result::err) {
        assert!(
            matches!(error, ArchiveError::OtherCluster { .. }),
            "{error}"
        );
    }
}
