//! The dictionary of a stored row: sorted, so that equal content has equal bytes.

use hashbrown::HashMap;
use ringtail_proto::{Acquisition, Client, Place, Text};
use serde::{Deserialize, Serialize};

use crate::{
    NO_VALUE, REMAINDER, ValueId, Values,
    interner::Interner,
    visit::{part::Remap, touch_sum::TouchKind},
};

/// Texts in order, each once; attribute groups as positions of their texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredValues {
    texts: Vec<String>,
    clients: Vec<[u32; 7]>,
    places: Vec<[u32; 3]>,
    acquisitions: Vec<[u32; 8]>,
}

/// Collects the values that some rows use, and then translates them to their stored positions.
pub(crate) struct ValuesWriter<'a> {
    values: &'a Values,
    texts: HashMap<ValueId, ValueId>,
    clients: HashMap<ValueId, ValueId>,
    places: HashMap<ValueId, ValueId>,
    acquisitions: HashMap<ValueId, ValueId>,
}

impl<'a> ValuesWriter<'a> {
    pub(crate) fn new(values: &'a Values) -> Self {
        Self {
            values,
            texts: HashMap::new(),
            clients: HashMap::new(),
            places: HashMap::new(),
            acquisitions: HashMap::new(),
        }
    }

    /// The dictionary of all values that were collected; from now on this translates.
    pub(crate) fn finish(&mut self) -> StoredValues {
        let values = self.values;
        let mut texts: Vec<Text> = Vec::new();
        texts.extend(self.texts.keys().map(|id| text_of(values, *id)));
        for id in self.clients.keys() {
            texts.extend(client_fields(
                values.client(*id).unwrap_or(&Client::default()),
            ));
        }
        for id in self.places.keys() {
            texts.extend(place_fields(values.place(*id).unwrap_or(&Place::default())));
        }
        for id in self.acquisitions.keys() {
            let acquisition = values.acquisition(*id);
            texts.extend(acquisition_fields(
                acquisition.unwrap_or(&Acquisition::default()),
            ));
        }
        texts.sort_unstable();
        texts.dedup();
        let at = |text: Text| texts.binary_search(&text).unwrap_or(0) as u32;
        for (id, position) in &mut self.texts {
            *position = at(text_of(values, *id));
        }
        let clients = positions(&mut self.clients, |id| {
            client_fields(values.client(id).unwrap_or(&Client::default())).map(at)
        });
        let places = positions(&mut self.places, |id| {
            place_fields(values.place(id).unwrap_or(&Place::default())).map(at)
        });
        let acquisitions = positions(&mut self.acquisitions, |id| {
            acquisition_fields(values.acquisition(id).unwrap_or(&Acquisition::default())).map(at)
        });
        StoredValues {
            texts: texts.iter().map(|text| text.as_str().to_owned()).collect(),
            clients,
            places,
            acquisitions,
        }
    }
}

impl Remap for ValuesWriter<'_> {
    fn text(&mut self, _kind: TouchKind, value: ValueId) -> ValueId {
        translate(&mut self.texts, value)
    }

    fn client(&mut self, value: ValueId) -> ValueId {
        translate(&mut self.clients, value)
    }

    fn place(&mut self, value: ValueId) -> ValueId {
        translate(&mut self.places, value)
    }

    fn acquisition(&mut self, value: ValueId) -> ValueId {
        translate(&mut self.acquisitions, value)
    }
}

/// Looks a value up, or notes it while collecting.
fn translate(known: &mut HashMap<ValueId, ValueId>, value: ValueId) -> ValueId {
    if is_special(value) {
        return value;
    }
    *known.entry(value).or_insert(0)
}

const fn is_special(value: ValueId) -> bool {
    value == NO_VALUE || value == REMAINDER
}

fn positions<const N: usize>(
    ids: &mut HashMap<ValueId, ValueId>,
    fields: impl Fn(ValueId) -> [u32; N],
) -> Vec<[u32; N]> {
    let mut rows: Vec<[u32; N]> = ids.keys().map(|id| fields(*id)).collect();
    rows.sort_unstable();
    rows.dedup();
    for (id, position) in ids {
        *position = rows.binary_search(&fields(*id)).unwrap_or(0) as u32;
    }
    rows
}

fn text_of(values: &Values, id: ValueId) -> Text {
    values.text(id).cloned().unwrap_or_default()
}

fn client_fields(client: &Client) -> [Text; 7] {
    [
        client.browser.clone(),
        client.browser_version.clone(),
        client.os.clone(),
        client.os_version.clone(),
        client.device.clone(),
        client.screen.clone(),
        client.language.clone(),
    ]
}

fn place_fields(place: &Place) -> [Text; 3] {
    [
        place.country.clone(),
        place.region.clone(),
        place.city.clone(),
    ]
}

