//! Who follows events gets each once, from whichever node, whatever happens to nodes meanwhile.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use prost::Message as _;
use reqwest::Method;
use ringtail_proto::wire::v1::{
    SubscribeRequest, SubscribeResponse, SubscribedEvent, subscribe_request::From,
    subscriber_client::SubscriberClient,
};
use serde_json::{Value, json};
use support::{
    Node,
    ring::{BROWSER, LOOK, PATIENCE, SITE, is_settled, send, until_counted, until_ring},
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status, Streaming};

/// Each node archives into its own directory, and is soon ready to.
const OWN: &[(&str, &str)] = &[
    ("RINGTAIL_ARCHIVE", "own"),
    ("RINGTAIL_CHECKPOINT_DIRTY_SECONDS_MAX", "1"),
];

async fn subscribe(
    node: &Node,
    token: &str,
    request: SubscribeRequest,
) -> Result<Streaming<SubscribeResponse>, Status> {
    let mut client = SubscriberClient::connect(node.grpc.clone()).await.unwrap();
    let mut request = Request::new(request);
    let bearer = format!("Bearer {}", token.trim()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    Ok(client.subscribe(request).await?.into_inner())
}

fn of_site(from: Option<From>) -> SubscribeRequest {
    SubscribeRequest {
        site: SITE.to_owned(),
        from,
        every_verdict: false,
    }
}

/// Takes at least so many events, then goes away; the cursor behind them.
async fn take(
    node: &Node,
    token: &str,
    request: SubscribeRequest,
    least: usize,
) -> (Vec<SubscribedEvent>, Vec<u8>) {
    let mut stream = subscribe(node, token, request).await.unwrap();
    let (mut events, mut cursor) = (Vec::new(), Vec::new());
    while events.len() < least {
        let response = timeout(PATIENCE, stream.message()).await;
        let response = response.expect("events come").unwrap().expect("no end");
        events.extend(response.events);
        cursor = response.cursor;
    }
    (events, cursor)
}

/// The number that [`send`] made the event's id of.
fn number(event: &SubscribedEvent) -> u64 {
    let id: [u8; 16] = event.id[..].try_into().unwrap();
    (u128::from_be_bytes(id) - (1 << 90)) as u64
}

fn numbers(events: &[SubscribedEvent]) -> Vec<u64> {
    events.iter().map(number).collect()
}

async fn seal(node: &Node, token: &str) {
    let path = "/api/v1/archive/seal";
    let (status, answer) = node.send(Method::POST, path, Some(token), "{}").await;
    assert!(status.is_success(), "{answer}");
}

/// Seals until nothing of the site is left to be sealed.
async fn until_sealed(nodes: &[Node], token: &str, least: u64) {
    let begin = Instant::now();
    loop {
        for node in nodes {
            seal(node, token).await;
        }
        let mut sealed = 0;
        for node in nodes {
            let path = "/api/v1/archive";
            let (_, archive) = node.send(Method::GET, path, Some(token), "").await;
            let groups = archive["groups"].as_array().unwrap().iter();
            let objects = groups.flat_map(|group| group["objects"].as_array().unwrap());
            let events = objects.filter(|object| object["table"] == json!("events"));
            let rows: u64 = events.map(|object| object["rows"].as_u64().unwrap()).sum();
            sealed = sealed.max(rows);
        }
        if sealed >= least {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{sealed} of {least} are sealed");
        sleep(LOOK).await;
    }
}

#[tokio::test]
async fn each_event_comes_once_out_of_archive_and_log_and_from_every_node_while_one_dies() {
    let first = Node::start_with(tempfile::tempdir().unwrap(), &[], OWN);
    let token = first.token();
    let site = json!({"domain": SITE});
    first.admin(Method::POST, "/api/v1/sites", site).await;
    let mut nodes = vec![first];
    for _ in 0..3 {
        let node = nodes[0].start_joining_with(OWN);
        nodes.push(node);
    }
    // Of four nodes one does not have the site.
    for node in &nodes {
        until_ring(node, &token, "settled on three", |ring| is_settled(ring, 3)).await;
    }
    for event in (0..20).chain(5..10) {
        send(&nodes[event as usize % 4], &token, event).await;
    }
    let mut seen = Vec::new();
    let (events, mut cursor) = take(&nodes[0], &token, of_site(None), 7).await;
    assert_eq!(events[0].site, SITE);
    assert_eq!(events[0].verdict, "accepted");
    seen.extend(events);
    until_sealed(&nodes, &token, 25).await;
    // However many one of them gives at once, there is something left for the next one.
    for (node, first) in nodes.iter().zip([20, 25, 30, 35]) {
        for event in first..first + 5 {
            send(&nodes[event as usize % 4], &token, event).await;
        }
        let from = Some(From::Cursor(cursor));
        let (events, next) = take(node, &token, of_site(from), 1).await;
        seen.extend(events);
        cursor = next;
    }
    drop(nodes.pop().unwrap().kill());
    for event in 40..50 {
        send(&nodes[event as usize % 3], &token, event).await;
    }
    until_counted(&nodes[0], &token, 50).await;
    while seen.len() < 50 {
        let node = &nodes[seen.len() % 3];
        let least = (50 - seen.len()).min(4);
        let from = Some(From::Cursor(cursor));
        let (events, next) = take(node, &token, of_site(from), least).await;
        seen.extend(events);
        cursor = next;
    }
    let mut sorted = numbers(&seen);
    let (whole, _) = take(&nodes[1], &token, of_site(None), 50).await;
    assert_eq!(sorted, numbers(&whole), "the same order for everybody");
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_follows_from_now_on_gets_what_comes_and_verdicts_if_wanted() {
    let node = Node::start_with(tempfile::tempdir().unwrap(), &[], OWN);
    let token = node.token();
    let site = json!({"domain": SITE});
    node.admin(Method::POST, "/api/v1/sites", site).await;
    for event in 0..3 {
        send(&node, &token, event).await;
    }
    let all = SubscribeRequest {
        site: String::new(),
        from: Some(From::Now(true)),
        every_verdict: true,
    };
    let mut stream = subscribe(&node, &token, all).await.unwrap();
    // The first response says where "now" was.
    let begun = timeout(PATIENCE, stream.message()).await.unwrap();
    let begun = begun.unwrap().unwrap();
    assert_eq!(begun.events, []);
    for event in [3, 1, 4] {
        send(&node, &token, event).await;
    }
    let mut events = Vec::new();
    while events.len() < 3 {
        let response = timeout(PATIENCE, stream.message()).await.unwrap();
        events.extend(response.unwrap().unwrap().events);
    }
    let told: Vec<(u64, &str)> = events
        .iter()
        .map(|event| (number(event), event.verdict.as_str()))
        .collect();
    assert_eq!(told, [(3, "accepted"), (1, "duplicate"), (4, "accepted")]);

    // The same again, from the cursor, once all of it is in the archive.
    until_sealed(std::slice::from_ref(&node), &token, 6).await;
    let again = SubscribeRequest {
        site: String::new(),
        from: Some(From::Cursor(begun.cursor.clone())),
        every_verdict: true,
    };
    let (again, _) = take(&node, &token, again, 3).await;
    assert_eq!(again, events);
    let of_site = of_site(Some(From::Cursor(begun.cursor)));
    let refused = subscribe(&node, &token, of_site).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

#[tokio::test]
async fn keys_reach_what_they_may_and_subscriptions_are_limited() {
    let node = Node::start_with(tempfile::tempdir().unwrap(), &[], OWN);
    let token = node.token();
    let site = json!({"domain": SITE});
    node.admin(Method::POST, "/api/v1/sites", site).await;
    let made = node.cli(&[
        "key", "add", "--name", "reader", "--scope", "read", "--site", SITE,
    ]);
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let reader = said
        .split_whitespace()
        .max_by_key(|word| word.len())
        .unwrap();
    let all = SubscribeRequest::default();
    let refused = subscribe(&node, reader, all).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(subscribe(&node, reader, of_site(None)).await.unwrap());
    }
    let refused = subscribe(&node, reader, of_site(None)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let other = subscribe(&node, &token, of_site(None)).await;
    assert!(other.is_ok(), "another key is not held up");
    drop(open);
    let begin = Instant::now();
    let mut stream = loop {
        match subscribe(&node, reader, of_site(None)).await {
            Ok(stream) => break stream,
            Err(_) => assert!(begin.elapsed() < PATIENCE),
        }
        sleep(LOOK).await;
    };
    // What was open when the key was revoked ends, though nothing comes.
    let keys = node
        .send(Method::GET, "/api/v1/keys", Some(&token), "")
        .await
        .1;
    let keys = keys["keys"].as_array().unwrap();
    let key = keys
        .iter()
        .find(|key| key["name"] == json!("reader"))
        .unwrap();
    let path = format!("/api/v1/keys/{}", key["id"].as_str().unwrap());
    let (status, answer) = node.send(Method::DELETE, &path, Some(&token), "").await;
    assert!(status.is_success(), "{answer}");
    let ended = timeout(PATIENCE, async {
        loop {
            match stream.message().await {
                Ok(response) => assert!(response.is_some(), "it does not end in silence"),
                Err(error) => return error,
            }
        }
    });
    let ended = ended.await.expect("it ends");
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
}

#[tokio::test]
async fn events_of_much_text_come_in_responses_of_bounded_size() {
    let node = Node::start_with(tempfile::tempdir().unwrap(), &[], OWN);
    let token = node.token();
    let site = json!({"domain": SITE});
    node.admin(Method::POST, "/api/v1/sites", site).await;
    let text = "x".repeat(2_000);
    let props: serde_json::Map<String, Value> = (0..30)
        .map(|number| (format!("property{number}"), json!(text)))
        .collect();
    let event = |number: u64| {
        json!({
            "id": uuid::Uuid::from_u128(u128::from(number) + (1 << 90)),
            "name": "pageview",
            "url": format!("https://{SITE}/page"),
            "user_agent": BROWSER,
            "visitor": "visitor",
            "props": props,
        })
    };
    // More than a client takes in one message by default.
    for request in 0..20 {
        let events: Vec<Value> = (4 * request..4 * request + 4).map(event).collect();
        let body = json!({"site": SITE, "events": events}).to_string();
        let (status, answer) = node
            .send(Method::POST, "/api/v1/events", Some(&token), body)
            .await;
        assert!(status.is_success(), "{answer}");
    }
    let mut stream = subscribe(&node, &token, of_site(None)).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 80 {
        let response = timeout(PATIENCE, stream.message()).await;
        let response = response.expect("events come").unwrap().expect("no end");
        let bytes = response.encoded_len();
        assert!(bytes < 1_200_000, "{bytes}");
        seen.extend(numbers(&response.events));
        assert!(response.events.iter().all(|event| event.props.len() == 30));
    }
    assert_eq!(seen, (0..80).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_prints_lines_of_json_and_goes_on_from_a_cursor() {
    let node = Node::start();
    let token = node.token();
    let site = json!({"domain": SITE});
    node.admin(Method::POST, "/api/v1/sites", site).await;
    for event in 0..4 {
        send(&node, &token, event).await;
    }
    let lines = |from: &str, wanted: usize| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringtail"))
            .args(["subscribe", "--site", SITE, "--from", from, "--data-dir"])
            .arg(node.data.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, heard) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in stdout.lines() {
                let _ = said.send(line.unwrap());
            }
        });
        let (mut events, mut last) = (Vec::new(), String::new());
        loop {
            let line = heard.recv_timeout(PATIENCE).expect("another line comes");
            let line: Value = serde_json::from_str(&line).unwrap();
            match line["cursor"].as_str() {
                Some(cursor) => last = cursor.to_owned(),
                None => events.push(line.clone()),
            }
            // The cursor stands behind its events.
            if events.len() >= wanted && line["cursor"].is_string() {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        (events, last)
    };
    let (events, cursor) = tokio::task::block_in_place(|| lines("first", 4));
    assert_eq!(events.len(), 4);
    assert_eq!(events[0]["name"], json!("pageview"));
    assert_eq!(events[0]["page"], json!("/page"));
    send(&node, &token, 4).await;
    let (events, _) = tokio::task::block_in_place(|| lines(&cursor, 1));
    assert_eq!(events.len(), 1);
    let refused = node.cli(&["subscribe", "--site", "elsewhere.test"]);
    assert!(!refused.status.success());
    let refused = node.cli(&["subscribe", "--site", SITE, "--from", "yesterday"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("cursor"), "{said}");
}
