//! 100,000 sites with one event each: what a site costs, and how long a restart takes.

use std::time::Instant;

use super::{
    Figure,
    load::{Batches, send_closed},
    probe,
    stand::Stand,
};

const SITES: usize = 100_000;

/// One run.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    let empty_memory = probe::resident_bytes(stand.pid()?)?;
    let empty_disk = probe::folder_bytes(stand.folder.path())?;
    let domains: Vec<String> = (0..SITES).map(|site| format!("s{site}.example")).collect();
    let started = Instant::now();
    stand.add_sites(&domains).await?;
    let added = started.elapsed().as_secs_f64();
    let added_memory = probe::resident_bytes(stand.pid()?)?;
    let mut batches = Batches::new(1);
    let prepared = domains
        .iter()
        .map(|domain| batches.next(domain, 1))
        .collect();
    send_closed(&stand.node.grpc, &stand.token, prepared).await?;
    if let Some(last) = domains.last() {
        stand.wait_for_events(last, 1).await?;
    }
    let memory = probe::resident_bytes(stand.pid()?)?;
    let disk = probe::folder_bytes(stand.folder.path())?;
    // Killed: the longest replay that this state can need.
    let stand = stand.restart().await?;
    let restart = stand.node.ready_after.as_secs_f64();
    for domain in domains.iter().step_by(SITES / 20) {
        stand.wait_for_events(domain, 1).await?;
    }
    let stand = stand.drain().await?;
    let drained_restart = stand.node.ready_after.as_secs_f64();
    let settled_disk = probe::folder_bytes(stand.folder.path())?;
    let settled_memory = probe::resident_bytes(stand.pid()?)?;
    stand.end().await?;
    let each = |bytes: u64, empty: u64| bytes.saturating_sub(empty) as f64 / SITES as f64;
    Ok(vec![
        Figure::new(
            "many_sites_memory",
            each(memory, empty_memory),
            "bytes/site, all active",
        )
        .detail("resident_bytes", memory)
        .detail(
            "bytes_per_site_without_events",
            each(added_memory, empty_memory),
        )
        .detail(
            "bytes_per_site_after_a_restart",
            each(settled_memory, empty_memory),
        )
        .detail("sites_added_per_second", SITES as f64 / added),
        Figure::new(
            "many_sites_disk",
            each(settled_disk, empty_disk),
            "bytes/site, checkpointed",
        )
        .detail("before_the_checkpoint", each(disk, empty_disk)),
        Figure::new("many_sites_restart", restart, "s, after SIGKILL")
            .detail("after_a_drain_s", drained_restart),
    ])
}
