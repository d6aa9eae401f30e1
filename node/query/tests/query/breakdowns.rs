//! Numbers by value.

use serde_json::json;

use crate::site::{Site, hit, rows};

fn busy_site() -> Site {
    let mut site = Site::new("UTC");
    site.send(&[
        hit("2026-11-21T10:00:00Z", 1, "/").from("Google").at("DE"),
        hit("2026-11-21T10:01:00Z", 1, "/docs/a")
            .from("Google")
            .at("DE"),
        hit("2026-11-21T10:01:30Z", 1, "/docs/a").engaged(80, 42_000),
        hit("2026-11-21T10:02:00Z", 2, "/").from("Bing").at("US"),
        hit("2026-11-21T10:03:00Z", 3, "/docs/a"),
        hit("2026-11-21T10:04:00Z", 3, "/docs/a")
            .named("signup")
            .with("plan", "team"),
        hit("2026-11-21T10:05:00Z", 4, "/docs/b")
            .from("Bing")
            .at("DE"),
    ]);
    site
}

fn by(dimension: &str, metrics: &[&str]) -> serde_json::Value {
    json!({
        "site_id": "example.com", "date_range": "day", "metrics": metrics, "dimensions": [dimension],
    })
}

#[test]
fn every_metric_of_the_whole_site() {
    let question = json!({
        "site_id": "example.com", "date_range": "day",
        "metrics": ["visitors", "visits", "pageviews", "events", "views_per_visit", "bounce_rate",
                    "visit_duration", "engaged_visits", "total_revenue"],
    });
    // Bounces are those of 2 and 4; visits lasted 90, 0, 60 and 0 s; 1 is engaged, 3 and 4 met goals.
    assert_eq!(busy_site().table(question), ": 4 4 5 6 1.25 50 38 3 null\n");
}

#[test]
fn pages_with_all_that_pages_have() {
    let metrics = [
        "visitors",
        "visits",
        "pageviews",
        "bounce_rate",
        "scroll_depth",
        "time_on_page",
    ];
    assert_eq!(
        busy_site().table(by("event:page", &metrics)),
        "/: 2 2 2 50 null null\n/docs/a: 2 2 2 0 80 21\n/docs/b: 1 1 1 100 null null\n"
    );
}

#[test]
fn ties_are_ordered_by_value() {
    let site = busy_site();
    assert_eq!(
        site.table(by("visit:source", &["visitors"])),
        "Bing: 2\nDirect / None: 1\nGoogle: 1\n"
    );
    let mut upward = by("visit:source", &["visitors"]);
    upward["order_by"] = json!([["visitors", "asc"]]);
    assert_eq!(site.table(upward), "Direct / None: 1\nGoogle: 1\nBing: 2\n");
    let mut by_name = by("visit:source", &["visitors"]);
    by_name["order_by"] = json!([["visit:source", "desc"]]);
    assert_eq!(
        site.table(by_name),
        "Google: 1\nDirect / None: 1\nBing: 2\n"
    );
}

#[test]
fn countries_have_codes_and_names() {
    let site = busy_site();
    assert_eq!(
        site.table(by("visit:country", &["visitors", "percentage"])),
        "DE: 2 50.0\n(not set): 1 25.0\nUS: 1 25.0\n"
    );
    assert_eq!(
        site.table(by("visit:country_name", &["visitors"])),
        "Germany: 2\n(not set): 1\nUnited States: 1\n"
    );
}

#[test]
fn goals_have_conversions_and_say_since_when() {
    let answer = busy_site().ask(by("event:goal", &["visitors", "events", "conversion_rate"]));
    assert_eq!(rows(&answer), "Docs: 3 3 75.0\nSign up: 1 1 25.0\n");
    assert_eq!(
        answer["meta"]["goals"],
        json!([
            {"name": "Sign up", "since": "2020-01-01T00:00:00+00:00"},
            {"name": "Docs", "since": "2020-01-01T00:00:00+00:00"},
        ])
    );
}

#[test]
fn events_and_properties_have_values_of_their_own() {
    let site = busy_site();
    assert_eq!(
        site.table(by("event:name", &["events", "visitors"])),
        "pageview: 5 4\nsignup: 1 1\n"
    );
    assert_eq!(site.table(by("event:props:plan", &["events"])), "team: 1\n");
    assert_eq!(
        site.table(by("event:hostname", &["events"])),
        "example.com: 6\n"
    );
    assert_eq!(
        site.table(by("visit:entry_page", &["visits", "views_per_visit"])),
        "/: 2 1.5\n/docs/a: 1 1.0\n/docs/b: 1 1.0\n"
    );
    assert_eq!(
        site.table(by("visit:exit_page", &["visits"])),
        "/docs/a: 2\n/: 1\n/docs/b: 1\n"
    );
}

#[test]
fn every_dimension_is_answered() {
    let mut site = busy_site();
    for settled in [false, true] {
        if settled {
            site.send(&[hit("2026-11-24T00:00:00Z", 9, "/")]);
            site.settle();
            site.at("2026-11-21T12:00:00Z");
        }
        for name in [
            "event:goal",
            "event:page",
            "event:hostname",
            "event:name",
            "event:props:plan",
            "visit:entry_page",
            "visit:exit_page",
            "visit:source",
            "visit:referrer",
            "visit:channel",
            "visit:utm_medium",
            "visit:utm_source",
            "visit:utm_campaign",
            "visit:utm_content",
            "visit:utm_term",
            "visit:device",
            "visit:browser",
            "visit:browser_version",
            "visit:os",
            "visit:os_version",
            "visit:country",
            "visit:region",
            "visit:city",
            "visit:country_name",
            "visit:region_name",
            "visit:city_name",
            "visit:screen",
            "visit:language",
        ] {
            let answer = site.ask(by(name, &["visitors", "events"]));
            assert!(!answer["results"].as_array().unwrap().is_empty(), "{name}");
        }
    }
}

