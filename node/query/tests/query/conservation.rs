//! Whatever the buckets, the values and the moments of checkpoints: sums are the same.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::site::{Hit, Site, hit, rows};

/// Hits over nine days around a change of clocks.
fn any_hits() -> impl Strategy<Value = Vec<Hit>> {
    let one = (0_i64..9 * 24 * 60, 0_u64..20, 0_usize..5);
    prop::collection::vec(one, 1..60).prop_map(|hits| {
        let start: Timestamp = "2026-10-20T00:00:00Z".parse().unwrap();
        let hits = hits.into_iter().map(|(minute, visitor, page)| {
            let time = Timestamp::from_second(start.as_second() + minute * 60).unwrap();
            let sources = ["", "Google", "Bing", "", "Google"];
            hit(&time.to_string(), visitor, &format!("/{page}")).from(sources[page])
        });
        hits.collect()
    })
}

fn sum(answer: &Value, metric: usize) -> u64 {
    let rows = answer["results"].as_array().unwrap().iter();
    rows.map(|row| row["metrics"][metric].as_u64().unwrap())
        .sum()
}

fn question(dimensions: &[&str]) -> Value {
    json!({
        "site_id": "example.com", "date_range": ["2026-10-19", "2026-10-30"],
        "metrics": ["events", "pageviews", "visits"], "dimensions": dimensions,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn buckets_and_values_add_up_to_the_total(
        hits in any_hits(),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"]),
    ) {
        let mut site = Site::new(zone);
        site.send(&hits);
        let total = site.ask(question(&[]));
        prop_assert_eq!(sum(&total, 0), hits.len() as u64);
        for dimensions in [
            vec!["time:hour"], vec!["time:day"], vec!["time:week"], vec!["time:month"], vec!["visit:source"],
            vec!["visit:entry_page"], vec!["time:day", "visit:source"],
        ] {
            let parts = site.ask(question(&dimensions));
            for metric in 0..3 {
                prop_assert_eq!(sum(&parts, metric), sum(&total, metric), "{:?}", dimensions);
            }
        }
    }

    #[test]
    fn no_report_shows_where_its_numbers_rest(
        hits in any_hits(),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"]),
    ) {
        let mut in_memory = Site::new(zone);
        in_memory.send(&hits);
        let mut in_hours = Site::new(zone);
        in_hours.send(&hits);
        in_hours.checkpoint();
        let mut in_days = Site::new(zone);
        in_days.send(&hits);
        in_days.settle();
        for dimensions in [vec![], vec!["time:hour"], vec!["time:day"], vec!["event:page"], vec!["visit:source"]] {
            let mut asked = question(&dimensions);
            asked["metrics"] = json!(["visitors", "visits", "events", "bounce_rate", "visit_duration"]);
            let expect = rows(&in_memory.ask(asked.clone()));
            prop_assert_eq!(&rows(&in_hours.ask(asked.clone())), &expect);
            prop_assert_eq!(&rows(&in_days.ask(asked.clone())), &expect);
            // And once more, from the cache.
            prop_assert_eq!(&rows(&in_days.ask(asked)), &expect);
        }
    }
}
