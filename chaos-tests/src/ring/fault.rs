//! What can go wrong, in one list.

mod clock;
mod disk;
mod freeze;
mod kill;
mod membership;
mod partition;

use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::{Ring, sandbox, sandbox::Sandbox};

/// Something that goes wrong and is put right again.
#[async_trait]
pub trait Fault: Send {
    /// Lets it go wrong.
    ///
    /// # Errors
    /// When that is not possible, or a node does something that no checker has a word for.
    async fn inject(&mut self, ring: &mut Ring) -> anyhow::Result<()>;

    /// The time in between.
    ///
    /// # Errors
    /// As for [`Self::inject`].
    async fn hold(&mut self, _ring: &mut Ring, lasting: Duration) -> anyhow::Result<()> {
        sleep(lasting).await;
        Ok(())
    }

    /// Puts it right.
    ///
    /// # Errors
    /// As for [`Self::inject`].
    async fn heal(&mut self, ring: &mut Ring) -> anyhow::Result<()>;
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Nothing goes wrong: the figures to compare with.
    Calm,
    /// SIGKILL of the node that leads the metadata, restarted at once.
    KillLeader,
    /// The same, restarted seconds later.
    KillLeaderLate,
    /// SIGKILL of another node, restarted at once.
    KillFollower,
    /// The same, restarted seconds later.
    KillFollowerLate,
    /// SIGKILL of all nodes, restarted at once.
    KillAll,
    /// The same, restarted seconds later.
    KillAllLate,
    /// SIGKILL of all nodes while the disk of one stands still, restarted at once.
    KillAllUnsynced,
    /// One node and the others do not hear each other.
    CutOff,
    /// One node is heard and hears nothing, or the other way round.
    CutOneWay,
    /// Two nodes do not hear each other; both hear the rest.
    CutPair,
    /// One node is cut off, comes back, is cut off …
    Flapping,
    /// No node hears any other: everything goes to spools; then all are killed, so that only the disks remember.
    CutAllKillAll,
    /// SIGSTOP and SIGCONT of one node, again and again.
    FreezePulses,
    /// The disk of one node stands still most of the time.
    SlowDisk,
    /// The disk of one node is full.
    FullDisk,
    /// The clock of one node is minutes off.
    ClockSkew,
    /// A node joins, another one is drained, stopped and removed.
    JoinAndDrain,
    /// All nodes, one after the other, are stopped in order and started again.
    RollingRestart,
    /// A node loses its disk and comes back as a new one; the old one is removed.
    LostData,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 20] = [
        Self::Calm,
        Self::KillLeader,
        Self::KillLeaderLate,
        Self::KillFollower,
        Self::KillFollowerLate,
        Self::KillAll,
        Self::KillAllLate,
        Self::KillAllUnsynced,
        Self::CutOff,
        Self::CutOneWay,
        Self::CutPair,
        Self::Flapping,
        Self::CutAllKillAll,
        Self::FreezePulses,
        Self::SlowDisk,
        Self::FullDisk,
        Self::ClockSkew,
        Self::JoinAndDrain,
        Self::RollingRestart,
        Self::LostData,
    ];

    /// Its name on the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::KillLeader => "kill-leader",
            Self::KillLeaderLate => "kill-leader-late",
            Self::KillFollower => "kill-follower",
            Self::KillFollowerLate => "kill-follower-late",
            Self::KillAll => "kill-all",
            Self::KillAllLate => "kill-all-late",
            Self::KillAllUnsynced => "kill-all-unsynced",
            Self::CutOff => "cut-off",
            Self::CutOneWay => "cut-one-way",
            Self::CutPair => "cut-pair",
            Self::Flapping => "flapping",
            Self::CutAllKillAll => "cut-all-kill-all",
            Self::FreezePulses => "freeze-pulses",
            Self::SlowDisk => "slow-disk",
            Self::FullDisk => "full-disk",
            Self::ClockSkew => "clock-skew",
            Self::JoinAndDrain => "join-and-drain",
            Self::RollingRestart => "rolling-restart",
            Self::LostData => "lost-data",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Why it cannot be tried here; none when it can.
    #[must_use]
    pub fn missing(self, sandbox: Sandbox) -> Option<&'static str> {
        match self {
            Self::SlowDisk | Self::FullDisk | Self::KillAllUnsynced if !sandbox.has_disks() => {
                Some("needs root, to mount a disk for each node")
            }
            Self::ClockSkew if sandbox::faketime().is_none() => {
                Some("needs libfaketime; on Debian: apt-get install libfaketime")
            }
            _ => None,
        }
    }

    /// How long it lasts, in milliseconds, from and to.
    pub(super) fn lasts_ms(self) -> (u64, u64) {
        match self {
            Self::KillLeader | Self::KillFollower | Self::KillAll => (0, 0),
            Self::JoinAndDrain | Self::RollingRestart | Self::LostData => (0, 0),
            Self::KillAllUnsynced => (300, 900),
            Self::Calm | Self::FreezePulses | Self::SlowDisk | Self::Flapping => (4_000, 8_000),
            _ => (2_500, 6_000),
        }
    }

    /// One of this kind; what it hits is decided by the randomness.
    pub(super) fn make(self, random: &mut ChaCha8Rng) -> Box<dyn Fault> {
        let victim = random.random_range(0..u8::MAX);
        let is_odd = random.random_bool(0.5);
        match self {
            Self::Calm => Box::new(Calm),
            Self::KillLeader | Self::KillLeaderLate => Box::new(kill::Kill::leader()),
            Self::KillFollower | Self::KillFollowerLate => Box::new(kill::Kill::follower(victim)),
            Self::KillAll | Self::KillAllLate => Box::new(kill::Kill::all()),
            Self::KillAllUnsynced => Box::new(kill::KillAllUnsynced),
            Self::CutOff => Box::new(partition::Cut::off(victim)),
            Self::CutOneWay => Box::new(partition::Cut::one_way(victim, is_odd)),
            Self::CutPair => Box::new(partition::Cut::pair(victim)),
            Self::Flapping => Box::new(partition::Flapping::new(victim)),
            Self::CutAllKillAll => Box::new(partition::CutAllKillAll),
            Self::FreezePulses => Box::new(freeze::Pulses::new(victim)),
            Self::SlowDisk => Box::new(disk::Slow::new(victim)),
            Self::FullDisk => Box::new(disk::Full::new(victim)),
            Self::ClockSkew => {
                let minutes = random.random_range(1..=4);
                Box::new(clock::Skew::new(
                    victim,
                    if is_odd { minutes } else { -minutes },
                ))
            }
            Self::JoinAndDrain => Box::new(membership::JoinAndDrain::new(victim)),
            Self::RollingRestart => Box::new(membership::RollingRestart),
            Self::LostData => Box::new(membership::LostData::new(victim, is_odd)),
        }
    }
}

/// The slot that a random number means.
fn pick(slots: &[u8], number: u8) -> anyhow::Result<u8> {
    let place = usize::from(number).checked_rem(slots.len());
    let slot = place.and_then(|place| slots.get(place));
    slot.copied()
        .ok_or_else(|| anyhow::anyhow!("there is no node to hit"))
}

struct Calm;

#[async_trait]
impl Fault for Calm {
    async fn inject(&mut self, _ring: &mut Ring) -> anyhow::Result<()> {
        Ok(())
    }

    async fn heal(&mut self, _ring: &mut Ring) -> anyhow::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in FaultKind::ALL {
            assert_eq!(FaultKind::named(kind.name()), Some(kind));
        }
        assert_eq!(FaultKind::named("earthquake"), None);
    }
}
