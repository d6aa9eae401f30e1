//! Seeded visitors: what they do is known before they do it, so that counts can be predicted.

mod driver;
mod generator;
mod grpc;
mod ledger;

use jiff::Timestamp;
use uuid::Uuid;

pub use driver::{Driver, DriverOptions, Endpoint};
pub use generator::{Generator, GeneratorOptions};
pub use ledger::{Entry, Ledger, Outcome};

/// A site of the workload. The offsets are fixed ones, so that hours can be told without a time zone database.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its domain.
    pub domain: String,
    /// IANA name of its zone.
    pub timezone: &'static str,
    /// What that zone adds to UTC, all year.
    pub offset_minutes: i64,
}

impl Site {
    /// Three sites: one in UTC, one half an hour off, one a quarter of an hour off.
    #[must_use]
    pub fn three() -> Vec<Self> {
        [
            ("utc", "UTC", 0),
            ("kolkata", "Asia/Kolkata", 330),
            ("kathmandu", "Asia/Kathmandu", 345),
        ]
        .into_iter()
        .map(|(name, timezone, offset_minutes)| Self {
            domain: format!("{name}.example"),
            timezone,
            offset_minutes,
        })
        .collect()
    }
}

/// What one request sends: events of one site, of one page and one UTC hour. The page belongs to this batch alone, so
/// a query by page tells whether it was counted.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its place in the plan.
    pub number: u64,
    /// Domain of the site.
    pub domain: String,
    /// The events.
    pub events: Vec<PlannedEvent>,
    /// The client asks again when no answer came; else the outcome stays unknown.
    pub is_retried: bool,
    /// The client loses the answer and sends the batch once more after the next restart.
    pub is_forgotten: bool,
}

impl Batch {
    /// Path of the page.
    #[must_use]
    pub fn page(&self) -> String {
        format!("/batch/{}", self.number)
    }

    /// Address of the page.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}{}", self.domain, self.page())
    }

    /// Page views among the events.
    #[must_use]
    pub fn pageviews(&self) -> u64 {
        let pageviews = self
            .events
            .iter()
            .filter(|event| event.name == EventName::Pageview);
        pageviews.count() as u64
    }
}

/// One event of the plan.
#[derive(Clone, Debug)]
pub struct PlannedEvent {
    /// Its id, the same in each attempt.
    pub id: Uuid,
    /// The visitor's number within the site.
    pub visitor: u32,
    /// What it is.
    pub name: EventName,
    /// When it happened.
    pub time: Timestamp,
}

impl PlannedEvent {
    /// The visitor as the client names it.
    #[must_use]
    pub fn visitor_name(&self) -> String {
        format!("visitor-{}", self.visitor)
    }
}

/// The kinds of event in the plan. Both are interactive and both make visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventName {
    /// A page view.
    Pageview,
    /// An event of the site's own.
    Custom,
}
