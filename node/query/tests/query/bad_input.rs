//! Questions that are refused, each with its reason; none panics.

use proptest::prelude::*;
use ringtail_query::QueryRequest;
use serde_json::{Value, json};

use crate::site::{Site, hit};

fn site() -> Site {
    let mut site = Site::new("UTC");
    site.send(&[hit("2026-11-21T12:00:00Z", 1, "/")]);
    site
}

/// A good question with some keys replaced is refused for a reason that holds these words.
fn check(changes: Value, expect: &str) {
    let mut question =
        json!({"site_id": "example.com", "date_range": "day", "metrics": ["visitors"]});
    for (key, value) in changes.as_object().unwrap() {
        question[key] = value.clone();
    }
    let refusal = site().refusal(question);
    assert!(refusal.contains(expect), "{changes}: {refusal}");
}

#[test]
fn unknown_words_are_named() {
    check(json!({"metric": ["visitors"]}), "unknown field `metric`");
    check(
        json!({"include": {"everything": true}}),
        "unknown field `everything`",
    );
    check(json!({"metrics": []}), "metrics is empty");
    check(json!({"metrics": ["vistors"]}), "\"vistors\"");
    check(json!({"metrics": ["visitors", "visitors"]}), "named twice");
    check(json!({"metrics": "visitors"}), "expected a sequence");
    check(
        json!({"dimensions": ["visit:shoe_size"]}),
        "visit:shoe_size",
    );
    check(json!({"dimensions": ["event:props:size"]}), "property keys");
    check(
        json!({"order_by": [["events", "desc"]]}),
        "order_by \"events\"",
    );
    check(json!({"order_by": [["visitors", "down"]]}), "asc or desc");
    check(
        json!({"order_by": [["visitors", "asc"], ["visitors", "desc"]]}),
        "twice",
    );
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    check(
        json!({"date_range": "yesterday"}),
        "\"yesterday\" is not known",
    );
    check(json!({"date_range": 7}), "date_range is a name");
    check(json!({"date_range": ["2026-11-21"]}), "two dates");
    check(
        json!({"date_range": ["2026-11-21", "2026-11-20"]}),
        "before it starts",
    );
    check(
        json!({"date_range": ["2026-02-30", "2026-03-01"]}),
        "neither two dates",
    );
    check(
        json!({"date_range": ["2026-11-21T00:00:00Z", "2026-11-20T00:00:00Z"]}),
        "before it starts",
    );
    check(json!({"date": "21.11.2026"}), "is not a date");
    check(
        json!({"date_range": ["-9999-01-01", "9999-12-31"]}),
        "neither two dates",
    );
    check(
        json!({"date_range": ["0001-01-01", "9999-12-31"]}),
        "out of range",
    );
    check(
        json!({"date_range": ["0001-01-01", "9000-12-30"], "dimensions": ["time:day"]}),
        "more than 10000 buckets",
    );
    check(
        json!({"date_range": ["2026-11-18T12:30:00Z", "2026-11-18T13:30:00Z"], "metrics": ["visits"]}),
        "by hour",
    );
}

#[test]
fn what_does_not_go_together_is_refused_as_plausible_does() {
    for metric in [
        "bounce_rate",
        "views_per_visit",
        "visit_duration",
        "engaged_visits",
    ] {
        check(
            json!({"metrics": [metric], "dimensions": ["event:name"]}),
            "except event:page",
        );
    }
    check(
        json!({"metrics": ["scroll_depth"]}),
        "needs dimension event:page",
    );
    check(
        json!({"metrics": ["time_on_page"], "dimensions": ["visit:source"]}),
        "needs dimension event:page",
    );
    check(
        json!({"metrics": ["conversion_rate"]}),
        "needs dimension event:goal",
    );
    check(json!({"metrics": ["percentage"]}), "needs a dimension");
    check(
        json!({"dimensions": ["time:day", "time:hour"]}),
        "only one dimension of time",
    );
    check(
        json!({"include": {"compare": "previous_period"}, "date_range": "all"}),
        "does not go with",
    );
}

#[test]
fn what_is_not_built_says_so() {
    check(
        json!({"filters": [["is", "visit:country", ["DE"]]]}),
        "filters: not built yet",
    );
    check(
        json!({"metrics": ["group_conversion_rate"]}),
        "not built yet",
    );
    check(
        json!({"dimensions": ["visit:country", "visit:source"]}),
        "not built yet",
    );
}

#[test]
fn pages_of_listings_have_limits() {
    for pagination in [json!({"limit": 0}), json!({"limit": 10_001})] {
        check(json!({"pagination": pagination}), "from 1 to 10000");
    }
    check(json!({"pagination": {"offset": -1}}), "not understood");
}

#[test]
fn bodies_that_are_no_questions_are_refused() {
    let deep = "[".repeat(60_000);
    let bodies: [&[u8]; 6] = [
        b"",
        b"null",
        b"[]",
        b"{\"site_id\":",
        b"\xFF\xFE",
        deep.as_bytes(),
    ];
    for body in bodies {
        let error = QueryRequest::parse(body).unwrap_err();
        assert!(
            error.to_string().starts_with("the query is not understood"),
            "{error}"
        );
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            "day",
            "time",
            "visitors",
            "event:page",
            "2026-11-21",
            "9999-12-31",
            "-009999-01-01",
            "2026-11-21T12:00:00Z",
            "9999-12-30T22:00:00Z",
            "-009999-01-02T01:59:59Z",
            "desc",
            "",
            "24h",
            "all",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Value::from)
    })
}

proptest! {
    #[test]
    fn no_question_panics(keys in prop::collection::vec((0_usize..9, any_json()), 0..4)) {
        let names = [
            "site_id", "metrics", "date_range", "date", "dimensions", "order_by", "include", "pagination", "filters",
        ];
        let mut question = json!({"site_id": "example.com", "date_range": "day", "metrics": ["visitors"]});
        for (key, value) in keys {
            question[names[key]] = value;
        }
        if let Err(error) = site().try_ask(&question) {
            prop_assert_eq!(error.kind().http_status(), 400);
        }
    }
}
