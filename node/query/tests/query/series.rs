//! Numbers over time, in the site's zone.

use serde_json::json;

use crate::site::{Site, hit};

#[test]
fn a_day_of_24_hours_has_its_hours() {
    let mut site = Site::new("Europe/Berlin");
    site.send(&[
        hit("2026-11-20T22:59:00Z", 1, "/"),
        hit("2026-11-20T23:00:00Z", 2, "/"),
        hit("2026-11-21T11:30:00Z", 3, "/"),
        hit("2026-11-21T11:31:00Z", 3, "/docs/a"),
    ]);
    let question = json!({
        "site_id": "example.com", "date_range": "day", "dimensions": ["time:hour"],
        "metrics": ["visitors", "visits", "pageviews", "bounce_rate"],
    });
    assert_eq!(
        site.table(question),
        "2026-11-21 00:00:00: 1 1 1 100\n2026-11-21 12:00:00: 1 1 2 0\n"
    );
}

#[test]
fn the_day_of_25_hours_counts_the_hour_that_comes_twice() {
    let mut site = Site::new("Europe/Berlin");
    site.send(&[
        hit("2026-10-24T22:10:00Z", 1, "/"),
        hit("2026-10-25T00:10:00Z", 2, "/"),
        hit("2026-10-25T01:10:00Z", 3, "/"),
        hit("2026-10-25T22:50:00Z", 4, "/"),
        hit("2026-10-25T23:10:00Z", 5, "/"),
    ]);
    for settled in [false, true] {
        if settled {
            site.send(&[hit("2026-10-29T12:00:00Z", 9, "/")]);
            site.settle();
        }
        let mut question = json!({
            "site_id": "example.com", "date_range": ["2026-10-25", "2026-10-25"],
            "metrics": ["events"], "dimensions": ["time"], "include": {"time_labels": true},
        });
        let answer = site.ask(question.clone());
        assert_eq!(
            crate::site::rows(&answer),
            "2026-10-25 00:00:00: 1\n2026-10-25 02:00:00: 1\n2026-10-25 02:00:00: 1\n2026-10-25 23:00:00: 1\n"
        );
        assert_eq!(answer["meta"]["time_labels"].as_array().unwrap().len(), 25);
        assert_eq!(answer["meta"]["interval"], "time:hour");
        question["dimensions"] = json!(["time:day"]);
        assert_eq!(site.table(question), "2026-10-25: 4\n");
    }
}

#[test]
fn the_day_of_23_hours_leaves_the_skipped_hour_out() {
    let mut site = Site::new("Europe/Berlin");
    site.send(&[
        hit("2026-03-29T00:30:00Z", 1, "/"),
        hit("2026-03-29T01:30:00Z", 2, "/"),
    ]);
    let answer = site.ask(json!({
        "site_id": "example.com", "date_range": "day", "metrics": ["events"],
        "dimensions": ["time:hour"], "include": {"time_labels": true},
    }));
    assert_eq!(
        crate::site::rows(&answer),
        "2026-03-29 01:00:00: 1\n2026-03-29 03:00:00: 1\n"
    );
    assert_eq!(answer["meta"]["time_labels"].as_array().unwrap().len(), 23);
}

#[test]
fn zones_of_half_hours_have_whole_local_hours() {
    let mut site = Site::new("Asia/Kolkata");
    site.send(&[
        hit("2026-11-20T18:29:59Z", 1, "/"),
        hit("2026-11-20T18:30:00Z", 2, "/"),
        hit("2026-11-20T19:29:59Z", 3, "/"),
        hit("2026-11-20T19:30:00Z", 4, "/"),
    ]);
    let question = |interval| {
        json!({
            "site_id": "example.com", "date_range": ["2026-11-20", "2026-11-21"],
            "metrics": ["events", "visitors"], "dimensions": [interval],
        })
    };
    let expect = "2026-11-20 23:00:00: 1 1\n2026-11-21 00:00:00: 2 2\n2026-11-21 01:00:00: 1 1\n";
    assert_eq!(site.table(question("time:hour")), expect);
    assert_eq!(
        site.table(question("time:day")),
        "2026-11-20: 1 1\n2026-11-21: 3 3\n"
    );
    site.send(&[hit("2026-11-25T00:00:00Z", 5, "/")]);
    site.settle();
    assert_eq!(site.table(question("time:hour")), expect);
    assert_eq!(
        site.table(question("time:day")),
        "2026-11-20: 1 1\n2026-11-21: 3 3\n"
    );
}

