//! Brings sites' settings from the metadata into their partitions' logs.

use std::time::Duration;

use ringtail_metadata::{Actor, Metadata, settings_of};
use ringtail_router::Router;
use tokio::time::sleep;

const INTERVAL: Duration = Duration::from_millis(500);

/// Pushes what waits as long as this node leads the metadata.
pub(crate) async fn push(metadata: Metadata, router: Router, actor: Actor) {
    let directory = metadata.directory();
    loop {
        sleep(INTERVAL).await;
        if !metadata.is_leader() {
            continue;
        }
        let waiting = directory
            .sites()
            .into_iter()
            .filter(|site| site.awaits_settings());
        for site in waiting.collect::<Vec<_>>() {
            let Ok(push) = settings_of(&site) else {
                continue;
            };
            let Ok(submitted) = router.command(push.site, push.command) else {
                continue;
            };
            if submitted.applied().await.is_ok() {
                // Whatever is not noted is pushed again, and then changes nothing.
                drop(
                    metadata
                        .settle(vec![(push.site, push.revision)], &actor)
                        .await,
                );
            }
        }
    }
}
