//! What rounds of faults found.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};

use super::FaultKind;
use crate::checkers::Violation;

/// Violations that are printed; the rest is counted.
const PRINTED_MAX: usize = 30;

/// What was seen of one kind of fault.
#[derive(Clone, Debug, Default)]
pub struct FaultRow {
    /// For each time: the longest time in which some partition acknowledged nothing by quorum.
    pub gaps: Vec<Duration>,
    /// For each time: from the end of the heal until every partition had acknowledged by quorum.
    pub recoveries: Vec<Duration>,
    /// Probes sent meanwhile.
    pub probes: u64,
    /// Probes that a spool took.
    pub spooled: u64,
    /// Probes that no node took.
    pub failed: u64,
    /// Times that liveness was not restored within the bound.
    pub violations: u64,
}

/// The sum of all rounds.
#[derive(Debug, Default)]
pub struct Report {
    /// Seed of the first round.
    pub seed: u64,
    /// Rounds that are over.
    pub rounds: u64,
    /// How the nodes were connected.
    pub place: &'static str,
    /// By kind of fault.
    pub rows: BTreeMap<FaultKind, FaultRow>,
    /// Kinds that cannot be tried here, and why.
    pub left_out: Vec<(FaultKind, &'static str)>,
    /// Events of the workload by what its clients know.
    pub acknowledged: usize,
    /// Events whose answer never came.
    pub unknown: usize,
    /// Duplicates that the ring found.
    pub duplicates: u64,
    /// Answers of any node that were compared with the answers before.
    pub reads: u64,
    /// Broken promises.
    pub violations: Vec<Violation>,
}

impl Report {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(kind, row)| {
            json!({
                "fault": kind.name(),
                "times": row.gaps.len(),
                "gaps_ms": milliseconds(&row.gaps),
                "recoveries_ms": milliseconds(&row.recoveries),
                "probes": row.probes,
                "spooled": row.spooled,
                "failed": row.failed,
                "violations": row.violations,
            })
        });
        let violations = self
            .violations
            .iter()
            .map(|violation| json!({"kind": violation.kind(), "text": violation.to_string()}));
        let left_out = self.left_out.iter();
        json!({
            "seed": self.seed,
            "rounds": self.rounds,
            "place": self.place,
            "faults": rows.collect::<Vec<_>>(),
            "left_out": left_out.map(|(kind, _)| kind.name()).collect::<Vec<_>>(),
            "acknowledged": self.acknowledged,
            "unknown": self.unknown,
            "duplicates": self.duplicates,
            "reads": self.reads,
            "violations": violations.collect::<Vec<_>>(),
        })
    }
}

fn milliseconds(durations: &[Duration]) -> Vec<u64> {
    let milliseconds = durations.iter().map(|duration| whole_ms(*duration));
    milliseconds.collect()
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The value below which so many of a hundred lie, by the nearest rank.
fn percentile(durations: &[Duration], percent: usize) -> u64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().map_or(0, whole_ms)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "seed {}, {} rounds, {}: {} events acknowledged, {} unknown, {} duplicates found, {} reads",
            self.seed,
            self.rounds,
            self.place,
            self.acknowledged,
            self.unknown,
            self.duplicates,
            self.reads
        )?;
        writeln!(
            formatter,
            "{:<20}{:>6}{:>9}{:>9}{:>9}{:>11}{:>8}{:>9}{:>8}{:>11}",
            "fault",
            "times",
            "gap p50",
            "p99",
            "max ms",
            "healed max",
            "probes",
            "spooled",
            "failed",
            "violations"
        )?;
        for (kind, row) in &self.rows {
            writeln!(
                formatter,
                "{:<20}{:>6}{:>9}{:>9}{:>9}{:>11}{:>8}{:>9}{:>8}{:>11}",
                kind.name(),
                row.gaps.len(),
                percentile(&row.gaps, 50),
                percentile(&row.gaps, 99),
                percentile(&row.gaps, 100),
                percentile(&row.recoveries, 100),
                row.probes,
                row.spooled,
                row.failed,
                row.violations
            )?;
        }
        for (kind, reason) in &self.left_out {
            writeln!(formatter, "{:<20}left out: {reason}", kind.name())?;
        }
        for violation in self.violations.iter().take(PRINTED_MAX) {
            writeln!(formatter, "  {violation}")?;
        }
        writeln!(formatter, "{} violations", self.violations.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let durations: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&durations, 50), 100);
        assert_eq!(percentile(&durations, 99), 198);
        assert_eq!(percentile(&durations, 100), 200);
        assert_eq!(percentile(&[], 50), 0);
    }
}
