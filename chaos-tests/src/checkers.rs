//! Compares what the node counts with what the clients know.

mod sessions;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

pub use sessions::{HourCounts, SiteCounts, sessionise};

use crate::workload::{Entry, Ledger, Outcome};

/// What one page counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// Events, engagement left out.
    pub events: u64,
    /// Page views.
    pub pageviews: u64,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq)]
pub enum Violation {
    /// Acknowledged, but not counted, or not wholly.
    AcknowledgedLost {
        /// The batch.
        batch: u64,
        /// What was sent.
        sent: PageCounts,
        /// What is counted.
        counted: PageCounts,
    },
    /// Counted more than once.
    CountedTwice {
        /// The batch.
        batch: u64,
        /// What was sent.
        sent: PageCounts,
        /// What is counted.
        counted: PageCounts,
    },
    /// Counted in part: events of one request are counted together or not at all.
    CountedInPart {
        /// The batch.
        batch: u64,
        /// What was sent.
        sent: PageCounts,
        /// What is counted.
        counted: PageCounts,
    },
    /// A page is counted that nobody sent.
    NeverSent {
        /// Site and page.
        page: String,
    },
    /// An event of the plan was refused.
    Refused {
        /// The batch.
        batch: u64,
        /// The reason given.
        reason: String,
    },
    /// A site's numbers are not those predicted for the set that was counted.
    Numbers {
        /// The site.
        domain: String,
        /// Which numbers.
        of: String,
        /// Predicted.
        predicted: String,
        /// Counted.
        counted: String,
    },
    /// A count fell while events only came.
    CountFell {
        /// The site.
        domain: String,
        /// Earlier count.
        before: u64,
        /// Later count.
        after: u64,
    },
    /// A restart took too long.
    SlowRestart {
        /// How long.
        took: Duration,
    },
    /// A probe's site does not count what was acknowledged.
    Probes {
        /// The site.
        domain: String,
        /// Acknowledged events.
        acknowledged: u64,
        /// Events that nobody took; they may count or not.
        failed: u64,
        /// What is counted.
        counted: u64,
    },
    /// Two replicas at one index hold different states.
    Diverged {
        /// The group.
        group: u64,
        /// The index.
        index: u64,
        /// The nodes.
        nodes: (u64, u64),
        /// The sites whose states differ.
        sites: Vec<String>,
    },
    /// After a fault was healed, some partition did not acknowledge by quorum in time.
    NotLive {
        /// The fault.
        fault: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// One of several nodes broke a promise.
    On {
        /// The node.
        node: String,
        /// The promise.
        violation: Box<Violation>,
    },
}

impl Violation {
    /// The same, of one node among several.
    #[must_use]
    pub fn on(self, node: &str) -> Self {
        Self::On {
            node: node.to_owned(),
            violation: Box::new(self),
        }
    }

