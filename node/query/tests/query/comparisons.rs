//! A range beside another.

use serde_json::json;

use crate::site::{Site, hit};

fn site() -> Site {
    let mut site = Site::new("Europe/Berlin");
    site.send(&[
        hit("2025-11-20T10:00:00Z", 1, "/old"),
        hit("2026-11-18T10:00:00Z", 2, "/a"),
        hit("2026-11-19T10:00:00Z", 3, "/a"),
        hit("2026-11-19T10:00:00Z", 4, "/b"),
        hit("2026-11-20T10:00:00Z", 5, "/a"),
        hit("2026-11-20T10:00:00Z", 6, "/a"),
        hit("2026-11-20T10:00:00Z", 7, "/a"),
        hit("2026-11-21T10:00:00Z", 8, "/c"),
    ]);
    site.settle();
    site
}

fn question(compare: serde_json::Value, dimensions: serde_json::Value) -> serde_json::Value {
    json!({
        "site_id": "example.com", "date_range": ["2026-11-20", "2026-11-21"], "dimensions": dimensions,
        "metrics": ["visitors", "bounce_rate"], "include": {"compare": compare},
    })
}

#[test]
fn the_previous_period_has_as_many_days() {
    let site = site();
    assert_eq!(
        site.table(question(json!("previous_period"), json!([]))),
        ": 4 100 (was 3 100, change 33.0 0.0)\n"
    );
    let answer = site.ask(question(json!("previous_period"), json!([])));
    assert_eq!(
        answer["meta"]["comparison_date_range"],
        json!(["2026-11-18T00:00:00+01:00", "2026-11-20T00:00:00+01:00"])
    );
}

#[test]
fn rows_are_compared_by_value() {
    assert_eq!(
        site().table(question(json!("previous_period"), json!(["event:page"]))),
        "/a: 3 100 (was 2 100, change 50.0 0.0)\n/c: 1 100 (was 0 0, change 100.0 100.0)\n"
    );
}

#[test]
fn buckets_are_compared_by_position() {
    let answer = site().ask(question(json!("previous_period"), json!(["time:day"])));
    assert_eq!(
        crate::site::rows(&answer),
        "2026-11-20: 3 100 (was 1 100, change 200.0 0.0)\n2026-11-21: 1 100 (was 2 100, change -50.0 0.0)\n"
    );
    assert_eq!(
        answer["results"][1]["comparison"]["dimensions"],
        json!(["2026-11-19"])
    );
}

#[test]
fn the_year_before_and_named_dates_can_be_compared_with() {
    let site = site();
    assert_eq!(
        site.table(question(json!("year_over_year"), json!([]))),
        ": 4 100 (was 1 100, change 300.0 0.0)\n"
    );
    assert_eq!(
        site.table(question(json!(["2026-11-19", "2026-11-19"]), json!([]))),
        ": 4 100 (was 2 100, change 100.0 0.0)\n"
    );
    assert!(
        site.refusal(question(json!(["2026-11-19", "2026-11-18"]), json!([])))
            .contains("the earlier first")
    );
    assert!(
        site.refusal(question(json!("last_week"), json!([])))
            .contains("include.compare")
    );
}
