//! SIGKILL.

use async_trait::async_trait;

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