    /// One word for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AcknowledgedLost { .. } => "acknowledged_lost",
            Self::CountedTwice { .. } => "counted_twice",
            Self::CountedInPart { .. } => "counted_in_part",
            Self::NeverSent { .. } => "never_sent",
            Self::Refused { .. } => "refused",
            Self::Numbers { .. } => "numbers",
            Self::CountFell { .. } => "count_fell",
            Self::SlowRestart { .. } => "slow_restart",
            Self::Probes { .. } => "probes",
            Self::Diverged { .. } => "diverged",
            Self::NotLive { .. } => "not_live",
            Self::On { violation, .. } => violation.kind(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcknowledgedLost {
                batch,
                sent,
                counted,
            } => write!(
                formatter,
                "batch {batch} was acknowledged with {sent:?}, counted is {counted:?}"
            ),
            Self::CountedTwice {
                batch,
                sent,
                counted,
            } => {
                write!(
                    formatter,
                    "batch {batch} holds {sent:?}, counted is {counted:?}"
                )
            }
            Self::CountedInPart {
                batch,
                sent,
                counted,
            } => write!(
                formatter,
                "unknown batch {batch} holds {sent:?}, counted in part: {counted:?}"
            ),
            Self::NeverSent { page } => write!(formatter, "{page} is counted, nobody sent it"),
            Self::Refused { batch, reason } => {
                write!(formatter, "an event of batch {batch} was refused: {reason}")
            }
            Self::Numbers {
                domain,
                of,
                predicted,
                counted,
            } => write!(
                formatter,
                "{of} of {domain}: predicted {predicted}, counted {counted}"
            ),
            Self::CountFell {
                domain,
                before,
                after,
            } => {
                write!(
                    formatter,
                    "events of {domain} fell from {before} to {after}"
                )
            }
            Self::SlowRestart { took } => write!(formatter, "a restart took {took:?}"),
            Self::Probes {
                domain,
                acknowledged,
                failed,
                counted,
            } => write!(
                formatter,
                "{domain}: {acknowledged} probes acknowledged, {failed} failed, counted {counted}"
            ),
            Self::Diverged {
                group,
                index,
                nodes: (one, other),
                sites,
            } => write!(
                formatter,
                "group {group} at index {index}: nodes {one} and {other} differ in sites {}",
                sites.join(", ")
            ),
            Self::NotLive { fault, waited } => {
                write!(formatter, "not live {waited:?} after {fault} was healed")
            }
            Self::On { node, violation } => write!(formatter, "{node}: {violation}"),
        }
    }
}

/// Exactly once for what was acknowledged, at most once for what is unknown.
///
/// `counted` holds the counts of each (domain, page). The second answer names the batches that are counted: with them
/// the numbers of each site can be predicted.
#[must_use]
pub fn check_pages(
    ledger: &Ledger,
    counted: &BTreeMap<(String, String), PageCounts>,
) -> (Vec<Violation>, BTreeSet<u64>) {
    let mut violations = Vec::new();
    let mut present = BTreeSet::new();
    let mut known = BTreeSet::new();
    for entry in ledger.entries() {
        let batch = &entry.batch;
        let page = (batch.domain.clone(), batch.page());
        let counts = counted.get(&page).copied().unwrap_or_default();
        known.insert(page);
        if counts.events > 0 {
            present.insert(batch.number);
        }
        violations.extend(check_batch(ledger, entry, counts));
    }
    for (domain, page) in counted.keys().filter(|page| !known.contains(*page)) {
        violations.push(Violation::NeverSent {
            page: format!("{domain}{page}"),
        });
    }
    (violations, present)
}

fn check_batch(ledger: &Ledger, entry: &Entry, counted: PageCounts) -> Option<Violation> {
    let number = entry.batch.number;
    let sent = PageCounts {
        events: entry.batch.events.len() as u64,
        pageviews: entry.batch.pageviews(),
    };
    let mut is_acknowledged = false;
    for event in &entry.batch.events {
        match ledger.outcome(event.id) {
            Outcome::Refused(reason) => {
                return Some(Violation::Refused {
                    batch: number,
                    reason: reason.clone(),
                });
            }
            Outcome::Acknowledged => is_acknowledged = true,
            Outcome::Unknown => {}
        }
    }
    if counted == sent || (!is_acknowledged && counted == PageCounts::default()) {
        return None;
    }
    let (batch, is_more) = (
        number,
        counted.events > sent.events || counted.pageviews > sent.pageviews,
    );
    Some(match (is_more, is_acknowledged) {
        (true, _) => Violation::CountedTwice {
            batch,
            sent,
            counted,
        },
        (false, true) => Violation::AcknowledgedLost {
            batch,
            sent,
            counted,
        },
        (false, false) => Violation::CountedInPart {
            batch,
            sent,
            counted,
        },
    })
}

