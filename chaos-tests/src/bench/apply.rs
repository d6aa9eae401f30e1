//! Apply alone, without log and network: the bench of `node/analytics`.

use super::{Figure, Goal, log::cargo_bench};

/// One run of the crate's own bench.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let document = cargo_bench("ringtail-analytics", "apply").await?;
    let micros = document
        .get("us_per_event")
        .and_then(serde_json::Value::as_f64);
    let micros = anyhow::Context::context(micros, "the bench has no apply_us_per_event")?;
    Ok(vec![
        Figure::new("apply", micros, "µs/event on one core")
            .goal(Goal::AtMost(2.0))
            .detail("bench", document),
    ])
}
