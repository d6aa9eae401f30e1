//! A site that speaks the domain: hits go in, tables come out.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use jiff::{Timestamp, tz::TimeZone};
use ringtail_analytics::{HOUR_MS, SiteState, roll_up};
use ringtail_proto::{
    Acquisition, Client, CurrencyCode, Event, EventFlags, EventId, Generation, LogIndex, Place,
    Revenue, RowReadError, RowReader, RowWrite, SiteId, SiteRow, Text, UnixMillis, VisitorId,
    stored::{
        BatchWriter, Goal, SiteCommand, SiteSettings, ZoneTransition, goal::Condition,
        site_command::Change,
    },
};
use ringtail_query::{QueryError, QueryRequest, Reports, SiteInfo, Standing, realtime_visitors};
use serde_json::Value;

/// A site with its rows, as one node holds them.
pub(crate) struct Site {
    state: SiteState,
    rows: Rows,
    index: u64,
    pub(crate) is_fresh: bool,
    info: SiteInfo,
    reports: Reports,
    /// What "now" is when a question is asked.
    pub(crate) now: UnixMillis,
}

/// One event of a visitor.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    time: UnixMillis,
    visitor: u64,
    page: String,
    name: &'static str,
    source: &'static str,
    country: &'static str,
    amount: Option<(&'static str, i64)>,
    property: Option<(&'static str, &'static str)>,
    scroll_depth: Option<u8>,
    engaged_ms: u32,
}

/// A page view at an instant in RFC 3339.
pub(crate) fn hit(time: &str, visitor: u64, page: &str) -> Hit {
    Hit {
        time: millis(time),
        visitor,
        page: page.to_owned(),
        name: "pageview",
        source: "",
        country: "",
        amount: None,
        property: None,
        scroll_depth: None,
        engaged_ms: 0,
    }
}

impl Hit {
    pub(crate) fn from(self, source: &'static str) -> Self {
        Self { source, ..self }
    }

    pub(crate) fn at(self, country: &'static str) -> Self {
        Self { country, ..self }
    }

    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub(crate) fn worth(self, currency: &'static str, amount_micros: i64) -> Self {
        Self {
            amount: Some((currency, amount_micros)),
            ..self
        }
    }

    pub(crate) fn with(self, key: &'static str, value: &'static str) -> Self {
        Self {
            property: Some((key, value)),
            ..self
        }
    }

    pub(crate) fn engaged(self, scroll_depth: u8, engaged_ms: u32) -> Self {
        Self {
            name: "engagement",
            scroll_depth: Some(scroll_depth),
            engaged_ms,
            ..self
        }
    }

    fn event(&self, id: u64) -> Event {
        Event {
            id: EventId(u128::from(id) + 1),
            visitor: VisitorId(self.visitor + 1_000),
            visitor_previous: None,
            user_id: None,
            name: Text::from_static(self.name),
            time: Some(self.time),
            page: Text::from(self.page.as_str()),
            hostname: Text::from_static("example.com"),
            client: Arc::new(Client {
                browser: Text::from_static("Firefox"),
                ..Client::default()
            }),
            place: Arc::new(Place {
                country: Text::from_static(self.country),
                ..Place::default()
            }),
            acquisition: Arc::new(Acquisition {
                source: Text::from_static(self.source),
                ..Acquisition::default()
            }),
            properties: self
                .property
                .iter()
                .map(|(key, value)| (Text::from_static(key), Text::from_static(value)))
                .collect(),
            revenue: self.amount.map(|(currency, amount_micros)| Revenue {
                amount_micros,
                currency: CurrencyCode::parse(currency.as_bytes()).unwrap(),
            }),
            scroll_depth: self.scroll_depth,
            engaged_ms: self.engaged_ms,
            flags: EventFlags::default(),
            dropped: None,
        }
    }
}

impl Site {
    /// A site with the goals `Sign up` (an event) and `Docs` (a page pattern), and the property `plan`.
    pub(crate) fn new(timezone: &str) -> Self {
        let mut site = Self {
            state: SiteState::new(SiteId(7)),
            rows: Rows::default(),
            index: 0,
            is_fresh: true,
            info: SiteInfo {
                id: SiteId(7),
                domain: "example.com".to_owned(),
                timezone: timezone.to_owned(),
                generation: Generation(0),
                switches: 0,
            },
            reports: Reports::new(1 << 20),
            now: UnixMillis(0),
        };
        let goals = [
            (
                "Sign up",
                Condition::EventName(Bytes::from_static(b"signup")),
            ),
            (
                "Docs",
                Condition::PagePattern(Bytes::from_static(b"/docs/**")),
            ),
        ];
        let goals = goals
            .into_iter()
            .zip(10..)
            .map(|((name, condition), id)| Goal {
                id,
                name: Bytes::from_static(name.as_bytes()),
                since_ms: millis("2020-01-01T00:00:00Z").0,
                condition: Some(condition),
            });
        let command = SiteCommand {
            site: 7,
            change: Some(Change::Settings(SiteSettings {
                revision: 1,
                timezone: Bytes::copy_from_slice(timezone.as_bytes()),
                transitions: transitions(timezone),
                visit_timeout_minutes: 30,
                goals: goals.collect(),
                property_keys: vec![Bytes::from_static(b"plan")],
                sketch_key: 99,
            })),
        };
        site.index += 1;
        let stamp = UnixMillis(0);
        site.state
            .apply_command(LogIndex(site.index), stamp, &command, &site.rows)
            .unwrap();
        site
    }

