//! The country of an address, by DB-IP's free database.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use maxminddb::Reader;
use parking_lot::RwLock;
use ringtail_proto::{Place, Text};
use serde::Deserialize;

const DATABASE: &[u8] = include_bytes!("../data/countries/dbip-country.mmdb.zst");

#[derive(Deserialize)]
struct Row<'a> {
    country_code: &'a str,
}

/// Finds countries. One [`Place`] for each country is shared by all events.
pub(crate) struct Countries {
    database: OnceLock<Reader<Vec<u8>>>,
    places: RwLock<Vec<(Text, Arc<Place>)>>,
    nowhere: Arc<Place>,
}

impl Countries {
    pub(crate) fn new() -> Self {
        Self {
            database: OnceLock::new(),
            places: RwLock::new(Vec::new()),
            nowhere: Arc::new(Place::default()),
        }
    }

    /// Unpacks the database, which takes a moment.
    pub(crate) fn warm_up(&self) {
        self.database();
    }

    /// Where nobody knows.
    pub(crate) fn nowhere(&self) -> Arc<Place> {
        self.nowhere.clone()
    }

    /// The country of an address; nowhere for private and unknown ones.
    pub(crate) fn place(&self, address: IpAddr) -> Arc<Place> {
        let found = self.database().lookup(address).ok();
        let row = found.and_then(|found| found.decode::<Row<'_>>().ok().flatten());
        match row {
            Some(row) => self.shared(row.country_code),
            None => self.nowhere(),
        }
    }

    fn shared(&self, country: &str) -> Arc<Place> {
        // Two capital letters: the list cannot grow beyond 676 entries.
        if country.len() != 2 || !country.bytes().all(|letter| letter.is_ascii_uppercase()) {
            return self.nowhere();
        }
        let known = |places: &Vec<(Text, Arc<Place>)>| {
            let position = places.binary_search_by(|(code, _)| code.as_str().cmp(country));
            position.map(|position| places.get(position).map(|(_, place)| place.clone()))
        };
        if let Ok(Some(place)) = known(&self.places.read()) {
            return place;
        }
        let mut places = self.places.write();
        match known(&places) {
            Ok(Some(place)) => place,
            Ok(None) => self.nowhere(),
            Err(position) => {
                let country = Text::from(country);
                let place = Arc::new(Place {
                    country: country.clone(),
                    ..Place::default()
                });
                places.insert(position, (country, place.clone()));
                place
            }
        }
    }

    fn database(&self) -> &Reader<Vec<u8>> {
        self.database.get_or_init(|| {
            let mut bytes =
                zstd::stream::decode_all(DATABASE).expect("the database is compiled in and tested");
            bytes.shrink_to_fit();
            Reader::from_source(bytes).expect("the database is compiled in and tested")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_countries_and_private_ones_have_none() {
        let countries = Countries::new();
        let check = |address: &str, expect: &str| {
            let place = countries.place(address.parse().unwrap());
            assert_eq!(place.country.as_str(), expect, "{address}");
        };
        check("8.8.8.8", "US");
        check("193.0.6.139", "NL");
        check("2001:4860:4860::8888", "CA");
        check("127.0.0.1", "");
        check("10.1.2.3", "");
        check("::1", "");
    }

    #[test]
    fn one_place_is_shared_by_a_country() {
        let countries = Countries::new();
        let place = |address: &str| countries.place(address.parse().unwrap());
        assert!(Arc::ptr_eq(&place("8.8.8.8"), &place("8.8.4.4")));
        assert!(Arc::ptr_eq(&place("127.0.0.1"), &countries.nowhere()));
    }
}
