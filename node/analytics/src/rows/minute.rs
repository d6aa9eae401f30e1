//! Site totals of a minute.

use serde::{Deserialize, Serialize};

use crate::cell::{Precision, Uniques};

/// What happened on the site within a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minute {
    /// Events, engagement left out.
    pub events: u64,
    /// Page views.
    pub pageviews: u64,
    /// Who had an event, engagement left out.
    pub visitors: Uniques,
}

impl Default for Minute {
    fn default() -> Self {
        Self {
            events: 0,
            pageviews: 0,
            visitors: Uniques::new(Precision::Value),
        }
    }
}

impl Minute {
    pub(crate) fn add(&mut self, visitor_hash: u64, is_pageview: bool) {
        self.events += 1;
        self.pageviews += u64::from(is_pageview);
        self.visitors.insert(visitor_hash);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.pageviews += other.pageviews;
        self.visitors.merge(&other.visitors);
    }
}

/// Minutes of an hour by their number within it; those without events are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minutes {
    /// In the order of the number.
    rows: Vec<(u8, Minute)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct StoredMinute {
    number: u8,
    events: u64,
    pageviews: u64,
    visitors: Vec<u8>,
}

impl Minutes {
    pub(crate) fn at(&mut self, number: u8) -> &mut Minute {
        let position = match self.rows.last() {
            Some((last, _)) if *last == number => self.rows.len() - 1,
            _ => match self.rows.binary_search_by_key(&number, |row| row.0) {
                Ok(position) => position,
                Err(position) => {
                    self.rows.insert(position, (number, Minute::default()));
                    position
                }
            },
        };
        let (_, minute) = self
            .rows
            .get_mut(position)
            .expect("the position was found or filled above");
        minute
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (number, minute) in &other.rows {
            self.at(*number).merge(minute);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &Minute)> {
        self.rows.iter().map(|(number, minute)| (*number, minute))
    }

    pub(crate) fn to_stored(&self) -> Vec<StoredMinute> {
        self.iter()
            .map(|(number, minute)| StoredMinute {
                number,
                events: minute.events,
                pageviews: minute.pageviews,
                visitors: minute.visitors.to_stored(),
            })
            .collect()
    }

    /// None when a set of visitors is damaged.
    pub(crate) fn from_stored(rows: Vec<StoredMinute>) -> Option<Self> {
        let mut minutes = Self::default();
        for row in rows {
            let visitors = Uniques::from_stored(&row.visitors, Precision::Value)?;
            *minutes.at(row.number) = Minute {
                events: row.events,
                pageviews: row.pageviews,
                visitors,
            };
        }
        Some(minutes)
    }
}
