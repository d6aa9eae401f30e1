//! What a ring refuses, and that it says why: nodes that nobody could call, tokens that are no good, nodes that left,
//! changes that cannot be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Method, StatusCode};
use ringtail_peers::{NodeCredentials, PeerIdentity, Peers, admission_channel};
use ringtail_proto::{
    NodeId,
    wire::peer::{
        self, events_client::EventsClient, joining_client::JoiningClient, look_client::LookClient,
        raft_client::RaftClient, ring_client::RingClient,
    },
};
use serde_json::{Value, json};
use support::{
    Node, refused_start, refused_start_in,
    ring::{LOOK, PATIENCE, is_settled, ring_of_three, until_ring},
};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

fn new_token(node: &Node) -> String {
    let made = node.cli(&["token", "create"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    text(&made.stdout).trim().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_node_that_nobody_could_call_neither_joins_nor_is_joined() {
    let first = Node::start();
    let token = new_token(&first);
    let everywhere = ["--peer", "0.0.0.0:0"];
    let join = ["--join", &first.peer, "--token", &token];
    let said = refused_start(&[&everywhere[..], &join[..]].concat());
    assert!(said.contains("set peer_advertised"), "{said}");
    // The token was not spent on it.
    let second = Node::start_in(tempfile::tempdir().unwrap(), &join);
    drop(second);

    let open = Node::start_in(tempfile::tempdir().unwrap(), &everywhere);
    let made = open.cli(&["token", "create"]);
    let said = text(&made.stderr);
    assert!(!made.status.success());
    assert!(
        said.contains("start it with peer_advertised first"),
        "{said}"
    );
}

#[tokio::test]
async fn nodes_may_have_the_same_addresses_for_visitors_on_machines_of_their_own() {
    let first = Node::start();
    let channel = admission_channel(&first.peer, fingerprint(&new_token(&first)))
        .await
        .unwrap();
    let mut joining = JoiningClient::new(channel);
    let http = first.http.trim_start_matches("http://");
    let grpc = first.grpc.trim_start_matches("http://");
    let request = |token: &str, peer: &str| peer::JoinRequest {
        token: token.rsplit_once('.').unwrap().0.to_owned(),
        addresses: Some(peer::NodeAddresses {
            http: http.to_owned(),
            grpc: grpc.to_owned(),
            peer: peer.to_owned(),
        }),
        zone: String::new(),
        attempt: vec![7; 16].into(),
        feature_level: 2,
    };
    let token = new_token(&first);
    let taken = joining.join(request(&token, &first.peer)).await;
    let refusal = taken.unwrap_err();
    assert!(refusal.message().contains("belongs to node 1"), "{refusal}");
    let nobody_there = joining.join(request(&token, "127.0.0.1:9")).await;
    assert_eq!(nobody_there.unwrap().into_inner().node, 2);
    // Its answer was lost, it crashed, and came back elsewhere: the same node, at its new address.
    let again = joining.join(request(&token, "127.0.0.1:10")).await;
    assert_eq!(again.unwrap().into_inner().node, 2);
    let ring = first.admin(Method::GET, "/api/v1/ring", json!({})).await;
    assert_eq!(ring["nodes"][1]["peer"], json!("127.0.0.1:10"), "{ring:#}");
}

fn fingerprint(token: &str) -> [u8; 32] {
    let (_, digits) = token.rsplit_once('.').unwrap();
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(digits, &mut fingerprint).unwrap();
    fingerprint
}

/// The last entry of the metadata's log.
async fn last_metadata_entry(node: &Node) -> u64 {
    let ring = node.admin(Method::GET, "/api/v1/ring", json!({})).await;
    let group = &ring["groups"][0];
    assert_eq!(group["group"], json!(0));
    group["last"].as_u64().unwrap()
}

#[tokio::test]
async fn bad_tokens_cost_no_entry_and_whoever_goes_on_is_shut_out() {
    let first = Node::start();
    let token = new_token(&first);
    let fingerprint = fingerprint(&token);
    // Housekeeping of the start is over when nothing more is written.
    let mut before = last_metadata_entry(&first).await;
    loop {
        sleep(Duration::from_millis(1_500)).await;
        let now = last_metadata_entry(&first).await;
        if now == before {
            break;
        }
        before = now;
    }
    let channel = admission_channel(&first.peer, fingerprint).await.unwrap();
    let mut joining = JoiningClient::new(channel);
    let request = peer::JoinRequest {
        token: format!("1.{}", "a".repeat(64)),
        addresses: Some(peer::NodeAddresses {
            peer: "127.0.0.1:9".to_owned(),
            ..peer::NodeAddresses::default()
        }),
        attempt: vec![7; 16].into(),
        feature_level: 2,
        ..peer::JoinRequest::default()
    };
    let begin = Instant::now();
    let mut refused = 0;
    loop {
        let status = joining.join(request.clone()).await.unwrap_err();
        match status.code() {
            Code::PermissionDenied => {
                assert!(
                    status.message().contains("join token 1 is unknown"),
                    "{status}"
                );
            }
            Code::ResourceExhausted => break,
            _ => panic!("{status}"),
        }
        refused += 1;
        assert!(
            begin.elapsed() < PATIENCE && refused <= 1_000,
            "{refused} were heard"
        );
    }
    // The node's own notes may come in between; one for each refusal would be more.
    assert!(last_metadata_entry(&first).await < before + refused / 2);
    let (_, metrics) = first.send(Method::GET, "/metrics", None, "").await;
    let metrics = metrics.as_str().unwrap();
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("ringtail_replicate_joins_refused_total "));
    assert_eq!(counted, Some(&*(refused + 1).to_string()));
}

#[tokio::test]
async fn a_node_that_left_reaches_no_service_although_it_has_its_certificate() {
    let (mut nodes, token) = ring_of_three().await;
    let gone = nodes.pop().unwrap().kill();
    // What the node that left has: its certificate, and the others' addresses.
    let (_, ring) = nodes[0]
        .send(Method::GET, "/api/v1/status", Some(&token), "")
        .await;
    let cluster: uuid::Uuid = ring["node"]["cluster"].as_str().unwrap().parse().unwrap();
    let identity = PeerIdentity {
        cluster: cluster.as_u128(),
        node: NodeId(3),
    };
    let credentials = NodeCredentials::load(&gone.path().join("tls"), identity)
        .unwrap()
        .unwrap();
    let peers = Peers::new(&credentials).unwrap();
    let address = nodes[0].peer.clone();
    peers
        .set_addresses(&BTreeMap::from([(NodeId(1), address)]))
        .unwrap();
    let channel = peers.channel(NodeId(1)).unwrap();
    let mut look = LookClient::new(channel.clone());
    look.vitals(peer::VitalsRequest {}).await.unwrap();

    let removed = nodes[0].cli(&["remove", "3", "--force"]);
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    let said = text(&removed.stderr);
    assert!(said.contains("warning: with 2 active nodes left"), "{said}");

    let begin = Instant::now();
    while look.vitals(peer::VitalsRequest {}).await.is_ok() {
        assert!(begin.elapsed() < PATIENCE, "node 3 is still heard");
        sleep(LOOK).await;
    }
    let denied =
        |status: tonic::Status| assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    denied(look.vitals(peer::VitalsRequest {}).await.unwrap_err());
    let mut raft = RaftClient::new(channel.clone());
    denied(raft.vote(peer::VoteRequest::default()).await.unwrap_err());
    let appends = tokio_stream::iter([peer::AppendFrames::default()]);
    denied(raft.replicate(appends).await.unwrap_err());
    let mut events = EventsClient::new(channel.clone());
    let asked = events.ask_spooled(peer::AskSpooledRequest::default()).await;
    denied(asked.unwrap_err());
    let mut ring = RingClient::new(channel);
    denied(
        ring.fetch_salts(peer::FetchSaltsRequest {})
            .await
            .unwrap_err(),
    );
}

#[tokio::test]
async fn changes_that_cannot_be_are_refused_with_the_reason() {
    let (mut nodes, token) = ring_of_three().await;
    let refused = |node: &Node, arguments: &[&str], expect: &str| {
        let output = node.cli(arguments);
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(expect), "{arguments:?}: {said}");
    };
    refused(&nodes[0], &["replicas", "2"], "2 is not 1, 3 or 5");
    refused(
        &nodes[0],
        &["replicas", "5"],
        "5 replicas need as many active nodes, there are 3",
    );
    refused(&nodes[0], &["remove", "2"], "drain it first");
    refused(&nodes[0], &["drain", "9"], "there is no node 9");
    // Two of three votes are gone; with one more nobody could ever agree again.
    drop(nodes.pop());
    let forced = nodes[0].cli(&["remove", "3", "--force"]);
    assert!(forced.status.success(), "{}", text(&forced.stderr));
    until_ring(&nodes[0], &token, "settled on one replica each", |ring| {
        is_settled(ring, 1)
    })
    .await;
    let (_, ring) = nodes[0]
        .send(Method::GET, "/api/v1/ring", Some(&token), "")
        .await;
    let holds_groups = |id: u64| {
        let groups = ring["groups"].as_array().unwrap();
        let voters = groups
            .iter()
            .flat_map(|group| group["voters"].as_array().unwrap());
        voters.filter(|voter| **voter == json!(id)).count() > 0
    };
    assert!(holds_groups(2), "{ring:#}");
    refused(
        &nodes[0],
        &["remove", "2", "--force"],
        "would be left, fewer than a majority",
    );
}

#[tokio::test]
async fn what_an_older_binary_does_not_know_waits_for_it() {
    let older = [("RINGTAIL_FEATURE_LEVEL_MAX", "0")];
    let first = Node::start_with(tempfile::tempdir().unwrap(), &[], &older);
    let token = first.token();
    let join = new_token(&first);
    let join = ["--join", &first.peer, "--token", &join];
    let second = Node::start_with(tempfile::tempdir().unwrap(), &join, &older);
    // The first one is upgraded, the second is not yet.
    let data = timeout(PATIENCE, first.terminate()).await.unwrap();
    let first = Node::start_in(data, &[]);
    until_ring(&first, &token, "of two levels", |ring| {
        let nodes = ring["nodes"].as_array().unwrap();
        let levels: Vec<_> = nodes.iter().map(|node| &node["feature_level"]).collect();
        levels == [&json!(2), &json!(0)]
    })
    .await;
    let replicas = || first.cli(&["replicas", "1"]);
    let output = replicas();
    let said = text(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("feature level 1 on all nodes"), "{said}");
    let data = timeout(PATIENCE, second.terminate()).await.unwrap();
    let _second = Node::start_in(data, &[]);
    until_ring(&first, &token, "at level 2", |ring| {
        ring["feature_gate"] == json!(2)
    })
    .await;
    let output = replicas();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_node_of_one_ring_does_not_go_on_as_if_it_had_joined_another() {
    let first = Node::start();
    let token = new_token(&first);
    let join = ["--join", &first.peer, "--token", &token];
    let data = Node::start().kill();
    let said = refused_start_in(&data, &join);
    assert!(said.contains("the join token is another ring's"), "{said}");
    // It is as it was, and the token is not spent.
    let own = Node::start_in(data, &[]);
    let joined = Node::start_in(tempfile::tempdir().unwrap(), &join);
    drop((own, joined));
}

#[tokio::test]
async fn a_joiner_that_crashed_before_it_learned_the_ring_is_found_elsewhere() {
    let first = Node::start();
    let token = first.token();
    let join = new_token(&first);
    let join = ["--join", &first.peer, "--token", &join];
    let data = support::killed_once_it_is(tempfile::tempdir().unwrap(), &join, "node.id");
    // It will never lead with salts of its own.
    let salts = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    assert_eq!(salts(data.path().join("salts")), salts(first.path("salts")));
    // Without the token, and at another port.
    let second = Node::start_in(data, &[]);
    let ring = until_ring(&first, &token, "of two active nodes", |ring| {
        let nodes = ring["nodes"].as_array().unwrap();
        nodes.len() == 2 && nodes.iter().all(|node| node["state"] == json!("active"))
    })
    .await;
    assert_eq!(ring["nodes"][1]["peer"], json!(second.peer), "{ring:#}");
    // A token that is named again is left alone, and the node stays who it is.
    let data = second.kill();
    let second = Node::start_in(data, &join);
    let (status, answer) = second
        .send(Method::GET, "/api/v1/status", Some(&token), "")
        .await;
    assert_eq!((status, &answer["node"]["id"]), (StatusCode::OK, &json!(2)));
    let nodes: &Value = &first.admin(Method::GET, "/api/v1/ring", json!({})).await["nodes"];
    assert_eq!(nodes.as_array().unwrap().len(), 2);
}
