//! What the names of ranges mean.

use serde_json::json;

use crate::site::{Site, hit};

/// The range that a period means at noon UTC of Saturday, 21 November 2026, in Berlin.
fn check(period: serde_json::Value, expect: [&str; 2]) {
    let mut site = Site::new("Europe/Berlin");
    site.send(&[hit("2026-08-03T12:00:00Z", 1, "/")]);
    site.at("2026-11-21T12:20:30Z");
    let answer =
        site.ask(json!({"site_id": "example.com", "date_range": period, "metrics": ["visitors"]}));
    assert_eq!(answer["meta"]["date_range"], json!(expect), "{period}");
}

#[test]
fn periods_are_spans_of_the_local_calendar() {
    check(
        json!("day"),
        ["2026-11-21T00:00:00+01:00", "2026-11-22T00:00:00+01:00"],
    );
    check(
        json!("24h"),
        ["2026-11-20T14:00:00+01:00", "2026-11-21T14:00:00+01:00"],
    );
    check(
        json!("7d"),
        ["2026-11-14T00:00:00+01:00", "2026-11-21T00:00:00+01:00"],
    );
    check(
        json!("28d"),
        ["2026-10-24T00:00:00+02:00", "2026-11-21T00:00:00+01:00"],
    );
    check(
        json!("30d"),
        ["2026-10-22T00:00:00+02:00", "2026-11-21T00:00:00+01:00"],
    );
    check(
        json!("91d"),
        ["2026-08-22T00:00:00+02:00", "2026-11-21T00:00:00+01:00"],
    );
    check(
        json!("month"),
        ["2026-11-01T00:00:00+01:00", "2026-12-01T00:00:00+01:00"],
    );
    check(
        json!("year"),
        ["2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"],
    );
    check(
        json!("6mo"),
        ["2026-05-01T00:00:00+02:00", "2026-11-01T00:00:00+01:00"],
    );
    check(
        json!("12mo"),
        ["2025-11-01T00:00:00+01:00", "2026-11-01T00:00:00+01:00"],
    );
    check(
        json!("all"),
        ["2026-08-03T00:00:00+02:00", "2026-11-22T00:00:00+01:00"],
    );
    check(
        json!(["2026-10-25", "2026-10-25"]),
        ["2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"],
    );
    check(
        json!(["2026-11-21T08:00:00Z", "2026-11-21T09:59:59Z"]),
        ["2026-11-21T09:00:00+01:00", "2026-11-21T11:00:00+01:00"],
    );
    check(
        json!("realtime"),
        ["2026-11-21T13:15:00+01:00", "2026-11-21T13:21:00+01:00"],
    );
    check(
        json!("realtime_30m"),
        ["2026-11-21T12:51:00+01:00", "2026-11-21T13:21:00+01:00"],
    );
}

#[test]
fn a_date_stands_for_today() {
    let mut site = Site::new("UTC");
    site.send(&[hit("2026-11-21T12:00:00Z", 1, "/")]);
    let question = |period| {
        json!({
            "site_id": "example.com", "date_range": period, "date": "2026-02-28", "metrics": ["visitors"],
        })
    };
    let range = |period| site.ask(question(period))["meta"]["date_range"].clone();
    assert_eq!(
        range("day"),
        json!(["2026-02-28T00:00:00+00:00", "2026-03-01T00:00:00+00:00"])
    );
    assert_eq!(
        range("month"),
        json!(["2026-02-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00"])
    );
    assert!(site.refusal(question("24h")).contains("date goes with"));
}

#[test]
fn time_means_an_interval_that_suits_the_range() {
    let mut site = Site::new("UTC");
    site.send(&[hit("2026-11-21T12:00:00Z", 1, "/")]);
    for (period, interval) in [
        ("day", "time:hour"),
        ("24h", "time:hour"),
        ("7d", "time:day"),
        ("30d", "time:day"),
        ("91d", "time:week"),
        ("12mo", "time:month"),
        ("realtime_30m", "time:minute"),
    ] {
        let answer = site.ask(json!({
            "site_id": "example.com", "date_range": period, "metrics": ["visitors"], "dimensions": ["time"],
        }));
        assert_eq!(answer["meta"]["interval"], interval, "{period}");
    }
}
