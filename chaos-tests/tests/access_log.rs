//! The sample access log through a real node, against `ops/sample/recompute.py`, which shares no code with the product.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use ringtail_chaos::process::{Node, NodeOptions};
use serde_json::{Map, Value, json};

const SITE: &str = "semicomplete.com";
/// Counts of distinct visitors are exact up to here, and estimates with a bound beyond.
const EXACT_VISITORS_MAX: u64 = 2_048;
/// Four standard errors of the estimate.
const ESTIMATE_ERROR_MAX: f64 = 0.065;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn recompute() -> Value {
    let root = repository();
    let output = Command::new("python3")
        .arg(root.join("ops/sample/recompute.py"))
        .arg(root.join("ops/sample/access.log.gz"))
        .arg(root.join("node/gateway/data/crawlers/crawler-user-agents.json"))
        .args(["--own-host", SITE])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A node that holds the sample.
struct Sample {
    node: Node,
}

impl Sample {
    async fn import(&self) -> Value {
        let log = repository().join("ops/sample/access.log.gz");
        let log = log.to_str().unwrap();
        self.node
            .ask(&["import", "access-log", "--site", SITE, log])
            .await
            .unwrap()
    }

    async fn query(&self, metrics: &[&str], dimension: Option<&str>) -> Value {
        let body = json!({
            "site_id": SITE,
            "date_range": ["2015-05-16", "2015-05-21"],
            "metrics": metrics,
            "dimensions": dimension.into_iter().collect::<Vec<_>>(),
        });
        self.node
            .ask(&["query", "--body", &body.to_string()])
            .await
            .unwrap()
    }

    /// Rows by dimension value, without buckets in which nothing happened.
    async fn rows(&self, metrics: &[&str], dimension: &str) -> BTreeMap<String, Vec<f64>> {
        let answer = self.query(metrics, Some(dimension)).await;
        let rows = answer["results"].as_array().unwrap().iter().map(|row| {
            let name = row["dimensions"][0].as_str().unwrap().to_owned();
            (name, numbers(&row["metrics"]))
        });
        rows.filter(|(_, numbers)| numbers.iter().any(|number| *number != 0.0))
            .collect()
    }

    async fn series(&self, metric: &str, dimension: &str) -> BTreeMap<String, f64> {
        let rows = self.rows(&[metric], dimension).await;
        rows.into_iter()
            .map(|(name, numbers)| (name, numbers[0]))
            .collect()
    }
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap_or(0.0))
        .collect()
}

fn table(expected: &Value, name: &str) -> BTreeMap<String, f64> {
    let rows: &Map<String, Value> = expected[name].as_object().unwrap();
    rows.iter()
        .map(|(name, number)| (name.clone(), number.as_f64().unwrap()))
        .collect()
}

fn assert_visitors(counted: f64, expected: f64, of: &str) {
    let bound = if expected <= EXACT_VISITORS_MAX as f64 {
        0.0
    } else {
        ESTIMATE_ERROR_MAX
    };
    let error = (counted - expected).abs() / expected;
    assert!(
        error <= bound,
        "visitors of {of}: expected {expected}, counted {counted}"
    );
}

/// A percentage as the report gives it: whole, or with decimals.
fn assert_percentage(counted: f64, part: f64, whole: f64, of: &str) {
    let exact = 100.0 * part / whole;
    let bound = if counted.fract() == 0.0 { 0.5 } else { 0.05 };
    assert!(
        (counted - exact).abs() <= bound,
        "{of}: expected {exact} %, counted {counted} %"
    );
}

