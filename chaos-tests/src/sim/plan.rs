//! The plan of a run: which fault comes when. It is made from the seed alone, before anything runs.

use std::{fmt, ops::Range, time::Duration};

use rand::{Rng, SeedableRng, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

/// Nodes that found the ring.
pub(crate) const NODES: u64 = 3;
/// Node that comes later, in some runs.
pub(crate) const LATE_NODE: u64 = NODES + 1;

/// Something that goes wrong, or right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed; what it wrote stays, synced or not.
    Kill(u64),
    /// The machine loses power: only what was synced stays for certain.
    LosePower(u64),
    /// The machine loses power and vanishes from the network in the same moment: nobody is told.
    Vanish(u64),
    /// The process is started.
    Start(u64),
    /// Two hosts cannot reach each other.
    Cut(u64, u64),
    /// Messages of the first host do not reach the second.
    CutOneWay(u64, u64),
    /// Messages between two hosts wait.
    Hold(u64, u64),
    /// Nothing is wrong between two hosts any more.
    Mend(u64, u64),
    /// Messages between two hosts take so many milliseconds.
    Delay(u64, u64, u64),
    /// A host's clock is off by so many milliseconds.
    Skew(u64, i64),
    /// From now on syncs of a host's disk fail.
    FailSyncs(u64),
    /// One sync of a host's disk takes so many microseconds.
    SlowDisk(u64, u64),
    /// A host's disk is full.
    Fill(u64),
    /// A host's disk has space again.
    MakeRoom(u64),
    /// A new node joins.
    Join,
    /// A node is to give everything away.
    Drain(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(node) => write!(formatter, "kill {node}"),
            Self::LosePower(node) => write!(formatter, "power loss of {node}"),
            Self::Vanish(node) => write!(formatter, "{node} vanishes"),
            Self::Start(node) => write!(formatter, "start {node}"),
            Self::Cut(one, other) => write!(formatter, "cut {one}-{other}"),
            Self::CutOneWay(from, to) => write!(formatter, "cut {from}->{to}"),
            Self::Hold(one, other) => write!(formatter, "hold {one}-{other}"),
            Self::Mend(one, other) => write!(formatter, "mend {one}-{other}"),
            Self::Delay(one, other, ms) => write!(formatter, "delay {one}-{other} {ms} ms"),
            Self::Skew(node, ms) => write!(formatter, "clock of {node} {ms:+} ms"),
            Self::FailSyncs(node) => write!(formatter, "syncs of {node} fail"),
            Self::SlowDisk(node, us) => write!(formatter, "disk of {node} takes {us} us"),
            Self::Fill(node) => write!(formatter, "disk of {node} is full"),
            Self::MakeRoom(node) => write!(formatter, "disk of {node} has room"),
            Self::Join => formatter.write_str("a node joins"),
            Self::Drain(node) => write!(formatter, "drain {node}"),
        }
    }
}

/// All faults of a run, in order of time; after the last one everything is healed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Faults and when they come, from the moment on at which the ring is whole.
    pub faults: Vec<(Duration, Fault)>,
    /// When everything is healed.
    pub end: Duration,
    /// The longest time that a message takes while nothing is wrong.
    pub latency_ms_max: u64,
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "messages take up to {} ms", self.latency_ms_max)?;
        for (at, fault) in &self.faults {
            writeln!(formatter, "{:>7.3} {fault}", at.as_secs_f64())?;
        }
        writeln!(formatter, "{:>7.3} all is healed", self.end.as_secs_f64())
    }
}

