//! Servers that are frozen or killed under load, and leaders that are.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    load::Load,
    shared::{Shared, assert_success, plain, start, start_joining, store_init},
    support::{
        Node,
        ring::{is_settled, until_ring},
    },
};

pub(crate) fn under_load(shared: &mut Shared) {
    const KEYSPACE: &str = "outage";
    let environment = shared.environment(KEYSPACE);
    let first = start(&environment);
    assert_success(&store_init(&first, &environment));
    let mut load = Load::new(shared, &first, 3);
    let (second, third) = (
        start_joining(&first, &environment),
        start_joining(&first, &environment),
    );
    let mut nodes = vec![first, second, third];
    settle(shared, &nodes);
    load.send(shared, &nodes[0], 1_000);
    load.until_equal(shared, &nodes, KEYSPACE);

    shared.cassandra.node(0).freeze().unwrap();
    send_without_an_error(shared, &mut load, &nodes, 3_000);
    until_lagging(shared, &nodes);
    answers(shared, &nodes);
    // Whoever leads writes nothing, whoever comes next finds the same notes.
    let killed = nodes.remove(1).kill();
    load.send(shared, &nodes[0], 500);
    nodes.push(Node::start_with(killed, &[], &plain(&environment)));
    settle(shared, &nodes);
    shared.cassandra.node(0).thaw().unwrap();
    load.send(shared, &nodes[2], 500);
    load.until_equal(shared, &nodes, KEYSPACE);

    shared.cassandra.node(0).kill();
    let begin = Instant::now();
    send_without_an_error(shared, &mut load, &nodes, 20_000);
    let sending = begin.elapsed();
    until_lagging(shared, &nodes);
    answers(shared, &nodes);
    shared.cassandra.node(0).start().unwrap();
    let begin = Instant::now();
    load.until_equal(shared, &nodes, KEYSPACE);
    // For whoever reads it; what it is depends on the machine.
    println!(
        "sent in {sending:.1?}, caught up in {:.1?}",
        begin.elapsed()
    );

    // A leader that stands still in the middle of its work goes on when others lead.
    load.send(shared, &nodes[1], 2_000);
    nodes[0].freeze();
    let rest = &nodes[1..];
    load.send(shared, &rest[0], 2_000);
    std::thread::sleep(Duration::from_secs(3));
    nodes[0].go_on();
    load.send(shared, &nodes[0], 500);
    load.until_equal(shared, &nodes, KEYSPACE);
}

fn settle(shared: &Shared, nodes: &[Node]) {
    let token = token(nodes);
    for node in nodes {
        let settled = until_ring(node, &token, "settled on three", |ring| is_settled(ring, 3));
        shared.runtime.block_on(settled);
    }
}

/// The ring's administrator is known where the ring began.
fn token(nodes: &[Node]) -> String {
    nodes[0].token()
}

/// All nodes take events, each at the first attempt.
fn send_without_an_error(shared: &Shared, load: &mut Load, nodes: &[Node], events: u64) {
    let refused = load.refused;
    for part in 0..events / 100 {
        load.send(shared, &nodes[part as usize % nodes.len()], 100);
    }
    assert_eq!(load.refused, refused, "no request is refused");
}

/// Some leader's mirror falls behind and says so.
fn until_lagging(shared: &Shared, nodes: &[Node]) {
    let begin = Instant::now();
    let token = token(nodes);
    let is_lagging = |node: &Node| {
        let asked = node.send(Method::GET, "/api/v1/status", Some(&token), "");
        let (_, status) = shared.runtime.block_on(asked);
        let mirror = &status["mirror"];
        let groups = mirror["groups"].as_array().unwrap();
        mirror["state"] != json!("up") && groups.iter().any(|group| group["lag"] != json!(0))
    };
    while !nodes.iter().any(is_lagging) {
        assert!(begin.elapsed() < crate::shared::PATIENCE, "nobody lags");
        std::thread::sleep(crate::shared::LOOK);
    }
}

/// Reports are answered by every node.
fn answers(shared: &Shared, nodes: &[Node]) {
    let token = token(nodes);
    let query = json!({"site_id": "site0.test", "metrics": ["pageviews"], "date_range": "day"});
    for node in nodes {
        let asked = node.send(
            Method::POST,
            "/api/v2/query",
            Some(&token),
            query.to_string(),
        );
        let (status, answer) = shared.runtime.block_on(asked);
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}
