//! The HTTP and gRPC surface of a real node: what it grants, what it refuses, and how it says so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use reqwest::{Method, StatusCode};
use ringtail_proto::wire::v1::{
    self, admin_client::AdminClient, collector_client::CollectorClient,
    reports_client::ReportsClient,
};
use serde_json::{Value, json};
use support::Node;
use tonic::Request;

fn day(site: &str, metrics: &[&str]) -> Value {
    json!({"site_id": site, "metrics": metrics, "date_range": "day"})
}

async fn add_site(node: &Node, domain: &str) {
    node.admin(Method::POST, "/api/v1/sites", json!({"domain": domain}))
        .await;
}

async fn add_key(node: &Node, site: &str, scope: &str) -> (String, String) {
    let body = json!({"site": site, "scope": scope});
    let key = node.admin(Method::POST, "/api/v1/keys", body).await;
    let field = |name: &str| key[name].as_str().unwrap().to_owned();
    (field("id"), field("secret"))
}

#[tokio::test]
async fn keys_open_their_scope_at_their_site_and_nothing_else() {
    let node = Node::start();
    add_site(&node, "one.test").await;
    add_site(&node, "two.test").await;
    let (id, read) = add_key(&node, "one.test", "read").await;
    let (_, write) = add_key(&node, "one.test", "write").await;
    let query = |site: &str| day(site, &["visitors"]).to_string();
    let check = async |key: Option<&str>, site: &str, expect: StatusCode| {
        let (status, answer) = node
            .send(Method::POST, "/api/v2/query", key, query(site))
            .await;
        assert_eq!(status, expect, "{site} {answer}");
        if !status.is_success() {
            assert!(answer["error"].is_string(), "{answer}");
        }
    };
    check(None, "one.test", StatusCode::UNAUTHORIZED).await;
    check(Some("rt_read_wrong"), "one.test", StatusCode::UNAUTHORIZED).await;
    check(Some(&read), "one.test", StatusCode::OK).await;
    check(Some(&read), "two.test", StatusCode::NOT_FOUND).await;
    check(Some(&write), "one.test", StatusCode::FORBIDDEN).await;
    let (status, _) = node
        .send(Method::GET, "/api/v1/keys", Some(&read), "")
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (_, sites) = node
        .send(Method::GET, "/api/v1/sites", Some(&read), "")
        .await;
    assert_eq!(sites["sites"].as_array().unwrap().len(), 1);
    node.admin(Method::DELETE, &format!("/api/v1/keys/{id}"), json!({}))
        .await;
    check(Some(&read), "one.test", StatusCode::UNAUTHORIZED).await;
    let keys = node.admin(Method::GET, "/api/v1/keys", json!({})).await;
    let revoked = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["id"] == *id)
        .unwrap();
    assert_eq!(revoked["revoked"], true);
    assert!(revoked["last_used"].is_string(), "{revoked}");
    assert!(!keys.to_string().contains(&read), "a secret is shown once");
}

