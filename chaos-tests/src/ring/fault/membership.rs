//! Nodes that come and go under load.

use anyhow::Context;
use async_trait::async_trait;

use super::{Fault, Ring, pick};

/// A new node takes the place of another one.
pub(super) struct JoinAndDrain {
    number: u8,
}

impl JoinAndDrain {
    pub(super) fn new(number: u8) -> Self {
        Self { number }
    }
}

#[async_trait]
impl Fault for JoinAndDrain {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let leaving = pick(&ring.slots(), self.number)?;
        ring.join(ring.free_slot()).await?;
        ring.until_settled().await?;
        ring.drain(leaving).await?;
        let id = ring.member(leaving)?.id;
        ring.terminate(leaving).await?;
        ring.remove(id, false).await?;
        // Whoever gets the place later comes without memories.
        let volume = ring.volumes.get(&leaving).context("a slot has a volume")?;
        volume.lose()
    }

    async fn heal(&mut self, _ring: &mut Ring) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What an upgrade does.
pub(super) struct RollingRestart;

#[async_trait]
impl Fault for RollingRestart {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        ring.roll().await
    }

    async fn heal(&mut self, _ring: &mut Ring) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A dead disk. The machine comes back where it was, which takes that the old node is removed first; or another machine
/// takes its place, which joins before that.
pub(super) struct LostData {
    number: u8,
    comes_back: bool,
    lost: Option<(u8, u64)>,
}

impl LostData {
    pub(super) fn new(number: u8, comes_back: bool) -> Self {
        Self {
            number,
            comes_back,
            lost: None,
        }
    }
}

#[async_trait]
impl Fault for LostData {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let victim = pick(&ring.slots(), self.number)?;
        self.lost = Some((victim, ring.member(victim)?.id));
        ring.kill(victim).await?;
        let volume = ring.volumes.get(&victim).context("a slot has a volume")?;
        volume.lose()
    }

    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let Some((slot, id)) = self.lost.take() else {
            return Ok(());
        };
        if self.comes_back {
            ring.remove(id, true).await?;
            ring.join(slot).await
        } else {
            ring.join(ring.free_slot()).await?;
            ring.remove(id, true).await
        }
    }
}
