//! A process that stands still: a long pause of the machine, a suspended guest.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{Fault, Ring, pick};

const FROZEN: Duration = Duration::from_millis(1_200);
const THAWED: Duration = Duration::from_millis(400);

/// SIGSTOP and SIGCONT in turn.
pub(super) struct Pulses {
    number: u8,
    victim: Option<u8>,
}

impl Pulses {
    pub(super) fn new(number: u8) -> Self {
        Self {
            number,
            victim: None,
        }
    }
}

#[async_trait]
impl Fault for Pulses {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let victim = pick(&ring.slots(), self.number)?;
        self.victim = Some(victim);
        ring.node(victim)?.freeze()
    }

    async fn hold(&mut self, ring: &mut Ring, lasting: Duration) -> anyhow::Result<()> {
        let Some(victim) = self.victim else {
            return Ok(());
        };
        let until = Instant::now() + lasting;
        while Instant::now() < until {
            sleep(FROZEN).await;
            ring.node(victim)?.thaw()?;
            sleep(THAWED).await;
            ring.node(victim)?.freeze()?;
        }
        Ok(())
    }

    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        match self.victim.take() {
            Some(victim) => ring.node(victim)?.thaw(),
            None => Ok(()),
        }
    }
}
