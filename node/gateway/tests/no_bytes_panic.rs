//! Whatever bytes arrive are answered, and what is dropped is counted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use metrics_exporter_prometheus::PrometheusBuilder;
use proptest::prelude::*;
use ringtail_gateway::{Encoding, Envelope};
use support::{BROWSER, World};

const SEEDS: [&str; 5] = [
    r#"{"d":"example.com","n":"pageview","u":"https://example.com/a?q=1#x","p":{"a":"b"},"$":{"amount":"1","currency":"EUR"}}"#,
    r#"{"site":"example.com","events":[{"name":"pageview","url":"https://example.com/","time":"2026-11-21T12:00:00Z","props":{}}]}"#,
    r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /x HTTP/1.1" 200 203023 "http://a.b/" "Mozilla/5.0 \"x\" \x41""#,
    "d=example.com&u=https%3A%2F%2Fexample.com%2F&r=%ff&n=x",
    "https://[::1]:99999/%zz?utm_source=%E2%82&gclid=\u{0}",
];

/// Noise, or something valid with a few bytes changed.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let changed = (
        0..SEEDS.len(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    )
        .prop_map(|(seed, changes)| {
            let mut bytes = SEEDS[seed].as_bytes().to_vec();
            for (position, byte) in changes {
                let position = position.index(bytes.len());
                bytes[position] = byte;
            }
            bytes
        });
    prop_oneof![noise, changed]
}

#[test]
fn no_bytes_panic_any_dialect() {
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let site = world.gateway.site("example.com").unwrap();
    let importer = world.gateway.importer(site, "noise").unwrap();
    proptest!(ProptestConfig::with_cases(2_000), |(bytes in bytes(), is_trusted in any::<bool>())| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let envelope = Envelope {
            user_agent: if is_trusted { BROWSER } else { &text },
            forwarded_for: Some(text.as_str().into()),
            authorization: is_trusted.then_some("Bearer writer"),
            origin: &text,
            referer: &text,
            accept_language: &text,
            ..Envelope::default()
        };
        runtime.block_on(async {
            for encoding in [Encoding::Identity, Encoding::Gzip] {
                drop(world.gateway.collect_plausible(&envelope, encoding, &bytes).await);
                drop(world.gateway.collect_events(&envelope, encoding, &bytes).await);
            }
            drop(world.gateway.collect_pixel(&envelope, &text).await);
        });
        let lines = importer.enrich(&bytes, 1);
        prop_assert_eq!(lines.lines as usize, lines.events.len() + lines.dropped.len());
    });
}

#[test]
fn each_drop_is_counted_once_under_its_reason() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let world = metrics::with_local_recorder(&recorder, World::new);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let beacon = |user_agent: &'static str, body: &'static str| {
        let envelope = Envelope {
            user_agent,
            ..Envelope::default()
        };
        runtime
            .block_on(world.gateway.collect_plausible(
                &envelope,
                Encoding::Identity,
                body.as_bytes(),
            ))
            .is_ok()
    };
    assert!(beacon(
        "curl/8.5.0",
        r#"{"d":"example.com","n":"x","u":"https://example.com/"}"#
    ));
    assert!(beacon(
        BROWSER,
        r#"{"d":"nobody.example","n":"x","u":"https://example.com/"}"#
    ));
    assert!(beacon(
        BROWSER,
        r#"{"d":"paused.example","n":"x","u":"https://example.com/"}"#
    ));
    assert!(beacon(
        BROWSER,
        r#"{"d":"strict.example","n":"x","u":"https://example.com/"}"#
    ));
    assert!(!beacon(BROWSER, "{"));
    let text = metrics.render();
    for reason in ["bot", "unknown_site", "paused", "origin", "malformed"] {
        let line = format!("ringtail_enrich_dropped_total{{reason=\"{reason}\"}} 1");
        assert!(text.contains(&line), "{reason} in {text}");
    }
    assert!(text.contains("ringtail_collect_refused_total{kind=\"invalid_request\"} 1"));
    assert!(!text.contains("example.com"), "no labels of sites");
}
