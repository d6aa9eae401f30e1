//! From the rows of an hour to its cells.

use hashbrown::HashMap;
use ringtail_proto::{Acquisition, Client, Place, Text};

use super::{
    page::HourPage,
    sums::Cell,
    table::{CellTable, Remainder},
    uniques::Uniques,
};
use crate::{Dimension, NO_VALUE, REMAINDER, Touch, ValueId, VisitHour};

/// Resolves the positions that a set of rows uses. A position that it does not know counts as "no value".
pub trait Dictionary {
    /// A value of an event dimension, or a page.
    fn text(&self, dimension: Dimension, id: ValueId) -> Option<Text>;
    /// A client.
    fn client(&self, id: ValueId) -> Option<&Client>;
    /// A place.
    fn place(&self, id: ValueId) -> Option<&Place>;
    /// An acquisition.
    fn acquisition(&self, id: ValueId) -> Option<&Acquisition>;

    /// How many values of the dimension stand behind [`REMAINDER`] in these rows, at most.
    fn remainder_values(&self, dimension: Dimension) -> u64 {
        let _ = dimension;
        0
    }
}

/// Folds rows into the cells of one dimension. The rows may be of several hours of one dictionary.
pub fn fold_dimension<'a>(
    rows: impl IntoIterator<Item = VisitHour<'a>>,
    dictionary: &impl Dictionary,
    dimension: Dimension,
    sketch_key: u64,
) -> CellTable {
    let mut fold = Fold::new(dimension);
    for row in rows {
        let hash = Uniques::hash(row.visitor, sketch_key);
        fold.add_visit(&row, hash, dictionary);
        if dimension.is_of_events() {
            for touch in row.touches {
                if touch.dimension == dimension {
                    fold.add_touch(touch, hash, dictionary);
                }
            }
        }
    }
    fold.finish(dictionary)
}

/// Folds the rows of an hour into the cells of every dimension.
pub fn fold_hour<'a>(
    rows: impl IntoIterator<Item = VisitHour<'a>>,
    dictionary: &impl Dictionary,
    sketch_key: u64,
) -> HourPage {
    let properties = (0..Dimension::PROPERTY_SLOTS).map(Dimension::Property);
    let mut folds: Vec<Fold> = Dimension::ALL
        .into_iter()
        .chain(properties)
        .map(Fold::new)
        .collect();
    for row in rows {
        let hash = Uniques::hash(row.visitor, sketch_key);
        for fold in &mut folds {
            fold.add_visit(&row, hash, dictionary);
        }
        for touch in row.touches {
            if let Some(fold) = folds.get_mut(position(touch.dimension)) {
                fold.add_touch(touch, hash, dictionary);
            }
        }
    }
    let tables = folds
        .into_iter()
        .map(|fold| (fold.dimension, fold.finish(dictionary)));
    HourPage::new(tables.collect())
}

/// Position among [`Dimension::ALL`] followed by the properties.
const fn position(dimension: Dimension) -> usize {
    match dimension {
        Dimension::Property(slot) => Dimension::ALL.len() + slot as usize,
        other => other.code() as usize,
    }
}

/// The cells of one dimension while they grow: each position is resolved to text once.
struct Fold {
    dimension: Dimension,
    /// From the position in the dictionary to the place in `cells`.
    places: HashMap<ValueId, usize>,
    /// Several positions can have the same text: many clients use one browser.
    places_by_text: HashMap<Text, usize>,
    cells: Vec<(Text, Cell)>,
    remainder: Option<Cell>,
}

impl Fold {
    fn new(dimension: Dimension) -> Self {
        Self {
            dimension,
            places: HashMap::new(),
            places_by_text: HashMap::new(),
            cells: Vec::new(),
            remainder: None,
        }
    }

    /// What the row says by attributes of its visit.
    fn add_visit(&mut self, row: &VisitHour<'_>, hash: u64, dictionary: &impl Dictionary) {
        if self.dimension.is_of_events() {
            self.add_page_entrance(row, dictionary);
            return;
        }
        let cell = self.cell(visit_position(self.dimension, row), dictionary);
        cell.events += u64::from(row.events);
        cell.pageviews += u64::from(row.pageviews);
        cell.add_money(row.revenue);
        if let Some(totals) = &row.start {
            cell.visits += 1;
            cell.add_entrance(totals);
        }
        if row.events > 0 {
            cell.visitors.insert(hash);
        }
    }

    /// Bounce rate and its kin "by page" mean "by entry page".
    fn add_page_entrance(&mut self, row: &VisitHour<'_>, dictionary: &impl Dictionary) {
        if self.dimension != Dimension::Page || row.entry_page == NO_VALUE {
            return;
        }
        if let Some(totals) = &row.start {
            self.cell(row.entry_page, dictionary).add_entrance(totals);
        }
    }

    /// What the visit's events of this hour did to one value.
    fn add_touch(&mut self, touch: &Touch, hash: u64, dictionary: &impl Dictionary) {
        let cell = self.cell(touch.value, dictionary);
        cell.events += u64::from(touch.events);
        cell.pageviews += u64::from(touch.pageviews);
        cell.visits += u64::from(touch.is_first);
        cell.engaged_ms += touch.engaged_ms;
        cell.add_money(&touch.revenue);
        if let Some(depth) = touch.scroll_depth {
            cell.scroll_sum += u64::from(depth);
            cell.scroll_count += 1;
        }
        if touch.events > 0 {
            cell.visitors.insert(hash);
        }
    }