#[tokio::test]
async fn bad_requests_get_a_reason() {
    let node = Node::start();
    add_site(&node, "site.test").await;
    let token = node.token();
    let large = json!({"site_id": "x".repeat(70_000)}).to_string();
    for (method, path, body, expect) in [
        (Method::POST, "/api/v2/query", "{", StatusCode::BAD_REQUEST),
        (
            Method::POST,
            "/api/v2/query",
            large.as_str(),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        (
            Method::POST,
            "/api/v1/sites",
            r#"{"domain": 7}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/api/v1/sites",
            r#"{"domain": "site.test"}"#,
            StatusCode::CONFLICT,
        ),
        (
            Method::POST,
            "/api/v1/sites",
            r#"{"domain": "not a host"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/api/v1/sites",
            r#"{"domain": "a.test", "timezone": "Mars/Olympus"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/api/v1/keys",
            r#"{"site": "site.test", "scope": "root"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::DELETE,
            "/api/v1/keys/x",
            "",
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/api/v1/sites/site.test/goals",
            r#"{"name": "both", "event": "a", "page": "/b"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::PATCH,
            "/api/v1/sites/none.test",
            "{}",
            StatusCode::NOT_FOUND,
        ),
        (
            Method::GET,
            "/api/v1/events/7?site=site.test",
            "",
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::GET,
            "/api/v1/events/00000000-0000-4000-8000-000000000000?site=site.test",
            "",
            StatusCode::NOT_FOUND,
        ),
        (
            Method::GET,
            "/api/v1/realtime?site=none.test",
            "",
            StatusCode::NOT_FOUND,
        ),
        (Method::GET, "/api/v1/nothing", "", StatusCode::NOT_FOUND),
    ] {
        let (status, answer) = node.send(method, path, Some(&token), body.to_owned()).await;
        assert_eq!(status, expect, "{path} {answer}");
        assert!(answer["error"].is_string(), "{path} {answer}");
    }
}

#[tokio::test]
async fn health_metrics_and_files_need_no_key() {
    let node = Node::start();
    add_site(&node, "secret-name.test").await;
    for (path, expect) in [
        ("/health/live", "live"),
        ("/health/ready", "ready"),
        ("/api/health", "ready"),
    ] {
        let (status, answer) = node.send(Method::GET, path, None, "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(answer["status"], expect, "{path}");
    }
    let beacon =
        json!({"n": "pageview", "d": "secret-name.test", "u": "https://secret-name.test/"});
    let (status, _) = node
        .send(Method::POST, "/api/event", None, beacon.to_string())
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let (status, metrics) = node.send(Method::GET, "/metrics", None, "").await;
    assert_eq!(status, StatusCode::OK);
    let metrics = metrics.as_str().unwrap();
    assert!(
        metrics.contains("ringtail_enrich_dropped_total"),
        "{metrics}"
    );
    assert!(!metrics.contains("secret-name"), "no series names a site");
    for path in ["/", "/secret-name.test", "/js/ringtail.js"] {
        let (status, _) = node.send(Method::GET, path, None, "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn an_event_can_be_followed_from_beacon_to_visit() {
    let node = Node::start();
    add_site(&node, "site.test").await;
    let (_, key) = add_key(&node, "site.test", "write").await;
    let goal = json!({"name": "bought", "event": "purchase"});
    node.admin(Method::POST, "/api/v1/sites/site.test/goals", goal)
        .await;
    let (page, purchase) = (
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
    );
    let event = |id: &str, name: &str, agent: &str| {
        json!({
            "id": id, "name": name, "url": "https://site.test/cart?token=abc", "visitor": "v1",
            "user_agent": agent, "ip": "203.0.113.7",
            "revenue": {"amount": "12.50", "currency": "EUR"},
        })
    };
    let browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let robot = "33333333-3333-4333-8333-333333333333";
    let events = json!({"site": "site.test", "events": [
        event(page, "pageview", browser),
        event(purchase, "purchase", browser),
        event(purchase, "purchase", browser),
        event(robot, "pageview", "Googlebot/2.1"),
    ]});
    let (status, answer) = node
        .send(
            Method::POST,
            "/api/v1/events",
            Some(&key),
            events.to_string(),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["accepted"], 2, "{answer}");
    assert_eq!(answer["duplicate"], 1, "{answer}");
    assert_eq!(answer["dropped"][0]["reason"], "bot", "{answer}");
    let metrics = node
        .metrics(day(
            "site.test",
            &["visitors", "visits", "pageviews", "events"],
        ))
        .await;
    assert_eq!(metrics, json!([1, 1, 1, 2]));
    let mut by_goal = day("site.test", &["visitors", "events", "total_revenue"]);
    by_goal["dimensions"] = json!(["event:goal"]);
    let goal = node.metrics(by_goal).await;
    assert_eq!(goal[0], 1);
    assert_eq!(goal[1], 1);
    assert_eq!(goal[2]["value"], 12.5, "{goal}");
    let path = format!("/api/v1/events/{purchase}?site=site.test");
    let found = node.admin(Method::GET, &path, json!({})).await;
    assert_eq!(found["verdict"], "accepted");
    assert_eq!(found["event"]["name"], "purchase");
    assert_eq!(found["event"]["page"], "/cart", "{found}");
    assert!(found["visit"]["visitor"].is_string(), "{found}");
    let dropped = node.cli(&["event", robot, "--site", "site.test", "--json"]);
    let dropped: Value = serde_json::from_slice(&dropped.stdout).unwrap();
    assert_eq!(dropped["verdict"], "dropped");
    assert_eq!(dropped["reason"], "bot");
}

#[tokio::test]
async fn a_renamed_site_keeps_its_numbers_and_a_paused_one_counts_nothing() {
    let node = Node::start();
    add_site(&node, "old.test").await;
    let (_, key) = add_key(&node, "old.test", "write").await;
    let send = async |site: &str| {
        let body = json!({"site": site, "events": [{
            "name": "pageview", "url": format!("https://{site}/"), "visitor": "v",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        }]});
        node.send(Method::POST, "/api/v1/events", Some(&key), body.to_string())
            .await
            .1
    };
    assert_eq!(send("old.test").await["accepted"], 1);
    let renamed = node.cli(&["site", "rename", "old.test", "new.test", "--json"]);
    assert!(renamed.status.success(), "{renamed:?}");
    assert_eq!(
        send("old.test").await["accepted"],
        1,
        "the former name stays an alias"
    );
    assert_eq!(
        node.metrics(day("new.test", &["pageviews"])).await,
        json!([2])
    );
    assert!(node.cli(&["site", "pause", "new.test"]).status.success());
    assert_eq!(send("new.test").await["dropped"][0]["reason"], "paused");
    assert!(
        node.cli(&["site", "pause", "new.test", "--resume"])
            .status
            .success()
    );
    assert_eq!(send("new.test").await["accepted"], 1);
}

#[tokio::test]
async fn grpc_collects_reports_and_administers() {
    let node = Node::start();
    let authorization = format!("Bearer {}", node.token());
    let with_key = |mut request: Request<()>| {
        request
            .metadata_mut()
            .insert("authorization", authorization.parse().unwrap());
        request
    };
    fn keyed<T>(value: T, key: Request<()>) -> Request<T> {
        let (metadata, extensions, ()) = key.into_parts();
        Request::from_parts(metadata, extensions, value)
    }
    let key = || with_key(Request::new(()));
    let mut admin = AdminClient::connect(node.grpc.clone()).await.unwrap();
    let refused = admin.list_sites(v1::ListSitesRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let site = v1::AddSiteRequest {
        domain: "grpc.test".to_owned(),
        timezone: "Asia/Kolkata".to_owned(),
    };
    let site = admin
        .add_site(keyed(site, key()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(site.timezone, "Asia/Kolkata");
    let mut collector = CollectorClient::connect(node.grpc.clone()).await.unwrap();
    let event = v1::Event {
        name: "pageview".to_owned(),
        url: "https://grpc.test/a".to_owned(),
        visitor: "v".to_owned(),
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
            .to_owned(),
        ..v1::Event::default()
    };
    let batch = |sequence| v1::CollectRequest {
        site: "grpc.test".to_owned(),
        events: vec![event.clone(); 3],
        sequence,
    };
    let collected = collector
        .collect(keyed(batch(0), key()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(collected.accepted, 3, "{collected:?}");
    let batches = tokio_stream::iter([batch(7), batch(8)]);
    let mut acks = collector
        .collect_stream(keyed(batches, key()))
        .await
        .unwrap()
        .into_inner();
    let mut sequences = Vec::new();
    while let Some(ack) = acks.message().await.unwrap() {
        assert_eq!((ack.durable, &ack.failure), (3, &None), "{ack:?}");
        sequences.push(ack.sequence);
    }
    sequences.sort_unstable();
    assert_eq!(sequences, [7, 8]);
    let mut reports = ReportsClient::connect(node.grpc.clone()).await.unwrap();
    let mut last = Value::Null;
    // A durable batch is applied at once, but not necessarily before its acknowledgement.
    while last["results"][0]["metrics"] != json!([9]) {
        let query = v1::QueryRequest {
            json: day("grpc.test", &["pageviews"]).to_string(),
        };
        let report = reports
            .query(keyed(query, key()))
            .await
            .unwrap()
            .into_inner();
        last = serde_json::from_str(&report.json).unwrap();
    }
    let realtime = v1::RealtimeRequest {
        site: "grpc.test".to_owned(),
    };
    let mut counts = reports
        .realtime(keyed(realtime, key()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(counts.message().await.unwrap().unwrap().visitors, 1);
    let status = admin
        .status(keyed(v1::StatusRequest {}, key()))
        .await
        .unwrap()
        .into_inner();
    let status: Value = serde_json::from_str(&status.json).unwrap();
    assert_eq!(status["state"], "ready");
    assert_eq!(status["groups"].as_array().unwrap().len(), 16);
}

#[tokio::test]
async fn an_import_goes_on_only_from_where_it_stands() {
    let node = Node::start();
    add_site(&node, "log.test").await;
    let line = |path: &str| {
        format!(
            "192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET {path} HTTP/1.1\" 200 1 \"-\" \"Mozilla/5.0 Firefox/38.0\"\n"
        )
    };
    let log = node.path("import.log");
    let import = |content: &str| {
        std::fs::write(&log, content).unwrap();
        let file = log.to_str().unwrap().to_owned();
        let output = node.cli(&[
            "import",
            "access-log",
            "--site",
            "log.test",
            "--json",
            &file,
        ]);
        (
            output.status.code(),
            serde_json::from_slice::<Value>(&output.stdout).ok(),
        )
    };
    let first = line("/a") + &line("/a");
    let (_, counts) = import(&first);
    assert_eq!(
        counts.unwrap()["accepted"],
        2,
        "exact repeats of a line are real hits"
    );
    let (_, counts) = import(&first);
    assert_eq!(
        counts.unwrap(),
        json!({"lines": 2, "accepted": 0, "duplicates": 2, "dropped": {}})
    );
    let (_, counts) = import(&(first.clone() + &line("/b") + "broken\n"));
    assert_eq!(
        counts.unwrap(),
        json!({"lines": 4, "accepted": 1, "duplicates": 2, "dropped": {"malformed": 1}})
    );
    let (code, _) =
        import(&(line("/a") + &line("/other") + &line("/c") + &line("/d") + &line("/e")));
    assert_eq!(code, Some(4), "another prefix is refused");
    let query = json!({"site_id": "log.test", "metrics": ["pageviews"], "date_range": "all"});
    assert_eq!(node.metrics(query).await, json!([3]));
    let path = "/api/v1/imports/lines?site=log.test&source=s&after_line=5&after_hash=";
    let path = format!("{path}{}", "0".repeat(64));
    let (status, _) = node
        .send(Method::POST, &path, Some(&node.token()), line("/z"))
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
}
