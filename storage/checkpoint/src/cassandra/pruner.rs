//! Which superseded versions may go, and when.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::partition::Partition;

/// A row whose older versions nobody reads once the grace is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superseded {
    pub(super) partition: Partition,
    pub(super) key: Bytes,
    /// All versions below this one go.
    pub(super) below: i64,
}

/// Rows in the order in which their grace ends. Knows no clock. What it forgets, at its limit or when the process ends,
/// goes when the row changes next: then all older versions go.
#[derive(Debug)]
pub(super) struct Pruner {
    grace: Duration,
    rows_max: usize,
    waiting: VecDeque<(Instant, Superseded)>,
}

impl Pruner {
    pub(super) const fn new(grace: Duration, rows_max: usize) -> Self {
        Self {
            grace,
            rows_max,
            waiting: VecDeque::new(),
        }
    }

    /// Takes rows that were acknowledged now; how many were forgotten for them.
    pub(super) fn take(&mut self, rows: impl Iterator<Item = Superseded>, now: Instant) -> usize {
        let Some(due) = now.checked_add(self.grace) else {
            // Never.
            return 0;
        };
        self.waiting.extend(rows.map(|row| (due, row)));
        let too_many = self.waiting.len().saturating_sub(self.rows_max);
        self.waiting.drain(..too_many).count()
    }

    /// Up to `rows_max` rows whose grace is over, taken out.
    pub(super) fn due(&mut self, now: Instant, rows_max: usize) -> Vec<Superseded> {
        let is_due = |(due, _): &&(Instant, Superseded)| *due <= now;
        let count = self
            .waiting
            .iter()
            .take(rows_max)
            .take_while(is_due)
            .count();
        self.waiting.drain(..count).map(|(_, row)| row).collect()
    }

    /// Puts back what could not be removed.
    pub(super) fn put_back(&mut self, rows: Vec<Superseded>, now: Instant) {
        for row in rows.into_iter().rev() {
            self.waiting.push_front((now, row));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn row(below: i64) -> Superseded {
        Superseded {
            partition: Partition {
                incarnation: Uuid::nil(),
                group: 1,
                site: 1,
                generation: 0,
                bucket: 1,
            },
            key: Bytes::new(),
            below,
        }
    }

    #[test]
    fn rows_are_due_when_their_grace_is_over_and_in_order() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut pruner = Pruner::new(10 * second, 100);
        pruner.take([row(1), row(2)].into_iter(), start);
        pruner.take([row(3)].into_iter(), start + second);
        assert_eq!(pruner.due(start + 9 * second, 10), []);
        assert_eq!(pruner.due(start + 10 * second, 1), [row(1)]);
        assert_eq!(pruner.due(start + 10 * second, 10), [row(2)]);
        pruner.put_back(vec![row(1), row(2)], start + 10 * second);
        let later = start + 11 * second;
        assert_eq!(pruner.due(later, 10), [row(1), row(2), row(3)]);
    }

    #[test]
    fn beyond_the_limit_the_oldest_are_forgotten() {
        let now = Instant::now();
        let mut pruner = Pruner::new(Duration::ZERO, 2);
        assert_eq!(pruner.take((1..=5).map(row), now), 3);
        assert_eq!(pruner.due(now, 10), [row(4), row(5)]);
    }
}