/// What comes and goes together.
struct Episode {
    lasting: Duration,
    begin: Vec<Fault>,
    end: Vec<Fault>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64, lasting: Duration) -> Self {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed ^ 0x00fa_0175));
        let mut faults = Vec::new();
        // What befalls hosts and what befalls the network go on beside each other.
        for episode in [
            Dice::host_episode as fn(&mut Dice) -> Episode,
            Dice::link_episode,
        ] {
            let mut now = dice.ms(500..3_000);
            while now < lasting {
                let Episode {
                    lasting: time,
                    begin,
                    end,
                } = episode(&mut dice);
                faults.extend(begin.into_iter().map(|fault| (now, fault)));
                now += time;
                faults.extend(end.into_iter().map(|fault| (now, fault)));
                now += dice.ms(200..4_000);
            }
        }
        match seed % 4 {
            1 => faults.push((dice.ms(1_000..8_000), Fault::Join)),
            3 => {
                faults.push((dice.ms(1_000..5_000), Fault::Join));
                let leaving = dice.0.random_range(1..=NODES);
                faults.push((dice.ms(9_000..15_000), Fault::Drain(leaving)));
            }
            _ => {}
        }
        faults.sort_by_key(|(at, _)| *at);
        let last = faults.last().map_or(lasting, |(at, _)| *at);
        Self {
            faults,
            end: last.max(lasting) + Duration::from_millis(500),
            latency_ms_max: dice.pick(&[1, 2, 5, 20]),
        }
    }
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn ms(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.0.random_range(range))
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.0)
            .expect("there is something to choose")
    }

    fn node(&mut self) -> u64 {
        self.0.random_range(1..=NODES)
    }

    fn others(node: u64) -> impl Iterator<Item = u64> {
        (1..=LATE_NODE).filter(move |other| *other != node)
    }

    fn host_episode(&mut self) -> Episode {
        let node = self.node();
        let (begin, end, lasting) = match self.0.random_range(0..12) {
            // Back at once, or late.
            0..=1 => (
                vec![Fault::Kill(node)],
                vec![Fault::Start(node)],
                self.ms(5..3_000),
            ),
            2..=3 => (
                vec![Fault::LosePower(node)],
                vec![Fault::Start(node)],
                self.ms(5..300),
            ),
            4 => (
                vec![Fault::LosePower(node)],
                vec![Fault::Start(node)],
                self.ms(1_500..6_000),
            ),
            5 => (
                vec![Fault::Vanish(node)],
                vec![Fault::Start(node)],
                self.ms(500..5_000),
            ),
            6 => {
                let all = 1..=NODES;
                let begin = all.clone().map(Fault::LosePower).collect();
                (begin, all.map(Fault::Start).collect(), self.ms(5..2_000))
            }
            7 => {
                let other = node % NODES + 1;
                let begin = vec![Fault::LosePower(node), Fault::LosePower(other)];
                let end = vec![Fault::Start(other), Fault::Start(node)];
                (begin, end, self.ms(100..4_000))
            }
            8 => {
                let skew = self.0.random_range(-240_000..=240_000);
                (
                    vec![Fault::Skew(node, skew)],
                    Vec::new(),
                    self.ms(500..2_000),
                )
            }
            9 => {
                let end = vec![Fault::LosePower(node), Fault::Start(node)];
                (vec![Fault::FailSyncs(node)], end, self.ms(200..3_000))
            }
            10 => {
                let end = vec![Fault::SlowDisk(node, 1_000)];
                let us = self.pick(&[5_000, 30_000, 120_000]);
                (vec![Fault::SlowDisk(node, us)], end, self.ms(1_000..5_000))
            }
            _ => (
                vec![Fault::Fill(node)],
                vec![Fault::MakeRoom(node)],
                self.ms(500..4_000),
            ),
        };
        Episode {
            lasting,
            begin,
            end,
        }
    }

    fn link_episode(&mut self) -> Episode {
        let one = self.node();
        let other = one % NODES + 1;
        let mend_all = |node: u64| Self::others(node).map(move |other| Fault::Mend(node, other));
        let (begin, end, lasting): (Vec<Fault>, Vec<Fault>, _) = match self.0.random_range(0..9) {
            // One pair: a partial partition, in which the third reaches both.
            0..=1 => (
                vec![Fault::Cut(one, other)],
                vec![Fault::Mend(one, other)],
                self.ms(300..6_000),
            ),
            2..=3 => (
                Self::others(one)
                    .map(|other| Fault::Cut(one, other))
                    .collect(),
                mend_all(one).collect(),
                self.ms(300..6_000),
            ),
            4 => (
                vec![Fault::CutOneWay(one, other)],
                vec![Fault::Mend(one, other)],
                self.ms(300..5_000),
            ),
            5 => (
                Self::others(one)
                    .map(|other| Fault::CutOneWay(one, other))
                    .collect(),
                mend_all(one).collect(),
                self.ms(300..5_000),
            ),
            6..=7 => (
                Self::others(one)
                    .map(|other| Fault::Hold(one, other))
                    .collect(),
                mend_all(one).collect(),
                self.ms(100..4_000),
            ),
            _ => (
                vec![Fault::Delay(one, other, self.0.random_range(20..400))],
                vec![Fault::Mend(one, other)],
                self.ms(1_000..5_000),
            ),
        };
        Episode {
            lasting,
            begin,
            end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_make_equal_plans_and_others_make_others() {
        let plan = |seed| Plan::new(seed, Duration::from_secs(20));
        assert_eq!(plan(5), plan(5));
        assert_ne!(plan(5), plan(9));
    }

    #[test]
    fn whoever_is_stopped_is_started_again() {
        for seed in 0..200 {
            let plan = Plan::new(seed, Duration::from_secs(20));
            let mut down = std::collections::BTreeSet::new();
            for (_, fault) in &plan.faults {
                match fault {
                    Fault::Kill(node) | Fault::LosePower(node) | Fault::Vanish(node) => {
                        down.insert(*node);
                    }
                    Fault::Start(node) => {
                        down.remove(node);
                    }
                    _ => {}
                }
            }
            assert!(down.is_empty(), "{seed}: {plan}");
        }
    }
}
