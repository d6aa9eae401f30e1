//! Reports, events and imports through nodes that do not hold the site, and answers that never go back.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{collections::BTreeSet, io::Write as _};

use reqwest::{Method, StatusCode};
use ringtail_proto::SiteId;
use ringtail_ring::SlotTable;
use serde_json::{Value, json};
use support::{Node, ring::*};
use tokio::time::{Instant, sleep};

/// The answer to the site's page views of today.
async fn report(node: &Node, token: &str, session: Option<&Value>) -> (StatusCode, Value) {
    let mut query = json!({"site_id": SITE, "metrics": ["pageviews"], "date_range": "all"});
    if let Some(session) = session {
        query["session"] = session.clone();
    }
    let query = query.to_string();
    node.send(Method::POST, "/api/v2/query", Some(token), query)
        .await
}

/// Waits for a report as it should be; a node that is behind may say so first.
async fn until_report(
    node: &Node,
    token: &str,
    session: Option<&Value>,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    let begin = Instant::now();
    loop {
        let (status, answer) = report(node, token, session).await;
        if status == StatusCode::OK && is_so(&answer) {
            return answer;
        }
        let is_possible = status == StatusCode::OK || status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(
            is_possible && begin.elapsed() < PATIENCE,
            "{status} {answer}"
        );
        sleep(LOOK).await;
    }
}

/// Four nodes, so that each group is not on one of them.
async fn ring_of_four() -> (Vec<Node>, String) {
    let (mut nodes, token) = ring_of_three().await;
    nodes.push(nodes[0].start_joining());
    for node in &nodes {
        until_ring(node, &token, "settled on four", |ring| {
            let groups = ring["groups"].as_array().unwrap();
            let is_settled = groups.iter().all(|group| group["settled"] == json!(true));
            is_settled && ring["plan"]["done"] == json!(true) && voters(ring).len() == 4
        })
        .await;
    }
    (nodes, token)
}

