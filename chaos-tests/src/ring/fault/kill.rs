//! SIGKILL.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use tokio::time::sleep;

use super::{Fault, Ring, pick};

enum Whom {
    Leader,
    Follower(u8),
    All,
}

/// Kills nodes; the heal restarts them.
pub(super) struct Kill(Whom);

impl Kill {
    pub(super) fn leader() -> Self {
        Self(Whom::Leader)
    }

    pub(super) fn follower(number: u8) -> Self {
        Self(Whom::Follower(number))
    }

    pub(super) fn all() -> Self {
        Self(Whom::All)
    }
}

#[async_trait]
impl Fault for Kill {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let leader = ring.leader().await?;
        let victims = match self.0 {
            Whom::Leader => vec![leader],
            Whom::Follower(number) => {
                let mut slots = ring.slots();
                slots.retain(|slot| *slot != leader);
                vec![pick(&slots, number)?]
            }
            Whom::All => ring.slots(),
        };
        for slot in victims {
            ring.kill(slot).await?;
        }
        Ok(())
    }

    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        ring.start_all().await
    }
}

/// All nodes are killed while the disk of one that leads stands still: the others hold what that one has replicated and
/// never written.
pub(super) struct KillAllUnsynced;

#[async_trait]
impl Fault for KillAllUnsynced {
    async fn inject(&mut self, _ring: &mut Ring) -> anyhow::Result<()> {
        Ok(())
    }

    async fn hold(&mut self, ring: &mut Ring, lasting: Duration) -> anyhow::Result<()> {
        let leader = ring.leader().await?;
        let volume = ring.volumes.get(&leader).context("a slot has a volume")?;
        let frozen = volume.freeze()?;
        sleep(lasting).await;
        // A process that waits for a disk dies only when the disk answers.
        ring.kill_all(frozen).await
    }

    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        ring.start_all().await
    }
}