    fn cell(&mut self, id: ValueId, dictionary: &impl Dictionary) -> &mut Cell {
        let precision = CellTable::precision_of(self.dimension);
        if id == REMAINDER {
            return self.remainder.get_or_insert_with(|| Cell::new(precision));
        }
        let place = match self.places.get(&id) {
            Some(place) => *place,
            None => {
                let text = value_text(self.dimension, id, dictionary);
                let next = self.cells.len();
                let place = *self.places_by_text.entry(text.clone()).or_insert(next);
                if place == next {
                    self.cells.push((text, Cell::new(precision)));
                }
                self.places.insert(id, place);
                place
            }
        };
        let (_, cell) = self
            .cells
            .get_mut(place)
            .expect("each known place was pushed when it became known");
        cell
    }

    fn finish(self, dictionary: &impl Dictionary) -> CellTable {
        let remainder = self.remainder.map(|cell| Remainder {
            values: dictionary.remainder_values(self.dimension).max(1),
            cell,
        });
        let precision = CellTable::precision_of(self.dimension);
        CellTable::from_cells(self.cells, remainder, precision)
    }
}

/// Where in the dictionary the row's value of a visit dimension stands.
const fn visit_position(dimension: Dimension, row: &VisitHour<'_>) -> ValueId {
    match dimension {
        Dimension::EntryPage => row.entry_page,
        Dimension::ExitPage => row.exit_page,
        Dimension::Referrer
        | Dimension::Source
        | Dimension::Channel
        | Dimension::UtmSource
        | Dimension::UtmMedium
        | Dimension::UtmCampaign
        | Dimension::UtmContent
        | Dimension::UtmTerm => row.acquisition,
        Dimension::Country | Dimension::Region | Dimension::City => row.place,
        Dimension::Browser
        | Dimension::BrowserVersion
        | Dimension::Os
        | Dimension::OsVersion
        | Dimension::Device
        | Dimension::Screen
        | Dimension::Language => row.client,
        Dimension::Total
        | Dimension::Page
        | Dimension::Hostname
        | Dimension::EventName
        | Dimension::Goal
        | Dimension::Property(_) => NO_VALUE,
    }
}

/// The text of a value; empty for "none".
fn value_text(dimension: Dimension, id: ValueId, dictionary: &impl Dictionary) -> Text {
    if id == NO_VALUE {
        return Text::default();
    }
    match dimension {
        Dimension::Total => Some(Text::default()),
        Dimension::Page
        | Dimension::Hostname
        | Dimension::EventName
        | Dimension::Goal
        | Dimension::Property(_)
        | Dimension::EntryPage
        | Dimension::ExitPage => dictionary.text(dimension, id),
        Dimension::Country | Dimension::Region | Dimension::City => dictionary
            .place(id)
            .map(|place| place_text(dimension, place)),
        Dimension::Browser
        | Dimension::BrowserVersion
        | Dimension::Os
        | Dimension::OsVersion
        | Dimension::Device
        | Dimension::Screen
        | Dimension::Language => dictionary
            .client(id)
            .map(|client| client_text(dimension, client)),
        _ => dictionary
            .acquisition(id)
            .map(|acquisition| acquisition_text(dimension, acquisition)),
    }
    .unwrap_or_default()
}

fn place_text(dimension: Dimension, place: &Place) -> Text {
    match dimension {
        Dimension::Country => place.country.clone(),
        Dimension::Region => place.region.clone(),
        _ => place.city.clone(),
    }
}

fn client_text(dimension: Dimension, client: &Client) -> Text {
    match dimension {
        Dimension::Browser => client.browser.clone(),
        Dimension::BrowserVersion => with_version(&client.browser, &client.browser_version),
        Dimension::Os => client.os.clone(),
        Dimension::OsVersion => with_version(&client.os, &client.os_version),
        Dimension::Device => client.device.clone(),
        Dimension::Screen => client.screen.clone(),
        _ => client.language.clone(),
    }
}

fn acquisition_text(dimension: Dimension, acquisition: &Acquisition) -> Text {
    match dimension {
        Dimension::Referrer => acquisition.referrer.clone(),
        Dimension::Source => acquisition.source.clone(),
        Dimension::Channel => acquisition.channel.clone(),
        Dimension::UtmSource => acquisition.utm_source.clone(),
        Dimension::UtmMedium => acquisition.utm_medium.clone(),
        Dimension::UtmCampaign => acquisition.utm_campaign.clone(),
        Dimension::UtmContent => acquisition.utm_content.clone(),
        _ => acquisition.utm_term.clone(),
    }
}

/// A version means nothing without its family: `Firefox 130`.
fn with_version(family: &Text, version: &Text) -> Text {
    if version.is_empty() {
        return family.clone();
    }
    if family.is_empty() {
        return version.clone();
    }
    Text::from(format!("{family} {version}"))
}