#[test]
fn pages_of_a_listing_fit_together() {
    let mut site = Site::new("UTC");
    let hits: Vec<_> = (0..25)
        .map(|n| hit("2026-11-21T10:00:00Z", n, &format!("/{n:02}")))
        .collect();
    site.send(&hits);
    let mut listed = String::new();
    for offset in [0, 10, 20, 30] {
        let mut question = by("event:page", &["visitors"]);
        question["pagination"] = json!({"limit": 10, "offset": offset});
        question["include"] = json!({"total_rows": true});
        let answer = site.ask(question);
        assert_eq!(answer["meta"]["total_rows"], 25);
        listed += &rows(&answer);
    }
    assert_eq!(listed, site.table(by("event:page", &["visitors"])));
}

#[test]
fn several_currencies_stay_apart() {
    let mut site = Site::new("UTC");
    site.send(&[
        hit("2026-11-21T10:00:00Z", 1, "/")
            .named("signup")
            .worth("EUR", 12_500_000),
        hit("2026-11-21T10:01:00Z", 1, "/")
            .named("signup")
            .worth("EUR", 7_500_000),
    ]);
    let question = by("event:goal", &["total_revenue", "average_revenue"]);
    let one = site.ask(question.clone());
    assert_eq!(
        one["results"][0]["metrics"],
        json!([
            {"value": 20.0, "currency": "EUR", "short": "€20.00", "long": "€20.00"},
            {"value": 10.0, "currency": "EUR", "short": "€10.00", "long": "€10.00"},
        ])
    );
    site.send(&[hit("2026-11-21T10:02:00Z", 2, "/")
        .named("signup")
        .worth("USD", 1_000_000)]);
    let two = site.ask(question);
    let total = &two["results"][0]["metrics"][0];
    assert_eq!(total[0]["currency"], "EUR");
    assert_eq!(
        total[1],
        json!({"value": 1.0, "currency": "USD", "short": "$1.00", "long": "$1.00"})
    );
    assert!(two["meta"]["notes"].to_string().contains("never converted"));
}

#[test]
fn estimates_say_how_far_they_may_be_off() {
    let mut site = Site::new("UTC");
    let few: Vec<_> = (0..200)
        .map(|n| hit("2026-11-21T10:00:00Z", n, "/"))
        .collect();
    site.send(&few);
    let exact = site.ask(by("event:page", &["visitors", "events"]));
    assert_eq!(exact["meta"]["is_exact"], true);
    assert_eq!(exact["meta"]["approximate"], json!([]));
    let more: Vec<_> = (200..400)
        .map(|n| hit("2026-11-21T10:00:00Z", n, "/"))
        .collect();
    site.send(&more);
    let estimated = site.ask(by("event:page", &["visitors", "events"]));
    assert_eq!(estimated["meta"]["is_exact"], false);
    assert_eq!(
        estimated["meta"]["approximate"],
        json!([{"metric": "visitors", "relative_standard_error": 0.0325}])
    );
    assert_eq!(estimated["results"][0]["metrics"][1], 400);
}

#[test]
fn values_beyond_the_cap_are_a_row_that_comes_last() {
    let mut site = Site::new("UTC");
    let hits: Vec<_> = (0..1_200_u64)
        .map(|n| hit("2026-11-18T10:00:00Z", n % 50, &format!("/{n:04}")))
        .collect();
    site.send(&hits);
    site.send(&[hit("2026-11-21T10:00:00Z", 1, "/")]);
    site.settle();
    let question = json!({
        "site_id": "example.com", "date_range": ["2026-11-18", "2026-11-18"], "metrics": ["events"],
        "dimensions": ["event:page"], "order_by": [["event:page", "desc"]],
    });
    let answer = site.ask(question.clone());
    let last = answer["results"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last["dimensions"], json!(["(other)"]));
    assert_eq!(last["metrics"], json!([200]));
    assert_eq!(
        answer["meta"]["remainder"],
        json!({"dimension": "event:page", "label": "(other)", "values_max": 200})
    );
    assert!(site.table(question).starts_with("/0999: 1\n"));
}

#[test]
fn meta_says_what_state_was_read() {
    let site = busy_site();
    let answer = site.ask(by("event:page", &["visitors"]));
    let meta = &answer["meta"];
    assert_eq!(meta["index"], 8);
    assert_eq!(meta["as_of"], "2026-11-21T10:05:00+00:00");
    assert_eq!(meta["pending_late"], 0);
    assert_eq!(
        meta["date_range"],
        json!(["2026-11-21T00:00:00+00:00", "2026-11-22T00:00:00+00:00"])
    );
    assert_eq!(answer["query"]["order_by"], json!([["visitors", "desc"]]));
    assert!(meta.get("notes").is_none());
    let mut week = by("event:page", &["visitors"]);
    week["date_range"] = json!("7d");
    assert!(
        site.ask(week)["meta"]["notes"]
            .to_string()
            .contains("sum of days")
    );
}