    /// Hits arrive one after the other, each at its own time.
    pub(crate) fn send(&mut self, hits: &[Hit]) {
        let mut hits: Vec<&Hit> = hits.iter().collect();
        hits.sort_by_key(|hit| hit.time);
        for hit in hits {
            self.index += 1;
            let events = [hit.event(self.index)];
            let mut writer = BatchWriter::new();
            writer.add(SiteId(7), &events, None);
            let batch = writer.finish();
            let stamp = hit.time.max(self.state.view().stamp());
            self.state
                .apply_events(
                    LogIndex(self.index),
                    stamp,
                    &batch,
                    &batch.sites[0],
                    &self.rows,
                )
                .unwrap();
            self.now = self.now.max(hit.time);
        }
    }

    /// Hours that are no longer hot go into pages, days and months that have ended into theirs.
    pub(crate) fn settle(&mut self) {
        let writes = self.state.checkpoint(&self.rows).unwrap();
        self.rows.write(writes);
        loop {
            let view = self.state.view();
            let writes = roll_up(&self.rows, view.zone(), view.hot_from(), 10).unwrap();
            if writes.is_empty() {
                return;
            }
            self.rows.write(writes);
        }
    }

    /// Hours that are no longer hot go into pages; no page of a day or month is made.
    pub(crate) fn checkpoint(&mut self) {
        let writes = self.state.checkpoint(&self.rows).unwrap();
        self.rows.write(writes);
    }

    pub(crate) fn at(&mut self, now: &str) -> &mut Self {
        self.now = millis(now);
        self
    }

    fn standing(&self) -> Standing {
        let view = self.state.view();
        Standing {
            index: view.index(),
            stamp: view.stamp(),
            is_fresh: self.is_fresh,
        }
    }

    pub(crate) fn try_ask(&self, question: &Value) -> Result<Value, QueryError> {
        let request = QueryRequest::parse(question.to_string().as_bytes())?;
        let view = self.state.view();
        let answer = self.reports.query(
            &request,
            &self.info,
            &view,
            &self.rows,
            self.standing(),
            self.now,
        )?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    pub(crate) fn ask(&self, question: Value) -> Value {
        self.try_ask(&question)
            .unwrap_or_else(|error| panic!("{question} is refused: {error}"))
    }

    /// The rows of the answer, one line each: dimensions, colon, metrics.
    pub(crate) fn table(&self, question: Value) -> String {
        rows(&self.ask(question))
    }

    /// Why the question is refused.
    pub(crate) fn refusal(&self, question: Value) -> String {
        match self.try_ask(&question) {
            Ok(answer) => panic!("{question} is answered: {answer}"),
            Err(error) => {
                assert_eq!(error.kind().http_status(), 400, "{error}");
                error.to_string()
            }
        }
    }

    pub(crate) fn current_visitors(&self) -> u64 {
        realtime_visitors(&self.state.view(), &self.rows, self.now).unwrap()
    }
}

pub(crate) fn rows(answer: &Value) -> String {
    let cells = |list: &Value| {
        let cells = list.as_array().unwrap().iter();
        let texts = cells.map(|cell| {
            cell.as_str()
                .map_or_else(|| cell.to_string(), str::to_owned)
        });
        texts.collect::<Vec<String>>()
    };
    let mut lines = String::new();
    for row in answer["results"].as_array().unwrap() {
        let dimensions = cells(&row["dimensions"]).join(" | ");
        let metrics = cells(&row["metrics"]).join(" ");
        lines += &format!("{dimensions}: {metrics}");
        if let Some(comparison) = row.get("comparison") {
            let before = cells(&comparison["metrics"]).join(" ");
            let change = cells(&comparison["change"]).join(" ");
            lines += &format!(" (was {before}, change {change})");
        }
        lines += "\n";
    }
    lines
}

pub(crate) fn millis(time: &str) -> UnixMillis {
    UnixMillis(time.parse::<Timestamp>().unwrap().as_millisecond())
}

/// The zone's transitions of a few years, as a settings command carries them.
fn transitions(timezone: &str) -> Vec<ZoneTransition> {
    let zone = TimeZone::get(timezone).unwrap();
    let first = Timestamp::from_second(1_577_836_800).unwrap();
    let mut transitions = vec![ZoneTransition {
        from_ms: first.as_millisecond() - HOUR_MS,
        offset_seconds: zone.to_offset(first).seconds(),
    }];
    for transition in zone.following(first).take(40) {
        transitions.push(ZoneTransition {
            from_ms: transition.timestamp().as_millisecond(),
            offset_seconds: transition.offset().seconds(),
        });
    }
    transitions
}

/// Rows in memory.
#[derive(Default)]
struct Rows(BTreeMap<SiteRow, Bytes>);

impl Rows {
    fn write(&mut self, writes: Vec<RowWrite>) {
        for write in writes {
            match write.value {
                Some(value) => self.0.insert(write.row, value),
                None => self.0.remove(&write.row),
            };
        }
    }
}

impl RowReader for Rows {
    fn get(&self, row: SiteRow) -> Result<Option<Bytes>, RowReadError> {
        Ok(self.0.get(&row).cloned())
    }

    fn range(
        &self,
        from: SiteRow,
        to: SiteRow,
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError> {
        for (row, value) in self.0.range(from..=to) {
            if visit(*row, value.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }
}
