//! All queries of the dashboard's first page, for a site with 30 days of history, while events come in.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde_json::{Value, json};

use super::{
    Figure, Goal,
    import::import,
    load::{Batches, Zipf, send_open},
    probe,
    stand::Stand,
};
use crate::sample_log::{self, SAMPLE_DAYS};

const DOMAIN: &str = "semicomplete.com";
const SITES: usize = 100;
const BATCH: usize = 100;
/// 20,000 events a second.
const PAUSE: Duration = Duration::from_millis(5);
const BATCHES: usize = 4_000;
const ROUNDS: u64 = 500;

/// One run.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    let mut domains: Vec<String> = (0..SITES)
        .map(|site| format!("site-{site}.example"))
        .collect();
    domains.insert(0, DOMAIN.to_owned());
    stand.add_sites(&domains).await?;
    let log = stand.folder.path().join("access.log");
    // 32 days: one more repeat than 30 days need.
    sample_log::write_repeats(&log, 32 / SAMPLE_DAYS.unsigned_abs())?;
    import(&stand, DOMAIN, &log).await?;
    let (mut zipf, mut batches) = (Zipf::new(SITES, 1), Batches::new(1));
    let prepared = (0..BATCHES)
        .filter_map(|_| {
            domains
                .get(zipf.next())
                .map(|domain| batches.next(domain, BATCH))
        })
        .collect();
    let (grpc, token) = (stand.node.grpc.clone(), stand.token.clone());
    let load = tokio::spawn(async move { send_open(&grpc, &token, prepared, PAUSE).await });
    let queries = queries();
    let mut latency = probe::microseconds();
    // Only what is measured during ingest counts.
    while latency.len() < ROUNDS && !load.is_finished() {
        let started = Instant::now();
        let asking = queries
            .iter()
            .map(|query| stand.client.query(&stand.node.http, &stand.token, query));
        try_join_all(asking).await?;
        probe::record(&mut latency, started.elapsed());
    }
    load.await??;
    stand.end().await?;
    Ok(vec![
        Figure::new(
            "dashboard_query",
            probe::milliseconds(&latency, 0.99),
            "ms, p99 of the page",
        )
        .goal(Goal::AtMost(10.0))
        .detail("p50_ms", probe::milliseconds(&latency, 0.5))
        .detail("queries", queries.len())
        .detail("samples", latency.len()),
    ])
}

/// What the page asks for when it opens: headline with comparison, line, four lists, realtime.
fn queries() -> Vec<Value> {
    let metrics = json!([
        "visitors",
        "visits",
        "pageviews",
        "bounce_rate",
        "visit_duration"
    ]);
    let mut queries = vec![
        json!({ "site_id": DOMAIN, "date_range": "30d", "metrics": metrics,
                "include": { "compare": "previous_period" } }),
        json!({ "site_id": DOMAIN, "date_range": "30d", "metrics": ["visitors"],
                "dimensions": ["time:day"], "include": { "time_labels": true } }),
        json!({ "site_id": DOMAIN, "date_range": "realtime", "metrics": ["visitors"] }),
    ];
    for (dimension, metric) in [
        ("event:page", "pageviews"),
        ("visit:source", "bounce_rate"),
        ("visit:country", "visits"),
        ("visit:browser", "visits"),
    ] {
        queries.push(json!({ "site_id": DOMAIN, "date_range": "30d",
            "metrics": ["visitors", metric], "dimensions": [dimension],
            "pagination": { "limit": 9 } }));
    }
    queries
}
