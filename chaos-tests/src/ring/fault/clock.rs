//! A node whose clock is wrong.

use anyhow::Context;
use async_trait::async_trait;

use super::{Fault, Ring, pick};
use crate::ring::sandbox::faketime;

/// Restarts a node with another idea of the time of day; its monotonic clock runs as ever.
pub(super) struct Skew {
    number: u8,
    minutes: i32,
    victim: Option<u8>,
}

impl Skew {
    pub(super) fn new(number: u8, minutes: i32) -> Self {
        Self {
            number,
            minutes,
            victim: None,
        }
    }

    async fn restart(
        ring: &mut Ring,
        slot: u8,
        environment: Vec<(String, String)>,
    ) -> anyhow::Result<()> {
        let member = ring.members.get_mut(&slot).context("a node is there")?;
        let options = &mut member.options.environment;
        options.retain(|(name, _)| name != "LD_PRELOAD" && !name.starts_with("FAKETIME"));
        options.extend(environment);
        ring.terminate(slot).await?;
        ring.start(&[slot]).await
    }
}

#[async_trait]
impl Fault for Skew {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let victim = pick(&ring.slots(), self.number)?;
        let library = faketime().context("libfaketime is missing")?;
        let environment = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME", format!("{:+}m", self.minutes)),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        self.victim = Some(victim);
        Self::restart(ring, victim, environment.into()).await
    }

    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        match self.victim.take() {
            Some(victim) => Self::restart(ring, victim, Vec::new()).await,
            None => Ok(()),
        }
    }
}
