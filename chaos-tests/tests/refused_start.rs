//! A node that must not start says why in one line and ends with a code of its own.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use ringtail_chaos::process::{Node, NodeOptions, Refusal};

const DATA_DIRECTORY: Option<i32> = Some(5);
const ADDRESS: Option<i32> = Some(6);

async fn started_once(folder: &Path, name: &str) -> NodeOptions {
    let node = Node::start(NodeOptions::new(folder.join(name)).unwrap())
        .await
        .unwrap();
    node.terminate().await.unwrap()
}

fn check(refusal: &Refusal, code: Option<i32>, expect: &str) {
    assert_eq!(refusal.status.code(), code, "{}", refusal.message);
    let said = refusal.message.lines().find(|line| line.contains(expect));
    assert!(
        said.is_some(),
        "nothing about `{expect}` in: {}",
        refusal.message
    );
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_its_node_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions::new(folder.path().join("data")).unwrap())
        .await
        .unwrap();
    let refusal = node.options().start_refused().await.unwrap();
    check(&refusal, DATA_DIRECTORY, "in use");
    node.terminate().await.unwrap();
}

#[tokio::test]
async fn a_directory_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = started_once(folder.path(), "data").await;
    fs::write(options.data_dir.join("format"), "ringtail 99\n").unwrap();
    check(
        &options.start_refused().await.unwrap(),
        DATA_DIRECTORY,
        "99",
    );
}

#[tokio::test]
async fn a_directory_of_another_cluster_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = started_once(folder.path(), "data").await;
    let other = started_once(folder.path(), "other").await;
    fs::copy(
        other.data_dir.join("node.id"),
        options.data_dir.join("node.id"),
    )
    .unwrap();
    check(
        &options.start_refused().await.unwrap(),
        DATA_DIRECTORY,
        "cluster",
    );
}

#[tokio::test]
async fn a_directory_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("holiday.jpg"), "not ours").unwrap();
    let refusal = NodeOptions::new(&data)
        .unwrap()
        .start_refused()
        .await
        .unwrap();
    check(&refusal, DATA_DIRECTORY, "not a data directory");
}

#[tokio::test]
async fn ports_in_use_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions::new(folder.path().join("first")).unwrap())
        .await
        .unwrap();
    for (flag, address) in [("--http", &node.http), ("--grpc", &node.grpc)] {
        let mut options = NodeOptions::new(folder.path().join(format!("second{flag}"))).unwrap();
        options.arguments = vec![flag.to_owned(), address.clone()];
        check(&options.start_refused().await.unwrap(), ADDRESS, address);
    }
    node.terminate().await.unwrap();
}
