//! The last minutes.

use serde_json::json;

use crate::site::{Site, hit};

fn site() -> Site {
    let mut site = Site::new("Asia/Kolkata");
    site.send(&[
        hit("2026-11-21T11:20:00Z", 1, "/old"),
        hit("2026-11-21T11:40:00Z", 2, "/a").from("Google").at("IN"),
        hit("2026-11-21T11:57:00Z", 3, "/a").from("Bing").at("DE"),
        hit("2026-11-21T11:58:00Z", 3, "/b"),
        hit("2026-11-21T11:59:30Z", 4, "/b").at("IN"),
    ]);
    site.at("2026-11-21T12:00:10Z");
    site
}

fn question(period: &str, metrics: &[&str], dimensions: &[&str]) -> serde_json::Value {
    json!({
        "site_id": "example.com", "date_range": period, "metrics": metrics, "dimensions": dimensions,
    })
}

#[test]
fn current_visitors_are_those_of_five_minutes() {
    let mut site = site();
    assert_eq!(
        site.table(question("realtime", &["visitors"], &[])),
        ": 2\n"
    );
    assert_eq!(site.current_visitors(), 2);
    site.at("2026-11-21T12:04:00Z");
    assert_eq!(site.current_visitors(), 1);
    site.at("2026-11-21T12:20:00Z");
    assert_eq!(site.current_visitors(), 0);
}

#[test]
fn half_an_hour_has_pages_sources_and_countries() {
    let site = site();
    let metrics = ["visitors", "events"];
    assert_eq!(
        site.table(question("realtime_30m", &["visitors", "pageviews"], &[])),
        ": 3 4\n"
    );
    assert_eq!(
        site.table(question("realtime_30m", &metrics, &["event:page"])),
        "/a: 2 2\n/b: 2 2\n"
    );
    assert_eq!(
        site.table(question(
            "realtime_30m",
            &["visitors"],
            &["visit:country_name"]
        )),
        "India: 2\n(not set): 1\nGermany: 1\n"
    );
    assert_eq!(
        site.table(question("realtime_30m", &["visitors"], &["time:minute"])),
        "2026-11-21 17:10:00: 1\n2026-11-21 17:27:00: 1\n2026-11-21 17:28:00: 1\n2026-11-21 17:29:00: 1\n"
    );
    assert!(
        site.refusal(question("realtime_30m", &["visitors"], &["visit:browser"]))
            .contains("realtime reports go with")
    );
    assert!(
        site.refusal(question("realtime_30m", &["bounce_rate"], &[]))
            .contains("is kept by hour")
    );
}
