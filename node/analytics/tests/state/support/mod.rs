//! Speaks the domain for the tests: hits go into a site, reports come out as printed tables.

pub mod reference;

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_analytics::{
    CellTable, Dimension, HourPage, RuleSet, RuledState, Rules, SiteState, Touches, fold_dimension,
};
use ringtail_proto::{
    Acquisition, Client, CurrencyCode, DropReason, Event, EventFlags, EventId, HourStart, LogIndex,
    Place, Revenue, RowReadError, RowReader, RowWrite, SiteId, SiteRow, Text, UnixMillis, Verdict,
    VisitorId,
    stored::{BatchWriter, ImportMark, SiteCommand, SiteSettings, site_command},
};

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
/// 2026-03-02 00:00 UTC, a Monday.
pub const MONDAY: i64 = 1_772_409_600_000;

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryRows {
    pub rows: BTreeMap<SiteRow, Bytes>,
    pub written_bytes: usize,
}

impl MemoryRows {
    pub fn write(&mut self, writes: Vec<RowWrite>) {
        for write in writes {
            match write.value {
                Some(value) => {
                    self.written_bytes += value.len();
                    self.rows.insert(write.row, value);
                }
                None => {
                    self.rows.remove(&write.row);
                }
            }
        }
    }
}

impl RowReader for MemoryRows {
    fn get(&self, row: SiteRow) -> Result<Option<Bytes>, RowReadError> {
        Ok(self.rows.get(&row).cloned())
    }

