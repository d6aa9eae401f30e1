//! Disks that are slow or full.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{Fault, Ring, pick};
use crate::ring::cluster::RESERVE_BYTES;

/// How long the disk stands still, and then works.
const STANDS: Duration = Duration::from_millis(250);
const WORKS: Duration = Duration::from_millis(50);

/// A disk of which every write and every fsync may take a quarter of a second: the file system is frozen in pulses.
pub(super) struct Slow {
    number: u8,
}

impl Slow {
    pub(super) fn new(number: u8) -> Self {
        Self { number }
    }
}

#[async_trait]
impl Fault for Slow {
    async fn inject(&mut self, _ring: &mut Ring) -> anyhow::Result<()> {
        Ok(())
    }

    async fn hold(&mut self, ring: &mut Ring, lasting: Duration) -> anyhow::Result<()> {
        let victim = pick(&ring.slots(), self.number)?;
        let volume = ring.volumes.get(&victim).context("a slot has a volume")?;
        let until = Instant::now() + lasting;
        while Instant::now() < until {
            let frozen = volume.freeze()?;
            sleep(STANDS).await;
            drop(frozen);
            sleep(WORKS).await;
        }
        Ok(())
    }

    async fn heal(&mut self, _ring: &mut Ring) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A disk with less room than the node has to keep free.
pub(super) struct Full {
    number: u8,
    victim: Option<u8>,
}

impl Full {
    pub(super) fn new(number: u8) -> Self {
        Self {
            number,
            victim: None,
        }
    }
}

#[async_trait]
impl Fault for Full {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let victim = pick(&ring.slots(), self.number)?;
        let volume = ring.volumes.get(&victim).context("a slot has a volume")?;
        volume.fill(RESERVE_BYTES / 2)?;
        self.victim = Some(victim);
        Ok(())
    }

    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let Some(victim) = self.victim.take() else {
            return Ok(());
        };
        let volume = ring.volumes.get(&victim).context("a slot has a volume")?;
        volume.clear()
    }
}
