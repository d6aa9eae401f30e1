//! Caps on the distinct values of an hour, with a visible remainder.

use hashbrown::{HashMap, HashSet};

use super::id_hash::IdSet;
use crate::{
    NO_VALUE, REMAINDER, ValueId, Values,
    rows::hour_rows::Folded,
    visit::{
        applied_event::{AppliedEvent, EventKind},
        part::{Part, Remap},
        touch_sum::TouchKind,
    },
};

/// An hour keeps up to this many values per table apart.
pub(crate) const HOUR_VALUES_MAX: usize = 10_000;

/// A table of values: one for each event dimension, one for each attribute group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ValueTable {
    Clients,
    Places,
    Acquisitions,
    Texts(TouchKind),
}

impl ValueTable {
    const fn code(self) -> u8 {
        match self {
            Self::Clients => 0,
            Self::Places => 1,
            Self::Acquisitions => 2,
            Self::Texts(kind) => 3 + kind.0,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Clients,
            1 => Self::Places,
            2 => Self::Acquisitions,
            code => Self::Texts(TouchKind(code - 3)),
        }
    }
}

/// The distinct values of one hour in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueCaps {
    /// (table, value) in one number.
    seen: IdSet<u64>,
    /// Number of values by table code.
    counts: Vec<u32>,
}

impl ValueCaps {
    /// Notes the values of an event.
    pub(crate) fn note(&mut self, event: &AppliedEvent) {
        self.see(ValueTable::Texts(TouchKind::PAGE), event.page);
        if event.kind == EventKind::Engagement {
            return;
        }
        self.see(ValueTable::Clients, event.client);
        self.see(ValueTable::Places, event.place);
        self.see(ValueTable::Acquisitions, event.acquisition);
        self.see(ValueTable::Texts(TouchKind::HOSTNAME), event.hostname);
        self.see(ValueTable::Texts(TouchKind::EVENT_NAME), event.name);
        for (kind, value) in &event.values {
            self.see(ValueTable::Texts(*kind), *value);
        }
    }

    /// Notes the values of a part.
    pub(crate) fn note_part(&mut self, part: &Part) {
        if let Some(origin) = &part.origin {
            self.see(ValueTable::Clients, origin.client);
            self.see(ValueTable::Places, origin.place);
            self.see(ValueTable::Acquisitions, origin.acquisition);
        }
        for touch in &part.touches {
            self.see(ValueTable::Texts(touch.kind), touch.value);
        }
    }

    /// Tables with more values than the cap.
    pub(crate) fn over(&self) -> impl Iterator<Item = ValueTable> + '_ {
        let tables = (0_u8..).zip(&self.counts);
        tables
            .filter(|(_, count)| **count as usize > HOUR_VALUES_MAX)
            .map(|(code, _)| ValueTable::from_code(code))
    }

    fn see(&mut self, table: ValueTable, value: ValueId) {
        if value == NO_VALUE || value == REMAINDER {
            return;
        }
        let code = table.code();
        if self.seen.insert(u64::from(code) << 32 | u64::from(value)) {
            let position = usize::from(code);
            if self.counts.len() <= position {
                self.counts.resize(position + 1, 0);
            }
            if let Some(count) = self.counts.get_mut(position) {
                *count += 1;
            }
        }
    }
}

/// Events per value of some tables in some parts.
#[derive(Debug, Default)]
pub(crate) struct ValueWeights {
    events: HashMap<(ValueTable, ValueId), u64>,
}

impl ValueWeights {
    /// Adds the events of a part, for the tables asked for.
    pub(crate) fn add(&mut self, part: &Part, tables: &[ValueTable]) {
        let mut weigh = |table: ValueTable, value: ValueId, events: u32| {
            if value != REMAINDER && value != NO_VALUE && tables.contains(&table) {
                *self.events.entry((table, value)).or_default() += u64::from(events);
            }
        };
        if let Some(origin) = &part.origin {
            weigh(ValueTable::Clients, origin.client, part.events);
            weigh(ValueTable::Places, origin.place, part.events);
            weigh(ValueTable::Acquisitions, origin.acquisition, part.events);
        }
        for touch in &part.touches {
            weigh(ValueTable::Texts(touch.kind), touch.value, touch.events);
        }
    }

    /// The lightest half of each table: by events, and among equals those whose bytes come last.
    pub(crate) fn lightest(self, values: &Values) -> FoldedValues {
        let mut tables: HashMap<ValueTable, Vec<(u64, ValueId)>> = HashMap::new();
        for ((table, value), events) in self.events {
            tables.entry(table).or_default().push((events, value));
        }
        let mut folded = FoldedValues::default();
        for (table, mut rows) in tables {
            if rows.len() <= HOUR_VALUES_MAX {
                continue;
            }
            rows.sort_by_cached_key(|(events, value)| {
                (std::cmp::Reverse(*events), sort_text(table, *value, values))
            });
            let keep = HOUR_VALUES_MAX / 2;
            for (_, value) in rows.split_off(keep.min(rows.len())) {
                folded.values.insert((table, value));
            }
        }
        folded
    }
}

fn sort_text(table: ValueTable, value: ValueId, values: &Values) -> Vec<u8> {
    match table {
        ValueTable::Texts(_) => values
            .text(value)
            .map_or_else(Vec::new, |text| text.to_bytes().to_vec()),
        ValueTable::Clients => format!("{:?}", values.client(value)).into_bytes(),
        ValueTable::Places => format!("{:?}", values.place(value)).into_bytes(),
        ValueTable::Acquisitions => format!("{:?}", values.acquisition(value)).into_bytes(),
    }
}

/// Values that become the remainder; applied to parts as a translation.
#[derive(Debug, Default)]
pub(crate) struct FoldedValues {
    values: HashSet<(ValueTable, ValueId)>,
}

impl FoldedValues {
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many values of each table were folded.
    pub(crate) fn counts(&self) -> Folded {
        let mut folded = Folded::default();
        for (table, _) in &self.values {
            match table {
                ValueTable::Clients => folded.clients += 1,
                ValueTable::Places => folded.places += 1,
                ValueTable::Acquisitions => folded.acquisitions += 1,
                ValueTable::Texts(kind) => folded.add_kind(kind.0, 1),
            }
        }
        folded
    }

    fn fold(&self, table: ValueTable, value: ValueId) -> ValueId {
        match self.values.contains(&(table, value)) {
            true => REMAINDER,
            false => value,
        }
    }
}

impl Remap for FoldedValues {
    fn text(&mut self, kind: TouchKind, value: ValueId) -> ValueId {
        self.fold(ValueTable::Texts(kind), value)
    }

    fn client(&mut self, value: ValueId) -> ValueId {
        self.fold(ValueTable::Clients, value)
    }

    fn place(&mut self, value: ValueId) -> ValueId {
        self.fold(ValueTable::Places, value)
    }

    fn acquisition(&mut self, value: ValueId) -> ValueId {
        self.fold(ValueTable::Acquisitions, value)
    }
}