/// Compares a site's numbers with those predicted, hour by hour and in total.
#[must_use]
pub fn check_numbers(domain: &str, predicted: &SiteCounts, counted: &SiteCounts) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut differ = |of: String, predicted: String, counted: String| {
        violations.push(Violation::Numbers {
            domain: domain.to_owned(),
            of,
            predicted,
            counted,
        });
    };
    if predicted.total != counted.total {
        differ(
            "totals".to_owned(),
            format!("{:?}", predicted.total),
            format!("{:?}", counted.total),
        );
    }
    let hours: BTreeSet<&String> = predicted.hours.keys().chain(counted.hours.keys()).collect();
    for hour in hours {
        let left = predicted.hours.get(hour).copied().unwrap_or_default();
        let right = counted.hours.get(hour).copied().unwrap_or_default();
        if left != right {
            differ(
                format!("hour {hour}"),
                format!("{left:?}"),
                format!("{right:?}"),
            );
        }
    }
    violations
}

/// Counts of a site that was asked again and again; a fall is a violation.
#[derive(Debug, Default)]
pub struct Monotonic {
    last: BTreeMap<String, u64>,
    violations: Vec<Violation>,
}

impl Monotonic {
    /// Notes a count.
    pub fn observe(&mut self, domain: &str, count: u64) {
        let last = self.last.entry(domain.to_owned()).or_default();
        if count < *last {
            self.violations.push(Violation::CountFell {
                domain: domain.to_owned(),
                before: *last,
                after: count,
            });
        }
        *last = count;
    }

    /// What was found.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        client::Answer,
        workload::{Batch, Generator, GeneratorOptions},
    };

    fn batch() -> Batch {
        let options = GeneratorOptions::new(1, Timestamp::from_second(1_750_000_000).unwrap());
        Generator::new(options)
            .find(|batch| batch.events.len() > 3)
            .unwrap()
    }

    fn check(is_acknowledged: bool, counted: impl Fn(PageCounts) -> PageCounts) -> Vec<Violation> {
        let batch = batch();
        let mut ledger = Ledger::default();
        ledger.sending(&batch);
        if is_acknowledged {
            let accepted = batch.events.len() as u64;
            ledger.answered(
                &batch,
                &Answer {
                    accepted,
                    duplicate: 0,
                    dropped: Vec::new(),
                },
            );
        }
        let sent = PageCounts {
            events: batch.events.len() as u64,
            pageviews: batch.pageviews(),
        };
        let pages = BTreeMap::from([((batch.domain.clone(), batch.page()), counted(sent))]);
        check_pages(&ledger, &pages).0
    }

    #[test]
    fn acknowledged_events_count_exactly_once() {
        let none = |_| PageCounts::default();
        let twice = |sent: PageCounts| PageCounts {
            events: 2 * sent.events,
            pageviews: 2 * sent.pageviews,
        };
        assert_eq!(check(true, |sent| sent), []);
        assert!(matches!(
            check(true, none)[..],
            [Violation::AcknowledgedLost { .. }]
        ));
        assert!(matches!(
            check(true, twice)[..],
            [Violation::CountedTwice { .. }]
        ));
    }

    #[test]
    fn unknown_events_count_at_most_once() {
        let some = |sent: PageCounts| PageCounts {
            events: sent.events - 1,
            ..sent
        };
        let more = |sent: PageCounts| PageCounts {
            events: sent.events + 1,
            ..sent
        };
        assert_eq!(check(false, |sent| sent), []);
        assert_eq!(check(false, |_| PageCounts::default()), []);
        assert!(matches!(
            check(false, some)[..],
            [Violation::CountedInPart { .. }]
        ));
        assert!(matches!(
            check(false, more)[..],
            [Violation::CountedTwice { .. }]
        ));
    }

    #[test]
    fn a_count_that_falls_is_noticed() {
        let mut monotonic = Monotonic::default();
        for count in [1, 5, 5, 4] {
            monotonic.observe("a.example", count);
        }
        assert!(matches!(
            monotonic.violations(),
            [Violation::CountFell {
                before: 5,
                after: 4,
                ..
            }]
        ));
    }
}
