//! The archive of real nodes: what was acknowledged is sealed, copied to the others, and checked.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{collections::BTreeSet, fs, path::Path};

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    Node, refused_start_in,
    ring::{LOOK, PATIENCE, SITE, is_settled, send, until_counted, until_ring},
};
use tokio::time::{Instant, sleep};

/// Each node archives into its own directory, and is soon ready to.
const OWN: &[(&str, &str)] = &[
    ("RINGTAIL_ARCHIVE", "own"),
    ("RINGTAIL_CHECKPOINT_DIRTY_SECONDS_MAX", "1"),
];

fn start() -> Node {
    Node::start_with(tempfile::tempdir().unwrap(), &[], OWN)
}

async fn ask(node: &Node, token: &str, method: Method, path: &str) -> Value {
    let (status, answer) = node.send(method, path, Some(token), "{}").await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

fn objects(archive: &Value) -> Vec<&Value> {
    let groups = archive["groups"].as_array().unwrap().iter();
    groups
        .flat_map(|group| group["objects"].as_array().unwrap())
        .collect()
}

fn rows_of(archive: &Value, table: &str) -> u64 {
    let of_table = objects(archive)
        .into_iter()
        .filter(|object| object["table"] == json!(table));
    of_table
        .map(|object| object["rows"].as_u64().unwrap())
        .sum()
}

/// Seals until the archive, as this node knows it, holds so many events.
async fn until_sealed(nodes: &[Node], token: &str, events: u64) -> Value {
    let begin = Instant::now();
    loop {
        for node in nodes {
            ask(node, token, Method::POST, "/api/v1/archive/seal").await;
        }
        let archive = ask(&nodes[0], token, Method::GET, "/api/v1/archive").await;
        let found = rows_of(&archive, "events");
        if found == events {
            return archive;
        }
        assert!(found < events && begin.elapsed() < PATIENCE, "{archive:#}");
        sleep(LOOK).await;
    }
}

/// The objects that lie below a directory.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "parquet") {
                let name = path.strip_prefix(directory).unwrap();
                found.insert(name.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[tokio::test]
async fn what_was_acknowledged_is_sealed_and_damage_is_found() {
    let node = start();
    let token = node.token();
    let site = json!({"domain": SITE});
    node.admin(Method::POST, "/api/v1/sites", site).await;
    for number in (0..20).chain(0..5) {
        send(&node, &token, number).await;
    }
    let nodes = [node];
    let archive = until_sealed(&nodes, &token, 25).await;
    assert!(rows_of(&archive, "changes") > 0, "the site's settings");
    let [node] = nodes;
    let verified = node.cli(&["archive", "verify"]);
    assert!(verified.status.success());
    let listed = node.cli(&["archive", "ls"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("table=events"), "{listed}");

    let paths = node.cli(&["archive", "ls", "--paths"]);
    let paths = String::from_utf8(paths.stdout).unwrap();
    assert!(
        paths.lines().all(|path| Path::new(path).is_file()),
        "{paths}"
    );

    let damaged = objects(&archive)[0]["path"].as_str().unwrap();
    let file = node.path("archive").join(damaged);
    let good = fs::read(&file).unwrap();
    let mut altered = good.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    for bytes in [Some(&altered[..]), Some(&good[..middle]), None] {
        match bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let verified = node.cli(&["archive", "verify"]);
        assert!(!verified.status.success());
        let said = String::from_utf8(verified.stdout).unwrap();
        assert!(said.contains(damaged), "{said}");
    }
    fs::write(&file, &good).unwrap();
    assert!(node.cli(&["archive", "verify"]).status.success());
}

#[tokio::test]
async fn a_restart_keeps_the_archive_and_goes_on_with_it() {
    let node = start();
    let token = node.token();
    let site = json!({"domain": SITE});
    node.admin(Method::POST, "/api/v1/sites", site).await;
    for number in 0..10 {
        send(&node, &token, number).await;
    }
    until_sealed(std::slice::from_ref(&node), &token, 10).await;
    for number in 10..15 {
        send(&node, &token, number).await;
    }
    let node = Node::start_with(node.kill(), &[], OWN);
    until_counted(&node, &token, 15).await;
    let archive = until_sealed(std::slice::from_ref(&node), &token, 15).await;
    let group = archive["groups"].as_array().unwrap().iter();
    let mut ends: Vec<(u64, u64)> = group
        .flat_map(|group| group["objects"].as_array().unwrap())
        .filter(|object| object["table"] == json!("events"))
        .map(|object| {
            let end = |name: &str| object[name].as_u64().unwrap();
            (end("first_index"), end("last_index"))
        })
        .collect();
    ends.sort_unstable();
    let is_apart = |pair: &[(u64, u64)]| pair[0].1 < pair[1].0;
    assert!(ends.len() >= 2 && ends.windows(2).all(is_apart), "{ends:?}");
}

#[tokio::test]
async fn every_node_of_a_ring_gets_what_a_leader_sealed() {
    let first = start();
    let token = first.token();
    let site = json!({"domain": SITE});
    first.admin(Method::POST, "/api/v1/sites", site).await;
    let second = first.start_joining_with(OWN);
    let third = first.start_joining_with(OWN);
    let nodes = [first, second, third];
    for node in &nodes {
        until_ring(node, &token, "settled on three", |ring| is_settled(ring, 3)).await;
    }
    for number in 0..30 {
        send(&nodes[number as usize % 3], &token, number).await;
    }
    until_sealed(&nodes, &token, 30).await;
    for node in &nodes {
        let begin = Instant::now();
        loop {
            let archive = ask(node, &token, Method::GET, "/api/v1/archive").await;
            let named = objects(&archive).into_iter();
            let named = named.map(|object| object["path"].as_str().unwrap().to_owned());
            let named: BTreeSet<String> = named.collect();
            let held = files(&node.path("archive"));
            if rows_of(&archive, "events") == 30 && held.is_superset(&named) {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{held:?} of {named:?}");
            sleep(LOOK).await;
        }
        let verified = ask(node, &token, Method::POST, "/api/v1/archive/verify").await;
        assert_eq!(verified["wrong"], json!(0), "{verified:#}");
    }
    what_is_damaged_is_got_from_another_node(&nodes[1], &token).await;
}

async fn what_is_damaged_is_got_from_another_node(node: &Node, token: &str) {
    let named = files(&node.path("archive")).into_iter().next().unwrap();
    fs::write(node.path("archive").join(named), "something else").unwrap();
    let verify = "/api/v1/archive/verify";
    let verified = ask(node, token, Method::POST, verify).await;
    assert_eq!(verified["wrong"], json!(1), "{verified:#}");
    let begin = Instant::now();
    loop {
        let verified = ask(node, token, Method::POST, verify).await;
        if verified["wrong"] == json!(0) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{verified:#}");
        sleep(LOOK).await;
    }
}

#[tokio::test]
async fn an_archive_of_another_ring_is_refused() {
    let theirs = start();
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = folder.path().join("ringtail.toml");
    let archive = theirs.path("archive");
    fs::write(
        &config,
        format!("archive = \"file://{}\"\n", archive.display()),
    )
    .unwrap();
    let said = refused_start_in(&data, &["--config", config.to_str().unwrap()]);
    assert!(said.contains("cluster"), "{said}");
    fs::write(&config, "archive = \"ftp://elsewhere\"\n").unwrap();
    let said = refused_start_in(&data, &["--config", config.to_str().unwrap()]);
    assert!(said.contains("file: nor with s3:"), "{said}");
}

#[tokio::test]
async fn a_node_without_an_archive_says_so() {
    let node = Node::start();
    let said = node.cli(&["archive", "seal"]);
    assert!(!said.status.success());
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("archives nothing"), "{said}");
}
