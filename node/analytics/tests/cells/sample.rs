//! Rows and a dictionary small enough to read, and arbitrary ones.

use proptest::prelude::*;
use ringtail_analytics::{
    Dictionary, Dimension, Money, NO_VALUE, Touch, ValueId, VisitHour, VisitTotals,
};
use ringtail_proto::{Acquisition, Client, CurrencyCode, Place, Text, VisitorId};

pub(crate) const KEY: u64 = 0x5EED;

/// Everything that rows of a test point at: value `n` is `/n`, client `n` has browser `n % 3`, and so on.
pub(crate) struct SmallDictionary {
    clients: Vec<Client>,
    places: Vec<Place>,
    acquisitions: Vec<Acquisition>,
}

impl SmallDictionary {
    pub(crate) fn new() -> Self {
        let clients = (0..9).map(|n| Client {
            browser: Text::from(["Firefox", "Chrome", ""][n % 3]),
            browser_version: Text::from(["130.0", "99.1", ""][n / 3]),
            os: Text::from(["Debian", "iOS", ""][n % 3]),
            device: Text::from(["Desktop", "Mobile", ""][n / 3]),
            ..Client::default()
        });
        let places = (0..4).map(|n| Place {
            country: Text::from(["DE", "IN", "AU", ""][n]),
            ..Place::default()
        });
        let acquisitions = (0..4).map(|n| Acquisition {
            source: Text::from(["Google", "Google", "Bing", ""][n]),
            channel: Text::from(["Organic Search", "Paid Search", "Organic Search", "Direct"][n]),
            ..Acquisition::default()
        });
        Self {
            clients: clients.collect(),
            places: places.collect(),
            acquisitions: acquisitions.collect(),
        }
    }
}

impl Dictionary for SmallDictionary {
    fn text(&self, dimension: Dimension, id: ValueId) -> Option<Text> {
        Some(match dimension {
            Dimension::Goal => Text::from(format!("Goal {id}")),
            Dimension::EventName => Text::from(["pageview", "Signup"][id as usize % 2]),
            _ => Text::from(format!("/{id}")),
        })
    }

    fn client(&self, id: ValueId) -> Option<&Client> {
        self.clients.get(id as usize)
    }

    fn place(&self, id: ValueId) -> Option<&Place> {
        self.places.get(id as usize)
    }

    fn acquisition(&self, id: ValueId) -> Option<&Acquisition> {
        self.acquisitions.get(id as usize)
    }
}

/// A row that owns what it points at.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRow {
    pub(crate) visitor: u64,
    pub(crate) events: u32,
    pub(crate) pageviews: u32,
    pub(crate) start: Option<VisitTotals>,
    pub(crate) client: ValueId,
    pub(crate) place: ValueId,
    pub(crate) acquisition: ValueId,
    pub(crate) entry_page: ValueId,
    pub(crate) exit_page: ValueId,
    pub(crate) revenue: Vec<Money>,
    pub(crate) touches: Vec<Touch>,
}

impl OwnedRow {
    /// A visit of one page view of page `/page`.
    pub(crate) fn bounce(visitor: u64, page: ValueId) -> Self {
        Self {
            visitor,
            events: 1,
            pageviews: 1,
            start: Some(VisitTotals {
                pageviews: 1,
                events: 1,
                duration_ms: 0,
                is_bounce: true,
                is_engaged: false,
            }),
            client: 0,
            place: 0,
            acquisition: 0,
            entry_page: page,
            exit_page: page,
            revenue: Vec::new(),
            touches: vec![Touch {
                dimension: Dimension::Page,
                value: page,
                events: 1,
                pageviews: 1,
                is_first: true,
                scroll_depth: None,
                engaged_ms: 0,
                revenue: Vec::new(),
            }],
        }
    }

    pub(crate) fn row(&self) -> VisitHour<'_> {
        VisitHour {
            visitor: VisitorId(self.visitor),
            events: self.events,
            pageviews: self.pageviews,
            start: self.start,
            client: self.client,
            place: self.place,
            acquisition: self.acquisition,
            entry_page: self.entry_page,
            exit_page: self.exit_page,
            revenue: &self.revenue,
            touches: &self.touches,
        }
    }
}

pub(crate) fn money(currency: &str, amount_micros: i64) -> Money {
    Money {
        currency: CurrencyCode::parse(currency.as_bytes()).unwrap(),
        amount_micros,
    }
}

fn any_money() -> impl Strategy<Value = Vec<Money>> {
    let one = (prop::sample::select(vec!["EUR", "USD"]), any::<i32>());
    prop::option::of(one.prop_map(|(currency, amount)| money(currency, i64::from(amount))))
        .prop_map(|money| money.into_iter().collect())
}

fn any_touch() -> impl Strategy<Value = Touch> {
    let dimensions = vec![
        Dimension::Page,
        Dimension::EventName,
        Dimension::Goal,
        Dimension::Property(3),
    ];
    (
        prop::sample::select(dimensions),
        0_u32..30,
        0_u32..3,
        any::<bool>(),
        prop::option::of(0_u8..=100),
        0_u64..100_000,
        any_money(),
    )
        .prop_map(
            |(dimension, value, events, is_first, scroll_depth, engaged_ms, revenue)| Touch {
                dimension,
                value,
                events,
                pageviews: events,
                is_first,
                scroll_depth,
                engaged_ms,
                revenue,
            },
        )
}

fn any_totals() -> impl Strategy<Value = VisitTotals> {
    (1_u32..9, 0_u64..3_600_000, any::<bool>(), any::<bool>()).prop_map(
        |(pageviews, duration_ms, is_bounce, is_engaged)| VisitTotals {
            pageviews,
            events: pageviews,
            duration_ms,
            is_bounce,
            is_engaged,
        },
    )
}

pub(crate) fn any_row() -> impl Strategy<Value = OwnedRow> {
    let page = prop_oneof![0_u32..30, Just(NO_VALUE)];
    let ids = (0_u32..9, 0_u32..4, 0_u32..4, page.clone(), page);
    (
        0_u64..600,
        0_u32..5,
        prop::option::of(any_totals()),
        ids,
        any_money(),
        prop::collection::vec(any_touch(), 0..4),
    )
        .prop_map(|(visitor, events, start, ids, revenue, touches)| OwnedRow {
            visitor,
            events,
            pageviews: events,
            start,
            client: ids.0,
            place: ids.1,
            acquisition: ids.2,
            entry_page: ids.3,
            exit_page: ids.4,
            revenue,
            touches,
        })
}

pub(crate) fn any_rows() -> impl Strategy<Value = Vec<OwnedRow>> {
    prop::collection::vec(any_row(), 0..400)
}
