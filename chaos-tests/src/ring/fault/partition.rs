//! Cuts of the network.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{Fault, Ring, pick};

/// How long a flapping connection stays as it is.
const FLAP: Duration = Duration::from_millis(400);

impl Ring {
    /// What `from` sends does not reach `to` any more.
    fn cut(&mut self, from: u8, to: u8) -> anyhow::Result<()> {
        if self.cuts.insert((from, to)) {
            self.network.cut(from, to)?;
        }
        Ok(())
    }

    fn cut_both(&mut self, one: u8, other: u8) -> anyhow::Result<()> {
        self.cut(one, other)?;
        self.cut(other, one)
    }

    fn cut_off(&mut self, slot: u8) -> anyhow::Result<()> {
        for other in self.slots() {
            if other != slot {
                self.cut_both(slot, other)?;
            }
        }
        Ok(())
    }

    fn mend_all(&mut self) -> anyhow::Result<()> {
        while let Some((from, to)) = self.cuts.pop_first() {
            self.network.mend(from, to)?;
        }
        Ok(())
    }
}

enum Shape {
    Off,
    /// Deaf: it is heard and hears nothing. Else mute.
    OneWay {
        is_deaf: bool,
    },
    Pair,
}

/// A cut that stays until it is healed.
pub(super) struct Cut {
    victim: u8,
    shape: Shape,
}

impl Cut {
    pub(super) fn off(victim: u8) -> Self {
        let shape = Shape::Off;
        Self { victim, shape }
    }

    pub(super) fn one_way(victim: u8, is_deaf: bool) -> Self {
        let shape = Shape::OneWay { is_deaf };
        Self { victim, shape }
    }

    pub(super) fn pair(victim: u8) -> Self {
        let shape = Shape::Pair;
        Self { victim, shape }
    }
}

#[async_trait]
impl Fault for Cut {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let victim = pick(&ring.slots(), self.victim)?;
        let mut others = ring.slots();
        others.retain(|slot| *slot != victim);
        match self.shape {
            Shape::Off => ring.cut_off(victim),
            Shape::Pair => ring.cut_both(victim, pick(&others, self.victim)?),
            Shape::OneWay { is_deaf } => {
                for other in others {
                    if is_deaf {
                        ring.cut(other, victim)?;
                    } else {
                        ring.cut(victim, other)?;
                    }
                }
                Ok(())
            }
        }
    }

    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        ring.mend_all()
    }
}

/// A node that is cut off again and again.
pub(super) struct Flapping {
    victim: u8,
}

impl Flapping {
    pub(super) fn new(victim: u8) -> Self {
        Self { victim }
    }
}

#[async_trait]
impl Fault for Flapping {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        let victim = pick(&ring.slots(), self.victim)?;
        ring.cut_off(victim)
    }

    async fn hold(&mut self, ring: &mut Ring, lasting: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + lasting;
        while Instant::now() < until {
            sleep(FLAP).await;
            ring.mend_all()?;
            sleep(FLAP).await;
            self.inject(ring).await?;
        }
        Ok(())
    }

    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        ring.mend_all()
    }
}

/// No quorum anywhere, then no process anywhere.
pub(super) struct CutAllKillAll;

#[async_trait]
impl Fault for CutAllKillAll {
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        for slot in ring.slots() {
            ring.cut_off(slot)?;
        }
        Ok(())
    }

    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()> {
        for slot in ring.slots() {
            ring.kill(slot).await?;
        }
        ring.mend_all()?;
        ring.start_all().await
    }
}