fn acquisition_fields(acquisition: &Acquisition) -> [Text; 8] {
    [
        acquisition.referrer.clone(),
        acquisition.source.clone(),
        acquisition.channel.clone(),
        acquisition.utm_source.clone(),
        acquisition.utm_medium.clone(),
        acquisition.utm_campaign.clone(),
        acquisition.utm_content.clone(),
        acquisition.utm_term.clone(),
    ]
}

/// From the positions of a stored dictionary to those of an interner.
#[derive(Debug, Default)]
pub(crate) struct Translation {
    texts: Vec<ValueId>,
    clients: Vec<ValueId>,
    places: Vec<ValueId>,
    acquisitions: Vec<ValueId>,
}

impl StoredValues {
    /// Interns everything; positions that point nowhere become empty texts.
    pub(crate) fn load(&self, interner: &mut Interner) -> Translation {
        let texts: Vec<Text> = self
            .texts
            .iter()
            .map(|text| Text::from(text.as_str()))
            .collect();
        let text = |position: &u32| texts.get(*position as usize).cloned().unwrap_or_default();
        let clients = self.clients.iter().map(|row| {
            let [
                browser,
                browser_version,
                os,
                os_version,
                device,
                screen,
                language,
            ] = row;
            interner.client(&Client {
                browser: text(browser),
                browser_version: text(browser_version),
                os: text(os),
                os_version: text(os_version),
                device: text(device),
                screen: text(screen),
                language: text(language),
                raw_user_agent: Text::default(),
            })
        });
        let clients = clients.collect();
        let places = self.places.iter().map(|[country, region, city]| {
            interner.place(&Place {
                country: text(country),
                region: text(region),
                city: text(city),
            })
        });
        let places = places.collect();
        let acquisitions = self.acquisitions.iter().map(|row| {
            let [referrer, source, channel, campaigns @ ..] = row;
            let [utm_source, utm_medium, utm_campaign, utm_content, utm_term] = campaigns;
            interner.acquisition(&Acquisition {
                referrer: text(referrer),
                source: text(source),
                channel: text(channel),
                utm_source: text(utm_source),
                utm_medium: text(utm_medium),
                utm_campaign: text(utm_campaign),
                utm_content: text(utm_content),
                utm_term: text(utm_term),
                raw_referrer: Text::default(),
            })
        });
        let acquisitions = acquisitions.collect();
        Translation {
            texts: self.texts.iter().map(|text| interner.text(text)).collect(),
            clients,
            places,
            acquisitions,
        }
    }
}

impl Remap for Translation {
    fn text(&mut self, _kind: TouchKind, value: ValueId) -> ValueId {
        look_up(&self.texts, value)
    }

    fn client(&mut self, value: ValueId) -> ValueId {
        look_up(&self.clients, value)
    }

    fn place(&mut self, value: ValueId) -> ValueId {
        look_up(&self.places, value)
    }

    fn acquisition(&mut self, value: ValueId) -> ValueId {
        look_up(&self.acquisitions, value)
    }
}

fn look_up(positions: &[ValueId], value: ValueId) -> ValueId {
    if is_special(value) {
        return value;
    }
    positions.get(value as usize).copied().unwrap_or(NO_VALUE)
}

/// From the positions of one dictionary to those of an interner, each value looked up once.
pub(crate) struct Transfer<'a> {
    from: &'a Values,
    to: &'a mut Interner,
    texts: HashMap<ValueId, ValueId>,
    clients: HashMap<ValueId, ValueId>,
    places: HashMap<ValueId, ValueId>,
    acquisitions: HashMap<ValueId, ValueId>,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(from: &'a Values, to: &'a mut Interner) -> Self {
        Self {
            from,
            to,
            texts: HashMap::new(),
            clients: HashMap::new(),
            places: HashMap::new(),
            acquisitions: HashMap::new(),
        }
    }
}

impl Remap for Transfer<'_> {
    fn text(&mut self, _kind: TouchKind, value: ValueId) -> ValueId {
        let Some(text) = self.from.text(value) else {
            return value;
        };
        let to = &mut self.to;
        *self.texts.entry(value).or_insert_with(|| to.text(text))
    }

    fn client(&mut self, value: ValueId) -> ValueId {
        let Some(client) = self.from.client(value) else {
            return value;
        };
        let to = &mut self.to;
        *self
            .clients
            .entry(value)
            .or_insert_with(|| to.client(client))
    }

    fn place(&mut self, value: ValueId) -> ValueId {
        let Some(place) = self.from.place(value) else {
            return value;
        };
        let to = &mut self.to;
        *self.places.entry(value).or_insert_with(|| to.place(place))
    }

    fn acquisition(&mut self, value: ValueId) -> ValueId {
        let Some(acquisition) = self.from.acquisition(value) else {
            return value;
        };
        let to = &mut self.to;
        *self
            .acquisitions
            .entry(value)
            .or_insert_with(|| to.acquisition(acquisition))
    }
}
