//! Three real nodes as one ring: joining, writing and reading anywhere, and the death of a node.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use ringtail_peers::admission_channel;
use ringtail_proto::wire::peer::{
    self, events_client::EventsClient, joining_client::JoiningClient, raft_client::RaftClient,
    ring_client::RingClient,
};
use serde_json::{Value, json};
use support::{Node, ring::*};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

#[tokio::test]
async fn events_sent_to_any_node_are_counted_once_on_every_node() {
    let (nodes, token) = ring_of_three().await;
    for number in 0..60 {
        send(&nodes[number as usize % 3], &token, number).await;
    }
    for number in 0..20 {
        send(&nodes[(number as usize + 1) % 3], &token, number).await;
    }
    for node in &nodes {
        until_counted(node, &token, 60).await;
    }
}

#[tokio::test]
async fn a_node_dies_and_the_others_go_on_and_it_comes_back() {
    let (mut nodes, token) = ring_of_three().await;
    for number in 0..30 {
        send(&nodes[number as usize % 3], &token, number).await;
    }
    let data = nodes.remove(0).kill();
    for number in 30..60 {
        send(&nodes[number as usize % 2], &token, number).await;
    }
    for node in &nodes {
        until_counted(node, &token, 60).await;
        until_ring(node, &token, "led by the two", |ring| {
            let groups = ring["groups"].as_array().unwrap();
            let led = groups.iter().map(|group| group["leader"].as_u64());
            led.collect::<BTreeSet<_>>()
                .is_subset(&[Some(2), Some(3)].into())
        })
        .await;
    }
    let back = Node::start_in(data, &[]);
    until_counted(&back, &token, 60).await;
    send(&back, &token, 60).await;
    for node in nodes.iter().chain([&back]) {
        until_counted(node, &token, 61).await;
    }
}

#[tokio::test]
async fn changes_through_any_node_are_known_on_every_node() {
    let (nodes, token) = ring_of_three().await;
    for (number, node) in nodes.iter().enumerate() {
        let body = json!({"domain": format!("site{number}.test")}).to_string();
        let (status, answer) = node
            .send(Method::POST, "/api/v1/sites", Some(&token), body)
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    for node in &nodes {
        let begin = Instant::now();
        loop {
            let (_, sites) = node
                .send(Method::GET, "/api/v1/sites", Some(&token), "")
                .await;
            if sites["sites"].as_array().unwrap().len() == 4 {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{sites}");
            sleep(LOOK).await;
        }
    }
}

/// What a command prints on a node.
fn said(node: &Node, token: &str, arguments: &[&str]) -> String {
    let output = node.cli_as(token, arguments);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

#[tokio::test]
async fn a_drained_node_holds_nothing_and_can_be_removed() {
    let (mut nodes, token) = ring_of_three().await;
    for number in 0..30 {
        send(&nodes[number as usize % 3], &token, number).await;
    }
    let plan = said(&nodes[1], &token, &["rebalance", "--dry-run"]);
    assert!(plan.contains("on their way:"), "{plan}");
    let status = said(&nodes[1], &token, &["status"]);
    assert!(status.contains(&nodes[2].peer), "{status}");
    // Taken back at once, it keeps what it has.
    said(&nodes[1], &token, &["drain", "3", "--no-wait"]);
    assert!(said(&nodes[1], &token, &["activate", "3"]).contains("node 3: active"));
    let drained = nodes[0].cli(&["drain", "3", "--json"]);
    assert!(
        drained.status.success(),
        "{}",
        String::from_utf8_lossy(&drained.stderr)
    );
    let node: Value = serde_json::from_slice(&drained.stdout).unwrap();
    assert_eq!((&node["replicas"], &node["leads"]), (&json!(0), &json!(0)));
    drop(nodes.pop());
    assert!(said(&nodes[0], &token, &["remove", "3"]).contains("node 3 does not answer"));
    let audit = said(&nodes[1], &token, &["audit", "--limit", "20"]);
    for expect in ["draining", "active", "left", "asked through the API"] {
        assert!(audit.contains(expect), "{expect} is missing in {audit}");
    }
    for number in 30..40 {
        send(&nodes[number as usize % 2], &token, number).await;
    }
    let begin = Instant::now();
    // Each group is held by one of the two that are left.
    while count(&nodes[0], &token).await != Some(40) && count(&nodes[1], &token).await != Some(40) {
        assert!(begin.elapsed() < PATIENCE, "40 expected");
        sleep(LOOK).await;
    }
}

#[test]
fn tokens_are_good_once_and_only_as_they_were_made() {
    let first = Node::start();
    let refused = |arguments: &[&str], expect: &str| {
        let data = tempfile::tempdir().unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringtail"))
            .args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
            .args(["--peer", "127.0.0.1:0", "--join", &first.peer])
            .arg("--data-dir")
            .arg(data.path())
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(text.contains(expect), "{arguments:?}: {text}");
    };
    refused(&["--token", "junk"], "id.secret.fingerprint");
    let strange = format!("1.{}.{}", "a".repeat(64), "b".repeat(64));
    refused(&["--token", &strange], "UnknownIssuer");
    let made = first.cli(&["token", "create"]);
    let token = String::from_utf8(made.stdout).unwrap();
    let token = token.trim();
    let (_, fingerprint) = token.rsplit_once('.').unwrap();
    let wrong = format!("1.{}.{fingerprint}", "a".repeat(64));
    refused(&["--token", &wrong], "refuses to let this node join");
    let join = ["--join", &first.peer, "--token", token];
    let _second = Node::start_in(tempfile::tempdir().unwrap(), &join);
    refused(&["--token", token], "refuses to let this node join");
}

#[tokio::test]
async fn callers_without_a_certificate_reach_no_service_but_the_one_that_admits() {
    let first = Node::start();
    let made = first.cli(&["token", "create"]);
    let token = String::from_utf8(made.stdout).unwrap();
    let (_, digits) = token.trim().rsplit_once('.').unwrap();
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(digits, &mut fingerprint).unwrap();
    let channel = admission_channel(&first.peer, fingerprint).await.unwrap();
    let is_refused = |status: Status| assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let mut raft = RaftClient::new(channel.clone());
    let vote = raft.vote(peer::VoteRequest::default()).await;
    is_refused(vote.unwrap_err());
    let appends = tokio_stream::iter([peer::AppendFrames::default()]);
    is_refused(raft.replicate(appends).await.unwrap_err());
    let rows = tokio_stream::iter([peer::SnapshotChunk::default()]);
    is_refused(raft.install_snapshot(rows).await.unwrap_err());
    let mut ring = RingClient::new(channel.clone());
    let salts = ring.fetch_salts(peer::FetchSaltsRequest {}).await;
    is_refused(salts.unwrap_err());
    let entry = ring.propose(peer::ProposeRequest::default()).await;
    is_refused(entry.unwrap_err());
    let mut events = EventsClient::new(channel.clone());
    let kept = events
        .keep_spooled(peer::KeepSpooledRequest::default())
        .await;
    is_refused(kept.unwrap_err());
    let mut joining = JoiningClient::new(channel);
    let join = joining.join(peer::JoinRequest::default()).await;
    assert_eq!(join.unwrap_err().code(), Code::InvalidArgument);
}
