//! Nodes of a ring that are stopped in order: nobody notices.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use reqwest::{Client, Method};
use ringtail_proto::wire::v1::{CollectRequest, Event, collector_client::CollectorClient};
use serde_json::{Value, json};
use support::{
    Node,
    ring::{BROWSER, PATIENCE, SITE, is_settled, ring_of_three, until_counted, until_ring},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

#[tokio::test]
async fn a_node_that_stops_has_handed_over_what_it_led_and_ends_open_streams() {
    let (mut nodes, token) = ring_of_three().await;
    let (requests, outgoing) = mpsc::channel(4);
    let batch = CollectRequest {
        site: SITE.to_owned(),
        events: vec![Event {
            name: "pageview".to_owned(),
            url: format!("https://{SITE}/"),
            user_agent: BROWSER.to_owned(),
            visitor: "streaming".to_owned(),
            ..Event::default()
        }],
        sequence: 1,
    };
    requests.send(batch).await.unwrap();
    let mut stream = Request::new(ReceiverStream::new(outgoing));
    let bearer = format!("Bearer {token}").parse().unwrap();
    stream.metadata_mut().insert("authorization", bearer);
    let mut client = CollectorClient::connect(nodes[0].grpc.clone())
        .await
        .unwrap();
    let answers = client.collect_stream(stream).await.unwrap();
    let mut answers = answers.into_inner();
    let ack = answers.message().await.unwrap().unwrap();
    assert_eq!((ack.sequence, ack.durable, ack.failure), (1, 1, None));

    let mut visitors = reqwest::Client::new()
        .get(format!("{}/api/v1/realtime?site={SITE}", nodes[0].http))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert!(visitors.status().is_success(), "{visitors:?}");
    let first = timeout(PATIENCE, visitors.chunk()).await.unwrap();
    let first = first.unwrap().unwrap();
    assert!(first.starts_with(b"event: realtime"), "{first:?}");
    let visitors = tokio::spawn(visitors.text());

    let _data = timeout(PATIENCE, nodes.remove(0).terminate())
        .await
        .unwrap();
    // The client's side was open all the time.
    assert_eq!(answers.message().await.unwrap(), None);
    // It came to its own end: one that was cut off has none.
    let rest = timeout(PATIENCE, visitors).await.unwrap().unwrap();
    assert!(rest.is_ok(), "{rest:?}");
    drop(requests);
    // No election has had to find out that the node is gone: its last word was that others lead.
    let (_, ring) = nodes[0]
        .send(Method::GET, "/api/v1/ring", Some(&token), "")
        .await;
    let groups = ring["groups"].as_array().unwrap();
    for group in groups {
        let leader = group["leader"].as_u64();
        assert!(leader == Some(2) || leader == Some(3), "{group}");
    }
    until_counted(&nodes[0], &token, 1).await;
}

/// A request whose body never comes whole: a node that stops waits for it as long as it may.
async fn unfinished_request(node: &Node) -> TcpStream {
    let address = node.http.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_node_that_drains_leads_nothing_even_when_leaders_are_lost() {
    let (mut nodes, token) = ring_of_three().await;
    let data = nodes.remove(0).terminate().await;
    let slow = [("RINGTAIL_DRAIN_SECONDS_MAX", "600")];
    nodes.insert(0, Node::start_with(data, &[], &slow));
    for node in &nodes {
        until_ring(node, &token, "settled again", |ring| is_settled(ring, 3)).await;
    }
    let request = unfinished_request(&nodes[0]).await;
    nodes[0].ask_to_end();
    let is_led_by = |ring: &Value, leaders: &[u64]| {
        let mut groups = ring["groups"].as_array().unwrap().iter();
        groups.all(|group| {
            let leader = group["leader"].as_u64();
            leader.is_some_and(|leader| leaders.contains(&leader))
        })
    };
    until_ring(&nodes[1], &token, "handed over", |ring| {
        is_led_by(ring, &[2, 3])
    })
    .await;
    // It votes to its end, and never for itself.
    let survivor = nodes.pop().unwrap();
    drop(nodes.pop().unwrap().kill());
    until_ring(&survivor, &token, "led by the third", |ring| {
        is_led_by(ring, &[3])
    })
    .await;
    assert!(nodes[0].is_running());
    drop(request);
}

#[tokio::test]
async fn the_router_is_flushed_before_the_duties_end() {
    let (node, log) = Node::start_logged_at("debug");
    drop(timeout(PATIENCE, node.terminate()).await.unwrap());
    let log = std::fs::read_to_string(log.path()).unwrap();
    let position = |what: &str| log.find(what).unwrap_or_else(|| panic!("no {what}: {log}"));
    assert!(position("nothing is on its way") < position("duties ended"));
}

/// Sends numbered page views until told to stop, each to whichever node takes its connection first, as a load balancer
/// does; returns how many were taken.
async fn visit(nodes: mpsc::Receiver<Vec<String>>, token: String, is_over: Arc<AtomicBool>) -> u64 {
    let mut nodes = nodes;
    let mut addresses = nodes.recv().await.unwrap();
    // A connection for each request: whether one that is kept is closed in time is the balancer's affair.
    let client = Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        while let Ok(current) = nodes.try_recv() {
            addresses = current;
        }
        let event = json!({
            "site": SITE,
            "events": [{
                "id": uuid::Uuid::from_u128(u128::from(number) + (1 << 91)),
                "name": "pageview",
                "url": format!("https://{SITE}/rolling"),
                "user_agent": BROWSER,
                "visitor": format!("visitor {}", number % 7),
            }],
        });
        let mut is_taken = false;
        for turn in 0..addresses.len() {
            let address = &addresses[(number as usize + turn) % addresses.len()];
            let request = client
                .post(format!("{address}/api/v1/events"))
                .bearer_auth(&token)
                .json(&event);
            match request.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    let text = answer.text().await.unwrap_or_default();
                    assert!(status.is_success(), "event {number}: {status} {text}");
                    is_taken = true;
                    break;
                }
                // Nobody is there any more: the next node gets it, with the same id.
                Err(error) => assert!(error.is_connect() || error.is_request(), "{error:?}"),
            }
        }
        assert!(is_taken, "no node takes event {number}");
        number += 1;
    }
    number
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_refuses_no_event_and_loses_none() {
    let (mut nodes, token) = ring_of_three().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (tell, told) = mpsc::channel(16);
    let addresses = |nodes: &[Node]| nodes.iter().map(|node| node.http.clone()).collect();
    tell.send(addresses(&nodes)).await.unwrap();
    let visitor = tokio::spawn(visit(told, token.clone(), Arc::clone(&is_over)));
    for _ in 0..3 {
        let data = timeout(PATIENCE, nodes.remove(0).terminate())
            .await
            .unwrap();
        nodes.push(Node::start_in(data, &[]));
        tell.send(addresses(&nodes)).await.unwrap();
        for node in &nodes {
            until_ring(node, &token, "settled again", |ring| is_settled(ring, 3)).await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let taken = visitor.await.unwrap();
    assert!(taken > 0);
    for node in &nodes {
        until_counted(node, &token, taken).await;
    }
}