async fn check_totals(sample: &Sample, expected: &Value) {
    let metrics = [
        "pageviews",
        "visits",
        "visitors",
        "bounce_rate",
        "visit_duration",
    ];
    let answer = sample.query(&metrics, None).await;
    let counted = numbers(&answer["results"][0]["metrics"]);
    let expect = |name: &str| expected[name].as_f64().unwrap();
    assert_eq!(counted[0], expect("pageviews"));
    assert_eq!(counted[1], expect("visits"));
    assert_visitors(counted[2], expect("visitors"), "all days");
    assert_percentage(
        counted[3],
        expect("bounces"),
        expect("visits"),
        "bounce rate",
    );
    let duration = expect("visit_seconds") / expect("visits");
    assert!(
        (counted[4] - duration).abs() <= 0.5,
        "duration {} for {duration}",
        counted[4]
    );
    assert_eq!(
        answer["meta"]["pending_late"],
        json!(0),
        "the import merges before it returns"
    );
}

async fn check_series(sample: &Sample, expected: &Value) {
    assert_eq!(
        sample.series("pageviews", "time:day").await,
        table(expected, "pageviews_by_day")
    );
    assert_eq!(
        sample.series("visits", "time:day").await,
        table(expected, "visits_by_day")
    );
    assert_eq!(
        sample.series("pageviews", "time:hour").await,
        table(expected, "pageviews_by_hour")
    );
    assert_eq!(
        sample.series("visitors", "time:hour").await,
        table(expected, "visitors_by_hour")
    );
    let days = sample
        .rows(&["visitors", "visits", "bounce_rate"], "time:day")
        .await;
    let bounces = table(expected, "bounces_by_day");
    for (day, visitors) in table(expected, "visitors_by_day") {
        assert_visitors(days[&day][0], visitors, &day);
        assert_percentage(days[&day][2], bounces[&day], days[&day][1], &day);
    }
}

async fn check_tables(sample: &Sample, expected: &Value) {
    let pages = sample.series("pageviews", "event:page").await;
    assert_eq!(pages, table(expected, "pageviews_by_page"));
    let mut by_host: BTreeMap<String, f64> = BTreeMap::new();
    for (referrer, visits) in sample.series("visits", "visit:referrer").await {
        *by_host.entry(host_of(&referrer).to_owned()).or_default() += visits;
    }
    let sources = expected["visits_by_source"].as_object().unwrap();
    for (host, bounds) in sources {
        let counted = by_host.remove(host.as_str()).unwrap_or(0.0);
        let bounds = numbers(bounds);
        assert!(
            (bounds[0]..=bounds[1]).contains(&counted),
            "visits from `{host}`: expected {bounds:?}, counted {counted}"
        );
    }
    assert_eq!(
        by_host,
        BTreeMap::new(),
        "sources that the log does not know"
    );
}

/// A referrer may come with or without scheme; none and `(none)` are visits without one.
fn host_of(referrer: &str) -> &str {
    if referrer.starts_with('(') || referrer == "Direct / None" {
        return "";
    }
    let bare = referrer
        .split_once("://")
        .map_or(referrer, |(_, rest)| rest);
    bare.split(['/', '?', ':']).next().unwrap_or_default()
}

async fn check_all(sample: &Sample, expected: &Value) {
    check_totals(sample, expected).await;
    check_series(sample, expected).await;
    check_tables(sample, expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_log_counts_as_an_independent_recomputation_says() {
    let expected = recompute();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions::new(folder.path().join("data")).unwrap())
        .await
        .unwrap();
    node.add_site(SITE, "UTC").await.unwrap();
    let sample = Sample { node };
    let counted = sample.import().await;
    assert_eq!(counted["lines"], expected["lines"]);
    assert_eq!(counted["accepted"], expected["accepted"]);
    assert_eq!(counted["duplicates"], json!(0));
    assert_eq!(counted["dropped"], expected["dropped"]);
    check_all(&sample, &expected).await;

    let again = sample.import().await;
    assert_eq!(
        again["accepted"],
        json!(0),
        "the same file adds nothing: {again}"
    );
    check_all(&sample, &expected).await;

    let node = Node::start(sample.node.kill().await.unwrap())
        .await
        .unwrap();
    let sample = Sample { node };
    check_all(&sample, &expected).await;
    sample.node.terminate().await.unwrap();
}
