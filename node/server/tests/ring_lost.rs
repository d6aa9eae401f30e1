//! A machine that lost its disk, and comes back at its address with nothing but a token.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use ringtail_peers::admission_channel;
use ringtail_proto::wire::peer::{self, joining_client::JoiningClient};
use serde_json::{Value, json};
use support::{
    Node,
    ring::{is_settled, ring_of_three, send, until_counted, until_ring},
};
use tonic::{Code, Status};

fn new_token(node: &Node) -> String {
    let made = node.cli(&["token", "create"]);
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn state_of(ring: &Value, node: u64) -> &Value {
    let mut nodes = ring["nodes"].as_array().unwrap().iter();
    let found = nodes.find(|found| found["id"] == json!(node));
    found.map_or(&Value::Null, |node| &node["state"])
}

#[tokio::test]
async fn a_machine_without_its_disk_joins_at_its_old_address_and_takes_over_from_its_old_self() {
    let (mut nodes, token) = ring_of_three().await;
    for number in 0..30 {
        send(&nodes[number as usize % 3], &token, number).await;
    }
    let lost = nodes.pop().unwrap();
    let address = lost.peer.clone();
    drop(lost.kill());
    let join_token = new_token(&nodes[0]);
    let arguments = [
        "--peer",
        &address,
        "--join",
        &nodes[0].peer,
        "--token",
        &join_token,
    ];
    let back = Node::start_in(tempfile::tempdir().unwrap(), &arguments);
    assert_eq!(back.peer, address);
    nodes.push(back);
    for node in &nodes {
        until_ring(node, &token, "settled on the new three", |ring| {
            is_settled(ring, 3) && *state_of(ring, 3) == json!("left")
        })
        .await;
    }
    // Three whole replicas: any two carry on without the third.
    drop(nodes.remove(1).kill());
    send(&nodes[1], &token, 30).await;
    for node in &nodes {
        until_counted(node, &token, 31).await;
    }
}

/// What a joiner at an address is told.
async fn join_at(node: &Node, token: &str, address: &str) -> Result<peer::JoinReply, Status> {
    let (secret, digits) = token.rsplit_once('.').unwrap();
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(digits, &mut fingerprint).unwrap();
    let channel = admission_channel(&node.peer, fingerprint).await.unwrap();
    let request = peer::JoinRequest {
        token: secret.to_owned(),
        addresses: Some(peer::NodeAddresses {
            peer: address.to_owned(),
            ..peer::NodeAddresses::default()
        }),
        zone: String::new(),
        attempt: vec![7; 16].into(),
        feature_level: 2,
    };
    let joined = JoiningClient::new(channel).join(request).await;
    joined.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn nobody_takes_the_address_of_a_node_that_is_well_or_cannot_be_missed() {
    let (mut nodes, _token) = ring_of_three().await;
    let join_token = new_token(&nodes[0]);
    let refusal = loop {
        let well = join_at(&nodes[0], &join_token, &nodes[1].peer).await;
        let refusal = well.unwrap_err();
        // It may take a moment to answer.
        if refusal.code() != Code::Unavailable {
            break refusal;
        }
    };
    assert_eq!(refusal.code(), Code::PermissionDenied);
    assert!(refusal.message().contains("node 2 is well"), "{refusal}");
    // Nor does the node that is asked give its own away.
    let own = join_at(&nodes[0], &join_token, &nodes[0].peer).await;
    assert!(own.unwrap_err().message().contains("node 1 is well"));
    // One that was killed has its time first, so that a restart is no loss.
    let address = nodes[2].peer.clone();
    drop(nodes.pop().unwrap().kill());
    let early = join_at(&nodes[0], &join_token, &address).await.unwrap_err();
    assert_eq!(early.code(), Code::Unavailable, "{early}");
    assert!(early.message().contains("to answer"), "{early}");
    // Who only guesses learns nothing of all that.
    let (_, digits) = join_token.rsplit_once('.').unwrap();
    let guess = format!("99.{}.{digits}", "a".repeat(64));
    let guessed = join_at(&nodes[0], &guess, &address).await.unwrap_err();
    assert!(guessed.message().contains("is unknown"), "{guessed}");
}

#[tokio::test]
async fn a_node_that_alone_holds_a_group_is_not_given_up() {
    let first = Node::start();
    let token = new_token(&first);
    let refusal = join_at(&first, &token, &first.peer).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal}");
    assert!(refusal.message().contains("belongs to node 1"), "{refusal}");
}