    fn range(
        &self,
        from: SiteRow,
        to: SiteRow,
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError> {
        if from > to {
            return Ok(());
        }
        for (row, value) in self.rows.range(from..=to) {
            if visit(*row, value.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// One event, as a test says it.
#[derive(Clone, Debug)]
pub struct Hit {
    pub id: u128,
    pub visitor: u64,
    pub previous: u64,
    pub time: i64,
    pub name: String,
    pub page: String,
    pub source: String,
    pub country: String,
    pub browser: String,
    pub is_interactive: bool,
    pub scroll: Option<u8>,
    pub engaged_ms: u32,
    pub properties: Vec<(String, String)>,
    pub revenue: Option<(i64, &'static str)>,
    pub user_agent: String,
    pub user_id: Option<String>,
    pub medium: String,
    pub channel: String,
    pub referrer: String,
    pub dropped: Option<DropReason>,
}

/// A page view; its id follows from what it says, so that equal hits are equal events.
pub fn view(visitor: u64, time: i64, page: &str) -> Hit {
    let mut hit = Hit {
        id: 0,
        visitor,
        previous: 0,
        time,
        name: "pageview".to_owned(),
        page: page.to_owned(),
        source: String::new(),
        country: "DE".to_owned(),
        browser: "Firefox".to_owned(),
        is_interactive: true,
        scroll: None,
        engaged_ms: 0,
        properties: Vec::new(),
        revenue: None,
        user_agent: "Mozilla/5.0".to_owned(),
        user_id: None,
        medium: String::new(),
        channel: String::new(),
        referrer: String::new(),
        dropped: None,
    };
    hit.id = (u128::from(visitor) << 64) ^ (time as u128) ^ ((page.len() as u128) << 56);
    hit
}

pub fn custom(visitor: u64, time: i64, name: &str) -> Hit {
    let mut hit = view(visitor, time, "/");
    hit.name = name.to_owned();
    hit.id ^= 1 << 120;
    hit
}

pub fn engagement(visitor: u64, time: i64, page: &str, engaged_ms: u32, scroll: u8) -> Hit {
    let mut hit = view(visitor, time, page);
    hit.name = "engagement".to_owned();
    hit.engaged_ms = engaged_ms;
    hit.scroll = Some(scroll);
    hit.id ^= 1 << 121;
    hit
}

impl Hit {
    pub fn via(mut self, source: &str) -> Self {
        self.source = source.to_owned();
        self
    }

    pub fn by(mut self, user_agent: &str) -> Self {
        self.user_agent = user_agent.to_owned();
        self
    }

    pub fn of_user(mut self, user_id: &str) -> Self {
        self.user_id = Some(user_id.to_owned());
        self
    }

    pub fn dropped(mut self, reason: DropReason) -> Self {
        self.dropped = Some(reason);
        self
    }

    pub fn previously(mut self, previous: u64) -> Self {
        self.previous = previous;
        self
    }

    pub fn paid(mut self, amount_micros: i64, currency: &'static str) -> Self {
        self.revenue = Some((amount_micros, currency));
        self
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn event(&self) -> Event {
        let text = |text: &str| Text::from(text);
        Event {
            id: EventId(self.id),
            visitor: VisitorId(self.visitor),
            visitor_previous: (self.previous != 0).then_some(VisitorId(self.previous)),
            user_id: self.user_id.as_deref().map(Text::from),
            name: text(&self.name),
            time: Some(UnixMillis(self.time)),
            page: text(&self.page),
            hostname: text("example.org"),
            client: Arc::new(Client {
                browser: text(&self.browser),
                browser_version: text("130.0"),
                os: text("Linux"),
                device: text("Desktop"),
                raw_user_agent: text(&self.user_agent),
                ..Client::default()
            }),
            place: Arc::new(Place {
                country: text(&self.country),
                ..Place::default()
            }),
            acquisition: Arc::new(Acquisition {
                source: text(&self.source),
                utm_medium: text(&self.medium),
                channel: text(&self.channel),
                referrer: text(&self.referrer),
                ..Acquisition::default()
            }),
            properties: self
                .properties
                .iter()
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
            revenue: self.revenue.map(|(amount_micros, currency)| Revenue {
                amount_micros,
                currency: CurrencyCode::parse(currency.as_bytes()).unwrap(),
            }),
            scroll_depth: self.scroll,
            engaged_ms: self.engaged_ms,
            flags: EventFlags(u32::from(!self.is_interactive)),
            dropped: self.dropped,
        }
    }
}

/// A site with its store, as one replica has it.
#[derive(Clone)]
pub struct TestSite {
    pub ruled: RuledState,
    pub rules: Option<Arc<Rules>>,
    pub rows: MemoryRows,
    pub index: u64,
    pub stamp: i64,
}

pub const SITE: SiteId = SiteId(7);

impl Default for TestSite {
    fn default() -> Self {
        Self::new()
    }
}

impl TestSite {
    pub fn new() -> Self {
        Self::with_rules(None)
    }

    pub fn under(rules: &RuleSet) -> Self {
        rules.check().unwrap();
        Self::with_rules(Some(Arc::new(Rules::of(rules).unwrap())))
    }

    pub fn state(&self) -> &SiteState {
        self.ruled.state()
    }

    fn with_rules(rules: Option<Arc<Rules>>) -> Self {
        Self {
            ruled: RuledState::new(SITE, rules.clone()),
            rules,
            rows: MemoryRows::default(),
            index: 0,
            stamp: MONDAY,
        }
    }

    pub fn with_settings(settings: SiteSettings) -> Self {
        let mut site = Self::new();
        site.settings(settings);
        site
    }

    pub fn settings(&mut self, settings: SiteSettings) {
        self.command(site_command::Change::Settings(settings));
    }

    pub fn command(&mut self, change: site_command::Change) {
        self.index += 1;
        let command = SiteCommand {
            site: SITE.0,
            change: Some(change),
        };
        self.ruled
            .apply_command(
                LogIndex(self.index),
                UnixMillis(self.stamp),
                &command,
                &self.rows,
            )
            .unwrap();
    }

    /// One entry at a stamp.
    pub fn apply_at(&mut self, stamp: i64, hits: &[Hit]) -> Vec<Verdict> {
        self.apply_marked(stamp, hits, None)
    }

    /// One entry, stamped when its latest hit happened.
    pub fn apply(&mut self, hits: &[Hit]) -> Vec<Verdict> {
        let latest = hits.iter().map(|hit| hit.time).max().unwrap_or(self.stamp);
        self.apply_at(latest.max(self.stamp), hits)
    }

    pub fn apply_marked(
        &mut self,
        stamp: i64,
        hits: &[Hit],
        mark: Option<ImportMark>,
    ) -> Vec<Verdict> {
        let events: Vec<Event> = hits.iter().map(Hit::event).collect();
        let mut writer = BatchWriter::new();
        writer.add(SITE, &events, mark);
        let batch = writer.finish();
        self.index += 1;
        self.stamp = self.stamp.max(stamp);
        self.ruled
            .apply_events(
                LogIndex(self.index),
                UnixMillis(self.stamp),
                &batch,
                &batch.sites[0],
                &self.rows,
            )
            .unwrap()
    }

    pub fn checkpoint(&mut self) {
        let writes = self.ruled.checkpoint(&self.rows).unwrap();
        self.rows.write(writes);
    }

    /// Loses memory and comes back from the store, as of its last checkpoint.
    pub fn restart(&mut self) {
        self.ruled = RuledState::load(SITE, self.rules.clone(), &self.rows).unwrap();
    }

    pub fn hash(&self) -> String {
        let hash = self.state().state_hash(&self.rows).unwrap();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The cells of an hour, wherever it is.
    pub fn hour(&self, hour: HourStart, dimension: Dimension) -> Option<CellTable> {
        let view = self.state().view();
        if hour >= view.hot_from() {
            let rows = view.hour_rows(hour, Touches::Of(dimension));
            let key = view.settings().sketch_key;
            return Some(fold_dimension(rows.iter(), &rows, dimension, key));
        }
        let bytes = self.rows.rows.get(&SiteRow::Page(hour))?;
        HourPage::decode(bytes).unwrap().table(dimension).cloned()
    }

    /// Every hour with data, in order.
    pub fn hours(&self) -> Vec<HourStart> {
        let view = self.state().view();
        let stored = self.rows.rows.keys().filter_map(|row| match row {
            SiteRow::Page(hour) => Some(*hour),
            _ => None,
        });
        let mut hours: Vec<HourStart> = stored.chain(view.hot_hours()).collect();
        hours.sort_unstable();
        hours.dedup();
        hours
    }

    /// All cells of a dimension as lines: `hour value | numbers`, hours counted from Monday.
    pub fn table(&self, dimension: Dimension) -> String {
        let mut lines = Vec::new();
        for hour in self.hours() {
            let Some(table) = self.hour(hour, dimension) else {
                continue;
            };
            for (value, cell) in table.cells() {
                let line = CellLine {
                    events: cell.events,
                    pageviews: cell.pageviews,
                    visitors: cell.visitors.estimate(),
                    visits: cell.visits,
                    entrances: cell.entrances,
                    bounces: cell.bounces,
                    duration_ms: cell.duration_ms,
                    visit_pageviews: cell.visit_pageviews,
                    engaged_visits: cell.engaged_visits,
                    scroll_sum: cell.scroll_sum,
                    scroll_count: cell.scroll_count,
                    engaged_ms: cell.engaged_ms,
                    revenue: cell
                        .revenue
                        .iter()
                        .map(|sum| (sum.currency.to_string(), sum.amount_micros))
                        .collect(),
                };
                lines.extend(line.print(hour.0, value));
            }
        }
        lines.sort();
        lines.join("\n")
    }

    /// Sum of one number over all hours of the whole site.
    pub fn total(&self, number: impl Fn(&ringtail_analytics::Cell) -> u64) -> u64 {
        self.hours()
            .into_iter()
            .filter_map(|hour| self.hour(hour, Dimension::Total))
            .map(|table| number(&table.sum()))
            .sum()
    }
}

/// The numbers of a cell, to be printed alike by the product and by the reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellLine {
    pub events: u64,
    pub pageviews: u64,
    pub visitors: u64,
    pub visits: u64,
    pub entrances: u64,
    pub bounces: u64,
    pub duration_ms: u64,
    pub visit_pageviews: u64,
    pub engaged_visits: u64,
    pub scroll_sum: u64,
    pub scroll_count: u64,
    pub engaged_ms: u64,
    pub revenue: BTreeMap<String, i128>,
}

impl CellLine {
    /// None when there is nothing to count.
    pub fn print(&self, hour: i64, value: &str) -> Option<String> {
        if *self == Self::default() {
            return None;
        }
        let since = (hour - MONDAY) as f64 / HOUR as f64;
        let Self {
            events,
            pageviews,
            visitors,
            visits,
            entrances,
            bounces,
            duration_ms,
            visit_pageviews,
            engaged_visits,
            scroll_sum,
            scroll_count,
            engaged_ms,
            revenue,
        } = self;
        Some(format!(
            "{since:08.2} {value:?} | ev {events} pv {pageviews} vrs {visitors} vis {visits} | ent {entrances} \
             bnc {bounces} dur {duration_ms} vpv {visit_pageviews} eng {engaged_visits} | scr {scroll_sum}/{scroll_count} \
             ms {engaged_ms} | {revenue:?}"
        ))
    }
}

/// Settings of UTC with goals and a property, revision 1.
pub fn settings(timeout_minutes: u32) -> SiteSettings {
    use ringtail_proto::stored::{Goal, goal::Condition};
    SiteSettings {
        revision: 1,
        timezone: Bytes::from_static(b"UTC"),
        transitions: Vec::new(),
        visit_timeout_minutes: timeout_minutes,
        goals: vec![
            Goal {
                id: 1,
                name: Bytes::from_static(b"Sign up"),
                since_ms: 0,
                condition: Some(Condition::EventName(Bytes::from_static(b"signup"))),
            },
            Goal {
                id: 2,
                name: Bytes::from_static(b"Docs"),
                since_ms: 0,
                condition: Some(Condition::PagePattern(Bytes::from_static(b"/docs/**"))),
            },
        ],
        property_keys: vec![Bytes::from_static(b"plan")],
        sketch_key: 42,
    }
}