#[test]
fn a_zone_that_shifts_by_half_an_hour_loses_nothing() {
    let mut site = Site::new("Australia/Lord_Howe");
    // Clocks go from 2:00 back to 1:30 at 15:00 UTC.
    site.send(&[
        hit("2026-04-04T14:45:00Z", 1, "/"),
        hit("2026-04-04T15:15:00Z", 2, "/"),
        hit("2026-04-04T15:45:00Z", 3, "/"),
    ]);
    let question = |interval| {
        json!({
            "site_id": "example.com", "date_range": ["2026-04-05", "2026-04-05"],
            "metrics": ["events"], "dimensions": [interval],
        })
    };
    let hours = "2026-04-05 01:00:00: 1\n2026-04-05 01:00:00: 1\n2026-04-05 02:00:00: 1\n";
    assert_eq!(site.table(question("time:hour")), hours);
    site.send(&[hit("2026-04-09T00:00:00Z", 4, "/")]);
    site.settle();
    assert_eq!(site.table(question("time:hour")), hours);
    assert_eq!(site.table(question("time:day")), "2026-04-05: 3\n");
}

#[test]
fn weeks_begin_on_monday_and_months_on_their_first() {
    let mut site = Site::new("UTC");
    let days = [
        "2026-01-04",
        "2026-01-05",
        "2026-01-11",
        "2026-01-12",
        "2026-02-01",
    ];
    let hits: Vec<_> = days
        .iter()
        .zip(1..)
        .map(|(day, visitor)| hit(&format!("{day}T12:00:00Z"), visitor, "/"))
        .collect();
    site.send(&hits);
    site.settle();
    let question = |interval| {
        json!({
            "site_id": "example.com", "date_range": ["2026-01-01", "2026-02-28"],
            "metrics": ["visits"], "dimensions": [interval],
        })
    };
    assert_eq!(
        site.table(question("time:week")),
        "2025-12-29: 1\n2026-01-05: 2\n2026-01-12: 1\n2026-01-26: 1\n"
    );
    assert_eq!(
        site.table(question("time:month")),
        "2026-01-01: 4\n2026-02-01: 1\n"
    );
}

#[test]
fn time_and_one_dimension_give_a_table_of_both() {
    let mut site = Site::new("UTC");
    site.send(&[
        hit("2026-11-20T10:00:00Z", 1, "/a"),
        hit("2026-11-20T10:01:00Z", 2, "/b"),
        hit("2026-11-20T10:02:00Z", 3, "/b"),
        hit("2026-11-21T10:00:00Z", 4, "/a"),
    ]);
    let question = json!({
        "site_id": "example.com", "date_range": ["2026-11-20", "2026-11-21"],
        "metrics": ["visitors", "percentage"], "dimensions": ["time:day", "event:page"],
    });
    assert_eq!(
        site.table(question),
        "2026-11-20 | /b: 2 50.0\n2026-11-20 | /a: 1 25.0\n2026-11-21 | /a: 1 25.0\n"
    );
}

#[test]
fn minutes_answer_what_does_not_align_to_hours() {
    let mut site = Site::new("UTC");
    site.send(&[
        hit("2026-11-20T10:14:59Z", 1, "/"),
        hit("2026-11-20T10:15:00Z", 2, "/"),
        hit("2026-11-20T10:15:59Z", 3, "/"),
        hit("2026-11-20T11:44:59Z", 2, "/"),
        hit("2026-11-20T11:45:00Z", 4, "/"),
    ]);
    let question = |dimensions| {
        json!({
            "site_id": "example.com", "date_range": ["2026-11-20T10:15:00Z", "2026-11-20T11:45:00Z"],
            "metrics": ["visitors", "pageviews"], "dimensions": dimensions,
        })
    };
    for settled in [false, true] {
        if settled {
            site.send(&[hit("2026-11-22T00:00:00Z", 9, "/")]);
            site.settle();
        }
        assert_eq!(site.table(question(json!([]))), ": 2 3\n");
        assert_eq!(
            site.table(question(json!(["time:minute"]))),
            "2026-11-20 10:15:00: 2 2\n2026-11-20 11:44:00: 1 1\n"
        );
        assert_eq!(
            site.table(question(json!(["time:hour"]))),
            "2026-11-20 10:00:00: 2 2\n2026-11-20 11:00:00: 1 1\n"
        );
    }
    site.at("2026-11-25T00:00:00Z");
    assert!(site.refusal(question(json!([]))).contains("72 hours"));
}
