//! What the clients know about each event they sent.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::Batch;
use crate::client::Answer;

/// What the client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No answer came. The event may be counted or not.
    Unknown,
    /// The answer was a receipt.
    Acknowledged,
    /// The answer was this reason for not counting it.
    Refused(String),
}

/// A batch that was sent at least once.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The batch.
    pub batch: Batch,
    /// How often it was sent.
    pub attempts: u32,
}

/// Every batch that was sent and what is known of each event.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<u64, Entry>,
    outcomes: HashMap<Uuid, Outcome>,
    acknowledged_batches: u64,
    duplicates: u64,
}

impl Ledger {
    /// Notes an attempt before it is made: from now on the events are unknown, not absent.
    pub fn sending(&mut self, batch: &Batch) {
        let entry = self.entries.entry(batch.number).or_insert_with(|| Entry {
            batch: batch.clone(),
            attempts: 0,
        });
        entry.attempts += 1;
        for event in &batch.events {
            self.outcomes.entry(event.id).or_insert(Outcome::Unknown);
        }
    }

    /// Notes the answer. What was acknowledged once stays so.
    pub fn answered(&mut self, batch: &Batch, answer: &Answer) {
        self.acknowledged_batches += 1;
        self.duplicates += answer.duplicate;
        for (position, event) in batch.events.iter().enumerate() {
            let refused = answer
                .dropped
                .iter()
                .find(|(dropped, _)| *dropped == position);
            let outcome = self.outcomes.entry(event.id).or_insert(Outcome::Unknown);
            match refused {
                _ if *outcome == Outcome::Acknowledged => {}
                Some((_, reason)) => *outcome = Outcome::Refused(reason.clone()),
                None => *outcome = Outcome::Acknowledged,
            }
        }
    }

    /// All batches, in the order of the plan.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// What is known of an event; unknown when it was never sent.
    #[must_use]
    pub fn outcome(&self, id: Uuid) -> &Outcome {
        self.outcomes.get(&id).unwrap_or(&Outcome::Unknown)
    }

    /// Answers so far.
    #[must_use]
    pub fn acknowledged_batches(&self) -> u64 {
        self.acknowledged_batches
    }

    /// Events that the node said it had counted before: how much the retries tested.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Events with this outcome.
    #[must_use]
    pub fn count(&self, outcome: &Outcome) -> usize {
        self.outcomes
            .values()
            .filter(|known| *known == outcome)
            .count()
    }
}
