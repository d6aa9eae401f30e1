//! Pages that a node gives up and reads back.

use std::{thread, time::Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    load::Load,
    shared::{LOOK, PATIENCE, Shared, assert_success, plain, start, store_init},
    support::Node,
};

pub(crate) fn read_back(shared: &mut Shared) {
    const KEYSPACE: &str = "retention";
    let mut environment = shared.environment(KEYSPACE);
    let whole = environment.clone();
    environment.push(("RINGTAIL_MIRROR_LOCAL_DAYS", "1".to_owned()));
    let node = start(&whole);
    assert_success(&store_init(&node, &environment));
    let mut load = Load::new(shared, &node, 1);
    load.send(shared, &node, 3_000);
    load.until_equal(shared, std::slice::from_ref(&node), KEYSPACE);
    let before = until_counted(shared, &node, load.sent);

    let data = shared.runtime.block_on(node.terminate());
    let node = Node::start_with(data, &[], &plain(&environment));
    until_metric(shared, &node, "ringtail_mirror_evicted_pages_total", 5);
    assert_eq!(until_counted(shared, &node, load.sent), before);
    assert!(metric(shared, &node, "ringtail_mirror_cache_misses_total") > 0);
    assert_eq!(until_counted(shared, &node, load.sent), before);
    load.until_equal(shared, std::slice::from_ref(&node), KEYSPACE);

    // Without the servers nothing but the old pages is missing, and events for their hours are taken.
    shared.cassandra.node(0).kill();
    let data = node.kill();
    let node = Node::start_with(data, &[], &plain(&environment));
    let (status, answer) = hours(shared, &node);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    let said = answer["error"].as_str().unwrap();
    assert!(
        said.contains("pages of 20") && said.contains("rest in the mirror"),
        "{said}"
    );
    let today = json!({"site_id": "site0.test", "metrics": ["pageviews"], "date_range": "day"});
    let (status, answer) = ask(shared, &node, &today);
    assert_eq!(status, StatusCode::OK, "{answer}");
    load.send(shared, &node, 200);
    shared.cassandra.node(0).start().unwrap();
    until_counted(shared, &node, load.sent);
    load.until_equal(shared, std::slice::from_ref(&node), KEYSPACE);
}

/// Page views by hour over all days of the load.
fn hours(shared: &Shared, node: &Node) -> (StatusCode, Value) {
    let day = |hours: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        at.strftime("%Y-%m-%d").to_string()
    };
    let query = json!({
        "site_id": "site0.test",
        "metrics": ["pageviews"],
        "dimensions": ["time:hour"],
        "date_range": [day(48), day(0)],
    });
    ask(shared, node, &query)
}

fn ask(shared: &Shared, node: &Node, query: &Value) -> (StatusCode, Value) {
    let (token, query) = (node.token(), query.to_string());
    let asked = node.send(Method::POST, "/api/v2/query", Some(&token), query);
    shared.runtime.block_on(asked)
}

/// Waits until the hours hold so many page views; gives them.
fn until_counted(shared: &Shared, node: &Node, expect: u64) -> Value {
    let begin = Instant::now();
    loop {
        let (status, answer) = hours(shared, node);
        let rows = answer["results"].as_array();
        let counts = rows
            .into_iter()
            .flatten()
            .map(|row| row["metrics"][0].as_u64().unwrap());
        if status == StatusCode::OK && counts.sum::<u64>() == expect {
            return answer["results"].clone();
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{expect} expected: {status} {answer}"
        );
        thread::sleep(LOOK);
    }
}

pub(crate) fn until_metric(shared: &Shared, node: &Node, name: &str, least: u64) {
    let begin = Instant::now();
    while metric(shared, node, name) < least {
        assert!(begin.elapsed() < PATIENCE, "{name} stays below {least}");
        thread::sleep(LOOK);
    }
}

fn metric(shared: &Shared, node: &Node, name: &str) -> u64 {
    let asked = node.send(Method::GET, "/metrics", None, "");
    let (_, text) = shared.runtime.block_on(asked);
    let text = text.as_str().unwrap().to_owned();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}