/// All nodes that vote in some partition.
fn voters(ring: &Value) -> BTreeSet<u64> {
    let groups = ring["groups"].as_array().unwrap().iter();
    let partitions = groups.filter(|group| group["group"] != json!(0));
    partitions
        .flat_map(|group| group["voters"].as_array().unwrap())
        .map(|node| node.as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn every_node_answers_for_every_site() {
    let (nodes, token) = ring_of_four().await;
    for number in 0..40 {
        send(&nodes[number as usize % 4], &token, number).await;
    }
    for node in &nodes {
        until_counted(node, &token, 40).await;
        let answer = until_report(node, &token, None, |answer| {
            answer["meta"]["is_fresh"] == json!(true)
        })
        .await;
        assert_eq!(answer["query"]["site_id"], json!(SITE));
        let id = uuid::Uuid::from_u128(7 + (1 << 90));
        let path = format!("/api/v1/events/{id}?site={SITE}");
        let (status, event) = node.send(Method::GET, &path, Some(&token), "").await;
        assert_eq!(status, StatusCode::OK, "{event}");
        assert_eq!(event["verdict"], json!("accepted"), "{event}");
        let path = format!("/api/v1/events/{}?site={SITE}", uuid::Uuid::nil());
        let (status, event) = node.send(Method::GET, &path, Some(&token), "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{event}");
        let begin = Instant::now();
        while current_visitors(node, &token).await != 7 {
            assert!(begin.elapsed() < PATIENCE, "7 visitors expected");
            sleep(LOOK).await;
        }
    }
}

async fn current_visitors(node: &Node, token: &str) -> u64 {
    let count = current_count(node, token).await;
    count["visitors"].as_u64().unwrap()
}

/// The first count that a node's stream of current visitors tells.
async fn current_count(node: &Node, token: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/api/v1/realtime?site={SITE}", node.http);
    let mut response = client.get(url).bearer_auth(token).send().await.unwrap();
    let mut text = String::new();
    loop {
        let chunk = response.chunk().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        let data = text.lines().find_map(|line| line.strip_prefix("data: "));
        if let Some(Ok(count)) = data.map(serde_json::from_str::<Value>) {
            return count;
        }
    }
}

#[tokio::test]
async fn an_import_goes_on_through_any_node() {
    let (nodes, token) = ring_of_four().await;
    let mut log = tempfile::NamedTempFile::new().unwrap();
    let lines = 500;
    for (round, node) in nodes.iter().enumerate() {
        for line in 0..lines {
            writeln!(
                log,
                "192.0.2.{} - - [01/Feb/2026:{round:02}:{:02}:{:02} +0000] \"GET /page{line} HTTP/1.1\" 200 1 \"-\" \"{BROWSER}\"",
                line % 200,
                line / 60 % 60,
                line % 60,
            )
            .unwrap();
        }
        let path = log.path().to_str().unwrap();
        let arguments = ["import", "access-log", path, "--site", SITE, "--json"];
        let imported = node.cli_as(&token, &arguments);
        assert!(
            imported.status.success(),
            "{}",
            String::from_utf8_lossy(&imported.stderr)
        );
        let expect = json!((round + 1) * lines);
        for reader in &nodes {
            until_report(reader, &token, None, |answer| {
                answer["results"][0]["metrics"][0] == expect
            })
            .await;
            let salts = std::fs::read_to_string(reader.path("salts")).unwrap();
            assert!(!salts.contains("import"), "the key is forgotten everywhere");
        }
    }
}

#[tokio::test]
async fn a_session_never_sees_numbers_fall() {
    let (nodes, token) = ring_of_three().await;
    let mut session: Option<Value> = None;
    let mut counted = 0;
    for number in 0..60_u64 {
        let writer = &nodes[number as usize % 3];
        send(writer, &token, number).await;
        let answer = until_report(writer, &token, session.as_ref(), |_| true).await;
        // Now the client knows it; the next node is asked.
        let reader = &nodes[(number as usize + 1) % 3];
        let token_of = &answer["meta"]["session"];
        let next = until_report(reader, &token, Some(token_of), |_| true).await;
        for answer in [answer, next] {
            let now = answer["results"][0]["metrics"][0].as_u64();
            let now = now.unwrap_or_else(|| panic!("{answer}"));
            assert!(now >= counted, "{now} after {counted}: {answer}");
            counted = now;
            session = Some(answer["meta"]["session"].clone());
        }
    }
    until_counted(&nodes[0], &token, 60).await;
}

/// Sends a page view of five hours before an instant, and returns once it waits to be merged on all nodes.
async fn send_late(nodes: &[Node], token: &str, before: &str, number: u128) {
    let before: jiff::Timestamp = before.parse().unwrap();
    let event = json!({
        "site": SITE,
        "events": [{
            "id": uuid::Uuid::from_u128((1 << 92) + number),
            "name": "pageview",
            "url": format!("https://{SITE}/late"),
            "user_agent": BROWSER,
            "visitor": "late",
            "time": (before - jiff::SignedDuration::from_hours(5)).to_string(),
        }],
    });
    let (event, begin) = (event.to_string(), Instant::now());
    loop {
        let path = "/api/v1/events";
        let sent = nodes[0].send(Method::POST, path, Some(token), event.clone());
        let (status, answer) = sent.await;
        if status.is_success() {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{status} {answer}");
        sleep(LOOK).await;
    }
    for node in nodes {
        until_report(node, token, None, |answer| {
            answer["meta"]["pending_late"].as_u64() > Some(0)
        })
        .await;
    }
}

/// The token of a client for whom nothing was pending.
fn with_nothing_pending(session: &Value) -> Value {
    let session = session.as_str().unwrap();
    let mut fields: Vec<String> = session.split('.').map(str::to_owned).collect();
    fields[3] = fields[2].clone();
    json!(fields.join("."))
}

/// Asks each node with a session for which nothing is pending; the nodes that have merged for it.
async fn merged_for(nodes: &[Node], token: &str, page_views: u64) -> usize {
    let pending = until_report(&nodes[0], token, None, |_| true).await;
    let mut session = with_nothing_pending(&pending["meta"]["session"]);
    for node in nodes {
        let answer = until_report(node, token, Some(&session), |_| true).await;
        assert_eq!(answer["meta"]["pending_late"], json!(0), "{answer}");
        assert_eq!(answer["results"][0]["metrics"][0], json!(page_views));
        session = answer["meta"]["session"].clone();
    }
    let mut merged = 0;
    for node in nodes {
        let own = until_report(node, token, None, |_| true).await;
        merged += usize::from(own["meta"]["pending_late"] == json!(0));
    }
    merged
}

#[tokio::test]
async fn who_has_merged_late_events_is_asked_before_anybody_else_merges() {
    let (nodes, token) = ring_of_three().await;
    send(&nodes[0], &token, 1).await;
    let answer = until_report(&nodes[0], &token, None, |answer| {
        answer["results"][0]["metrics"][0] == json!(1)
    })
    .await;
    let begin = answer["meta"]["as_of"].as_str().unwrap();
    // A node that loses touch for a second cannot be asked; in one of ten rounds nobody does.
    for round in 1..=10 {
        send_late(&nodes, &token, begin, round).await;
        if merged_for(&nodes, &token, 1 + round as u64).await == 1 {
            return;
        }
    }
    panic!("several nodes merged each time");
}

/// The node of four that has no replica of the site's partition.
async fn node_without_replica(nodes: &[Node], token: &str) -> usize {
    let (_, sites) = nodes[0]
        .send(Method::GET, "/api/v1/sites", Some(token), "")
        .await;
    let site = sites["sites"][0]["id"].as_str().unwrap().parse().unwrap();
    let partition = SlotTable::even(16).unwrap().group_of(SiteId(site));
    let (_, ring) = nodes[0]
        .send(Method::GET, "/api/v1/ring", Some(token), "")
        .await;
    let mut groups = ring["groups"].as_array().unwrap().iter();
    let group = groups.find(|group| group["group"] == json!(partition.0));
    let voters = group.unwrap()["voters"].as_array().unwrap();
    let is_without = |node: &usize| !voters.contains(&json!(node + 1));
    (0..nodes.len()).find(is_without).unwrap()
}

#[tokio::test]
async fn only_so_many_reports_wait_for_other_nodes() {
    let (nodes, token) = ring_of_four().await;
    let asked = node_without_replica(&nodes, &token).await;
    until_report(&nodes[asked], &token, None, |_| true).await;
    let others = || (0..nodes.len()).filter(|node| *node != asked);
    others().for_each(|node| nodes[node].freeze());
    let answers = (0..400).map(|_| report(&nodes[asked], &token, None));
    let answers = futures::future::join_all(answers).await;
    others().for_each(|node| nodes[node].go_on());
    let mut shed = 0;
    for (status, answer) in answers {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        shed += u64::from(answer["kind"] == json!("overloaded"));
    }
    assert!(shed > 0, "all four hundred waited");
    let (_, metrics) = nodes[asked].send(Method::GET, "/metrics", None, "").await;
    let counted = format!("\nringtail_query_forwards_refused_total {shed}\n");
    assert!(metrics.as_str().unwrap().contains(&counted), "{counted}");
    // There is room again.
    until_report(&nodes[asked], &token, None, |_| true).await;
}

#[tokio::test]
async fn a_replica_without_its_group_says_so() {
    let (nodes, token) = ring_of_three().await;
    for number in 0..10 {
        send(&nodes[0], &token, number).await;
    }
    until_counted(&nodes[0], &token, 10).await;
    let (_, seen) = report(&nodes[0], &token, None).await;
    nodes[1].freeze();
    nodes[2].freeze();
    let begin = Instant::now();
    let stale = loop {
        let (status, answer) = report(&nodes[0], &token, Some(&seen["meta"]["session"])).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["results"][0]["metrics"][0], json!(10), "{answer}");
        if answer["meta"]["is_fresh"] == json!(false) {
            break answer;
        }
        assert!(begin.elapsed() < PATIENCE, "{answer}");
        sleep(LOOK).await;
    };
    let notes = stale["meta"]["notes"].as_array().unwrap();
    assert!(
        notes
            .iter()
            .any(|note| note.as_str().unwrap().contains("as_of"))
    );
    let begin = Instant::now();
    while current_count(&nodes[0], &token).await["is_fresh"] != json!(false) {
        assert!(
            begin.elapsed() < PATIENCE,
            "the count is not said to be old"
        );
    }
    // What nobody can include is refused, not left out.
    let future = ahead(&seen["meta"]["session"]);
    let (status, answer) = report(&nodes[0], &token, Some(&future)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    nodes[1].go_on();
    nodes[2].go_on();
    let begin = Instant::now();
    while report(&nodes[0], &token, None).await.1["meta"]["is_fresh"] != json!(true) {
        assert!(begin.elapsed() < PATIENCE, "it stays alone");
        sleep(LOOK).await;
    }
}

/// A token of a client that has seen a later entry.
fn ahead(session: &Value) -> Value {
    let session = session.as_str().unwrap();
    let mut fields: Vec<String> = session.split('.').map(str::to_owned).collect();
    let index = u64::from_str_radix(&fields[2], 16).unwrap();
    fields[2] = format!("{:x}", index + 1_000_000);
    json!(fields.join("."))
}

#[tokio::test]
async fn tokens_that_are_none_are_refused() {
    let node = Node::start();
    let token = node.token();
    for domain in [SITE, "other.test"] {
        node.admin(Method::POST, "/api/v1/sites", json!({"domain": domain}))
            .await;
    }
    let (_, answer) = report(&node, &token, None).await;
    let good = answer["meta"]["session"].clone();
    assert_eq!(report(&node, &token, Some(&good)).await.0, StatusCode::OK);
    let other = json!({
        "site_id": "other.test", "metrics": ["visits"], "date_range": "day", "session": good,
    });
    let (status, answer) = node
        .send(
            Method::POST,
            "/api/v2/query",
            Some(&token),
            other.to_string(),
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    for wrong in [
        json!("junk"),
        json!(7),
        json!("1.1.1.1"),
        json!("9".repeat(10_000)),
    ] {
        let (status, answer) = report(&node, &token, Some(&wrong)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
}
