//! What the public sends that it should not: each gets a clear answer, nothing is counted, and the node goes on.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use jiff::{SignedDuration, Timestamp};
use ringtail_chaos::{
    client::USER_AGENT,
    process::{Node, NodeOptions},
    steady::Steady,
};
use serde_json::{Value, json};

const SITE: &str = "steady.example";

struct Public {
    node: Node,
    http: reqwest::Client,
}

impl Public {
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
        let mut request = self
            .http
            .post(format!("http://{}{path}", self.node.http))
            .header("user-agent", USER_AGENT)
            .header("content-type", "application/json")
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn check(&self, what: &str, path: &str, body: impl Into<Vec<u8>>, expect: &[u16]) {
        let (status, text) = self.post(path, &[], body.into()).await;
        assert!(
            expect.contains(&status),
            "{what} at {path}: {status} {text}"
        );
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(
            answer.get("error").or(answer.get("errors")).is_some(),
            "{what}: no reason: {text}"
        );
    }
}

async fn public(folder: &std::path::Path) -> (Public, Steady) {
    let node = Node::start(NodeOptions::new(folder.join("data")).unwrap())
        .await
        .unwrap();
    let mut steady = Steady::start(&node).await.unwrap();
    steady.send(&node, 5).await.unwrap();
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    (Public { node, http }, steady)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_not_understood_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (public, steady) = public(folder.path()).await;
    for path in ["/api/event", "/api/v1/events"] {
        public.check("no JSON", path, "{", &[400]).await;
        public.check("an empty body", path, "", &[400]).await;
        public.check("an array", path, "[]", &[400]).await;
        public
            .check(
                "a wrong type",
                path,
                r#"{"domain":1,"site":2,"events":3}"#,
                &[400],
            )
            .await;
        public
            .check(
                "broken UTF-8",
                path,
                b"{\"domain\":\"\xff\xfe\"}".to_vec(),
                &[400],
            )
            .await;
        public
            .check("a deep nest", path, "[".repeat(100_000), &[400])
            .await;
        public
            .check("a large body", path, vec![b' '; 16 << 20], &[413])
            .await;
    }
    public
        .check("a wrong query", "/api/v2/query", "{}", &[400, 401])
        .await;
    steady.check(&public.node).await.unwrap();
    public.node.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inflate_bomb_is_stopped_at_the_cap() {
    let folder = tempfile::tempdir().unwrap();
    let (public, steady) = public(folder.path()).await;
    let bomb = gzip(&vec![b' '; 256 << 20]);
    for path in ["/api/event", "/api/v1/events"] {
        let (status, text) = public
            .post(path, &[("content-encoding", "gzip")], bomb.clone())
            .await;
        assert_eq!(status, 413, "{path}: {text}");
    }
    let (status, text) = public
        .post(
            "/api/event",
            &[("content-encoding", "gzip")],
            b"no gzip".to_vec(),
        )
        .await;
    assert_eq!(status, 400, "{text}");
    steady.check(&public.node).await.unwrap();
    public.node.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_and_unknown_sites_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (public, steady) = public(folder.path()).await;
    let wrong = [("authorization", "Bearer not-a-key")];
    let body = |site: &str| {
        json!({ "site": site, "events": [{ "name": "pageview", "url": format!("https://{site}/") }] })
            .to_string()
            .into_bytes()
    };
    let (status, text) = public.post("/api/v1/events", &wrong, body(SITE)).await;
    assert_eq!(status, 401, "{text}");
    let query = json!({ "site_id": SITE, "date_range": "day", "metrics": ["visitors"] });
    let (status, text) = public
        .post("/api/v2/query", &wrong, query.to_string().into())
        .await;
    assert_eq!(status, 401, "{text}");
    let (status, text) = public
        .post("/api/v1/events", &[], body("nobody.example"))
        .await;
    assert!(
        status == 404 || text.contains("unknown_site"),
        "{status} {text}"
    );
    // Plausible's clients expect 202 here, and are told in a header.
    let beacon =
        br#"{"domain":"nobody.example","name":"pageview","url":"https://nobody.example/"}"#;
    let (status, _) = public.post("/api/event", &[], beacon.to_vec()).await;
    assert_eq!(status, 202);
    steady.check(&public.node).await.unwrap();
    public.node.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_times_are_dropped_with_their_reason_and_spoil_no_other_event() {
    let folder = tempfile::tempdir().unwrap();
    let (public, _steady) = public(folder.path()).await;
    let key = public.node.add_key(SITE, "write").await.unwrap();
    let bearer = format!("Bearer {key}");
    let event = |time: Value| {
        json!({
            "name": "pageview", "url": format!("https://{SITE}/times"), "time": time,
            "user_agent": USER_AGENT, "visitor": "v",
        })
    };
    let mut good = event(json!("x"));
    good.as_object_mut().unwrap().remove("time");
    let four_days_ago = Timestamp::now() - SignedDuration::from_hours(96);
    let body = json!({ "site": SITE, "events": [
        event(json!("1970-01-01T00:00:00Z")), event(json!(four_days_ago.to_string())),
        event(json!("yesterday")), event(json!("-9999-01-01T00:00:00Z")), good,
    ] });
    let headers = [("authorization", bearer.as_str())];
    let (status, text) = public
        .post("/api/v1/events", &headers, body.to_string().into())
        .await;
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["accepted"], json!(1), "{text}");
    let dropped = answer["dropped"].as_array().unwrap();
    let reasons: Vec<&str> = dropped
        .iter()
        .map(|dropped| dropped["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        reasons,
        ["absurd_time", "too_late", "malformed", "malformed"],
        "{text}"
    );
    public.node.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_addresses_of_pages_from_one_client_stay_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let (public, _steady) = public(folder.path()).await;
    let key = public.node.add_key(SITE, "write").await.unwrap();
    let bearer = format!("Bearer {key}");
    for thousand in 0..12 {
        let events: Vec<Value> = (0..1_000)
            .map(|number| {
                json!({
                    "name": "pageview", "url": format!("https://{SITE}/p/{}", thousand * 1_000 + number),
                    "user_agent": USER_AGENT, "visitor": "one",
                })
            })
            .collect();
        let body = json!({ "site": SITE, "events": events }).to_string();
        let headers = [("authorization", bearer.as_str())];
        let (status, text) = public.post("/api/v1/events", &headers, body.into()).await;
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["accepted"], json!(1_000), "{text}");
    }
    // The total stays exact, and what has no row of its own is one visible row.
    let query = json!({
        "site_id": SITE, "date_range": "24h", "metrics": ["events"], "dimensions": ["event:name"],
    });
    let answer = public
        .node
        .ask(&["query", "--body", &query.to_string()])
        .await
        .unwrap();
    let events: u64 = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["metrics"][0].as_u64().unwrap())
        .sum();
    assert!(events >= 12_000, "{answer}");
    let pages = json!({
        "site_id": SITE, "date_range": "24h", "metrics": ["events"], "dimensions": ["event:page"],
        "pagination": { "limit": 10_000 },
    });
    let answer = public
        .node
        .ask(&["query", "--body", &pages.to_string()])
        .await
        .unwrap();
    let rows = answer["results"].as_array().unwrap();
    assert!(rows.len() <= 10_000, "{} rows", rows.len());
    public.node.terminate().await.unwrap();
}
