//! All visits of one hour, ready to be folded.

use ringtail_proto::{Acquisition, Client, Place, Text, VisitorId};

use crate::{
    Dimension, Money, Touch, ValueId, Values, VisitHour, VisitTotals, cell,
    visit::{derive::VisitFacts, part::Part},
};

/// The rows of one local hour with their dictionary: hot state and stored rows fold through this one shape.
#[derive(Clone, Debug, Default)]
pub struct HourRows {
    values: Values,
    folded: Folded,
    visits: Vec<Row>,
    touches: Vec<Touch>,
    money: Vec<Money>,
}

/// Which touches a fold needs: leaving the others out makes a query of one dimension of a hot hour cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touches {
    /// All of them.
    All,
    /// Those of one dimension; none for a dimension of visits.
    Of(Dimension),
}

#[derive(Clone, Copy, Debug)]
struct Row {
    visitor: VisitorId,
    events: u32,
    pageviews: u32,
    start: Option<VisitTotals>,
    client: ValueId,
    place: ValueId,
    acquisition: ValueId,
    entry_page: ValueId,
    exit_page: ValueId,
    /// Where this row's touches and money begin.
    touches: usize,
    money: usize,
}

/// How many values of each table were folded into the remainder of an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Folded {
    /// By [`crate::visit::touch_sum::TouchKind`].
    pub(crate) texts: Vec<(u8, u64)>,
    pub(crate) clients: u64,
    pub(crate) places: u64,
    pub(crate) acquisitions: u64,
}

impl HourRows {
    pub(crate) fn new(values: Values, folded: Folded) -> Self {
        Self {
            values,
            folded,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, part: &Part, facts: &VisitFacts, wanted: Touches) {
        self.visits.push(Row {
            visitor: facts.visitor_id(),
            events: part.events,
            pageviews: part.pageviews,
            start: facts.start.map(VisitTotals::from),
            client: facts.client,
            place: facts.place,
            acquisition: facts.acquisition,
            entry_page: facts.entry_page,
            exit_page: facts.exit_page,
            touches: self.touches.len(),
            money: self.money.len(),
        });
        self.money.extend_from_slice(&part.revenue);
        if matches!(wanted, Touches::Of(dimension) if !dimension.is_of_events()) {
            return;
        }
        for (touch, facts) in part.touches.iter().zip(&facts.touches) {
            let dimension = touch.kind.dimension();
            if wanted != Touches::All && wanted != Touches::Of(dimension) {
                continue;
            }
            self.touches.push(Touch {
                dimension,
                value: touch.value,
                events: touch.events,
                pageviews: touch.pageviews,
                is_first: facts.is_first,
                scroll_depth: facts.scroll_plus_one.checked_sub(1),
                engaged_ms: touch.engaged_ms,
                revenue: touch.revenue().to_vec(),
            });
        }
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = VisitHour<'_>> {
        let ends = self
            .visits
            .iter()
            .skip(1)
            .map(|row| (row.touches, row.money))
            .chain([(self.touches.len(), self.money.len())]);
        self.visits
            .iter()
            .zip(ends)
            .map(|(row, (touches, money))| VisitHour {
                visitor: row.visitor,
                events: row.events,
                pageviews: row.pageviews,
                start: row.start,
                client: row.client,
                place: row.place,
                acquisition: row.acquisition,
                entry_page: row.entry_page,
                exit_page: row.exit_page,
                revenue: self.money.get(row.money..money).unwrap_or_default(),
                touches: self.touches.get(row.touches..touches).unwrap_or_default(),
            })
    }

    /// The number of visits with a part in the hour.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.visits.len()
    }

    /// True when no visit has a part in the hour.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.visits.is_empty()
    }
}

impl cell::Dictionary for HourRows {
    fn text(&self, _dimension: Dimension, id: ValueId) -> Option<Text> {
        self.values.text(id).cloned()
    }

    fn client(&self, id: ValueId) -> Option<&Client> {
        self.values.client(id)
    }

    fn place(&self, id: ValueId) -> Option<&Place> {
        self.values.place(id)
    }

    fn acquisition(&self, id: ValueId) -> Option<&Acquisition> {
        self.values.acquisition(id)
    }

    fn remainder_values(&self, dimension: Dimension) -> u64 {
        self.folded.of(dimension)
    }
}

impl Folded {
    /// Values behind the remainder of a dimension.
    pub(crate) fn of(&self, dimension: Dimension) -> u64 {
        match dimension {
            Dimension::Total => 0,
            Dimension::Country | Dimension::Region | Dimension::City => self.places,
            Dimension::Browser
            | Dimension::BrowserVersion
            | Dimension::Os
            | Dimension::OsVersion
            | Dimension::Device
            | Dimension::Screen
            | Dimension::Language => self.clients,
            Dimension::EntryPage | Dimension::ExitPage | Dimension::Page => self.kind(0),
            Dimension::Hostname => self.kind(1),
            Dimension::EventName => self.kind(2),
            Dimension::Goal => self.kind(3),
            Dimension::Property(slot) => self.kind(4 + slot),
            _ => self.acquisitions,
        }
    }

    fn kind(&self, kind: u8) -> u64 {
        self.texts
            .iter()
            .find(|(known, _)| *known == kind)
            .map_or(0, |(_, values)| *values)
    }

    pub(crate) fn add_kind(&mut self, kind: u8, values: u64) {
        match self.texts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, sum)) => *sum += values,
            None => {
                self.texts.push((kind, values));
                self.texts.sort_unstable();
            }
        }
    }

    /// The values of two sets may be the same ones: the sum is an upper bound.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (kind, values) in &other.texts {
            self.add_kind(*kind, *values);
        }
        self.clients += other.clients;
        self.places += other.places;
        self.acquisitions += other.acquisitions;
    }
}
