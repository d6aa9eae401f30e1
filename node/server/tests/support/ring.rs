//! Several real nodes as one ring, and one site that they count.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Node;

pub(crate) const SITE: &str = "ring.test";
pub(crate) const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
/// Nothing here takes longer, or something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that takes its time.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// Waits until the ring, as this node knows it, is as described.
pub(crate) async fn until_ring(
    node: &Node,
    token: &str,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    let begin = Instant::now();
    loop {
        let (status, ring) = node
            .send(Method::GET, "/api/v1/ring", Some(token), "")
            .await;
        if status.is_success() && is_so(&ring) {
            return ring;
        }
        assert!(begin.elapsed() < PATIENCE, "not {what}: {ring:#}");
        sleep(LOOK).await;
    }
}

/// Every group has so many voters and a leader, and nothing is on its way.
pub(crate) fn is_settled(ring: &Value, voters: usize) -> bool {
    let groups = ring["groups"].as_array().unwrap();
    ring["plan"]["done"] == json!(true)
        && groups.len() == 17
        && groups.iter().all(|group| {
            group["voters"].as_array().unwrap().len() == voters
                && group["settled"] == json!(true)
                && group["leader"].is_number()
        })
}

/// A ring of three: the first node, the two that joined it, and the admin token.
pub(crate) async fn ring_of_three() -> (Vec<Node>, String) {
    let first = Node::start();
    let token = first.token();
    first
        .admin(Method::POST, "/api/v1/sites", json!({"domain": SITE}))
        .await;
    let (second, third) = (first.start_joining(), first.start_joining());
    let nodes = vec![first, second, third];
    for node in &nodes {
        until_ring(node, &token, "settled on three", |ring| is_settled(ring, 3)).await;
    }
    (nodes, token)
}

/// Sends a page view with an id of its own; repeats it, as trackers do, until it is taken.
pub(crate) async fn send(node: &Node, token: &str, number: u64) {
    let begin = Instant::now();
    let id = uuid::Uuid::from_u128(u128::from(number) + (1 << 90));
    let event = json!({
        "site": SITE,
        "events": [{
            "id": id,
            "name": "pageview",
            "url": format!("https://{SITE}/page"),
            "user_agent": BROWSER,
            "visitor": format!("visitor {}", number % 7),
        }],
    });
    loop {
        let (status, answer) = node
            .send(
                Method::POST,
                "/api/v1/events",
                Some(token),
                event.to_string(),
            )
            .await;
        if status == StatusCode::OK || status == StatusCode::ACCEPTED {
            return;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "event {number}: {status} {answer}"
        );
        sleep(LOOK).await;
    }
}

/// The page views of a node's report; none while it has none to give.
pub(crate) async fn count(node: &Node, token: &str) -> Option<u64> {
    let query = json!({"site_id": SITE, "metrics": ["pageviews"], "date_range": "all"});
    let query = query.to_string();
    let (_, report) = node
        .send(Method::POST, "/api/v2/query", Some(token), query)
        .await;
    report["results"][0]["metrics"][0].as_u64()
}

/// Waits until a node's report counts so many page views, and never more.
pub(crate) async fn until_counted(node: &Node, token: &str, expect: u64) {
    let begin = Instant::now();
    loop {
        let counted = count(node, token).await;
        if counted == Some(expect) {
            return;
        }
        let is_possible = counted.is_none_or(|counted| counted < expect);
        assert!(
            is_possible && begin.elapsed() < PATIENCE,
            "{expect} expected: {counted:?}"
        );
        sleep(LOOK).await;
    }
}
