//! Whose events are left out.

use hashbrown::HashMap;
use ringtail_proto::stored::{EventBatch, StoredEvent};

use super::{RuleSet, RuleSetError, Subject, Without, by_position::ByPosition, error::list_fits};

/// The subjects that are left out, by hash, each with the last moment whose events are.
#[derive(Clone, Debug, Default)]
pub(super) struct Subjects {
    visitors: HashMap<u64, i64>,
    users: HashMap<[u8; 16], i64>,
    /// Left out only where an event has no user id.
    anonymous: HashMap<u64, i64>,
}

/// Until when the events of each user id of a batch are left out.
pub(super) type KnownUsers = ByPosition<Option<i64>>;

impl Subjects {
    pub(super) fn compile(rules: &[Without]) -> Result<Self, RuleSetError> {
        list_fits("without", rules.len(), RuleSet::WITHOUT_MAX)?;
        let mut subjects = Self::default();
        for rule in rules {
            let until = rule.until.map_or(i64::MAX, |until| until.0);
            match &rule.subject {
                Subject::Visitor(visitor) => extend(&mut subjects.visitors, *visitor, until),
                Subject::User { id, visitors } => {
                    extend(&mut subjects.users, *id, until);
                    for visitor in visitors {
                        extend(&mut subjects.anonymous, *visitor, until);
                    }
                }
            }
        }
        Ok(subjects)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.visitors.is_empty() && self.users.is_empty()
    }

    /// True when an event that happened at `time_ms` is left out.
    pub(super) fn leave_out(
        &self,
        event: &StoredEvent,
        time_ms: i64,
        batch: &EventBatch,
        users: &mut KnownUsers,
    ) -> bool {
        let until = self.until(event, batch, users);
        until.is_some_and(|until| time_ms <= until)
    }

    fn until(
        &self,
        event: &StoredEvent,
        batch: &EventBatch,
        users: &mut KnownUsers,
    ) -> Option<i64> {
        let by_visitor = of_visitor(&self.visitors, event);
        let by_user = match event.user_id_plus_one.checked_sub(1) {
            None => of_visitor(&self.anonymous, event),
            Some(_) if self.users.is_empty() => None,
            Some(position) => users.get(position, || {
                let user_id = batch.texts.get(position as usize)?;
                self.users.get(&Subject::user_hash(user_id)).copied()
            }),
        };
        by_visitor.max(by_user)
    }
}

fn extend<K: std::hash::Hash + Eq>(known: &mut HashMap<K, i64>, key: K, until: i64) {
    let held = known.entry(key).or_insert(until);
    *held = until.max(*held);
}

fn of_visitor(known: &HashMap<u64, i64>, event: &StoredEvent) -> Option<i64> {
    if known.is_empty() {
        return None;
    }
    let previous = (event.visitor_previous != 0).then_some(event.visitor_previous);
    std::iter::once(event.visitor)
        .chain(previous)
        .filter_map(|visitor| known.get(&Subject::visitor_hash(visitor)).copied())
        .max()
}
