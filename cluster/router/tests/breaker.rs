//! A leader that cannot be reached is given a rest, and taken back as soon as it answers.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use metrics_exporter_prometheus::PrometheusBuilder;
use ringtail_router::{Durability, RouterOptions};
use support::{
    events,
    ring::{Ring, quick, until},
};

#[actix_rt::test]
async fn the_breaker_of_a_dead_leader_opens_and_closes_once_it_is_back() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let shows = |line: &str| metrics.render().contains(line);
    let breaker_is = |state: u8| shows(&format!("breaker_state{{peer=\"1\"}} {state}"));
    let ring = Ring::start(RouterOptions {
        breaker_open_ms: 200,
        ..quick()
    })
    .await;
    let (site, router) = (ring.site_of(1), ring.router(2));
    let mut submission = router.submit(site, events(0..1), None).unwrap();
    assert_eq!(submission.committed().await, Ok(Durability::Quorum));
    assert!(breaker_is(0));
    ring.isolate(1, true);
    let mut submission = router.submit(site, events(1..2), None).unwrap();
    until("the breaker is open", || breaker_is(2)).await;
    assert_eq!(submission.committed().await, Ok(Durability::Spooled));
    ring.isolate(1, false);
    until("the breaker is closed", || breaker_is(0)).await;
    ring.until_spools_are_empty().await;
    assert_eq!(ring.accepted().len(), 2);
    for line in [
        "ringtail_route_breaker_refused_total ",
        "ringtail_route_retries_total{reason=\"unavailable\"} ",
        "ringtail_route_forwards_total 2",
        "ringtail_route_spooled_events_total 1",
        "ringtail_route_spool_forwarded_events_total 1",
        "ringtail_route_spool_files 0",
        "ringtail_route_spool_oldest_seconds 0",
    ] {
        assert!(shows(line), "{line} is not in\n{}", metrics.render());
    }
    ring.stop().await;
}
