//! The stored rows of one local hour: self-contained, so that its cells fold from it alone and its chains can be rebuilt.
//!
//! Layout: version byte; length of the minutes as a little-endian u32; minutes; the rest compressed with zstd: dictionary,
//! counts of folded values, rows in the order of (visitor, chain). The inside of both sections is postcard.

use bytes::Bytes;
use ringtail_proto::HourStart;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    hour_rows::{Folded, HourRows, Touches},
    minute::{Minute, Minutes, StoredMinute},
    stored_values::{StoredValues, ValuesWriter},
};
use crate::{
    Values,
    compression::{compress, decompress},
    interner::Interner,
    visit::{
        chain::Chain,
        derive::{TouchFacts, VisitFacts, visits},
        part::{Part, Remap},
        touch_sum::{TouchKind, TouchSum},
    },
};

/// Version of the rows of an hour.
pub(crate) const ROWS_VERSION: u8 = 1;
const COMPRESSION_LEVEL: i32 = 3;
/// A row of an hour never unpacks to more.
const UNPACKED_BYTES_MAX: usize = 4 << 30;

/// Why a stored row cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// No version byte, or shorter than its parts say.
    #[error("row is cut short")]
    Truncated,
    /// Written by a newer binary.
    #[error("row has version {found}, this binary knows up to {known}")]
    Newer {
        /// The version found.
        found: u8,
        /// The newest version known.
        known: u8,
    },
    /// Not what this version writes.
    #[error("row is damaged: {what}")]
    Damaged {
        /// What does not fit.
        what: String,
    },
}

/// A chain's part of the hour, with what the chain says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRow {
    /// The chain's visitor ids.
    pub(crate) ids: SmallVec<[u64; 2]>,
    /// The chain's first and last event: which hours hold the rest of it.
    pub(crate) chain_first_ms: i64,
    pub(crate) chain_last_ms: i64,
    pub(crate) part: Part,
    /// None when the visit has engagement only and does not count.
    pub(crate) facts: Option<VisitFacts>,
}

/// The rows of one hour with their dictionary.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredHour {
    pub(crate) interner: Interner,
    pub(crate) folded: Folded,
    pub(crate) minutes: Minutes,
    pub(crate) rows: Vec<StoredRow>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    values: StoredValues,
    folded: Folded,
    rows: Vec<StoredRow>,
}

/// The rows that a chain has in some hours.
pub(crate) fn rows_of_chain<'a>(
    chain: &'a Chain,
    mut wanted: impl FnMut(HourStart) -> bool + 'a,
) -> impl Iterator<Item = StoredRow> + 'a {
    let positions = visits(chain).flat_map(|visit| (0..visit.parts.len()).map(move |i| (visit, i)));
    positions.filter_map(move |(visit, position)| {
        let part = visit.parts.get(position)?;
        if !wanted(part.hour) {
            return None;
        }
        Some(StoredRow {
            ids: chain.ids.clone(),
            chain_first_ms: chain.first_ms(),
            chain_last_ms: chain.last_ms(),
            part: (**part).clone(),
            facts: visit.facts(position, true),
        })
    })
}

impl StoredRow {
    /// Changes positions to those of another dictionary; values stay apart, touches are put in order again.
    pub(crate) fn translate(&mut self, remap: &mut dyn Remap) {
        let facts = self.facts.as_mut();
        let mut touch_facts = SmallVec::new();
        if let Some(facts) = facts {
            facts.client = remap.client(facts.client);
            facts.place = remap.place(facts.place);
            facts.acquisition = remap.acquisition(facts.acquisition);
            facts.entry_page = remap.text(PAGE, facts.entry_page);
            facts.exit_page = remap.text(PAGE, facts.exit_page);
            touch_facts = std::mem::take(&mut facts.touches);
        }
        let part = &mut self.part;
        if let Some(origin) = &mut part.origin {
            origin.client = remap.client(origin.client);
            origin.place = remap.place(origin.place);
            origin.acquisition = remap.acquisition(origin.acquisition);
        }
        for view in [&mut part.entry, &mut part.exit].into_iter().flatten() {
            view.page = remap.text(PAGE, view.page);
        }
        let mut touches: Vec<_> = std::mem::take(&mut part.touches)
            .into_iter()
            .enumerate()
            .map(|(position, mut touch)| {
                touch.value = remap.text(touch.kind, touch.value);
                (touch, touch_facts.get(position).copied())
            })
            .collect();
        touches.sort_by_key(|(touch, _)| touch.key());
        if let Some(facts) = &mut self.facts {
            facts.touches = touches.iter().filter_map(|(_, facts)| *facts).collect();
        }
        part.touches = touches.into_iter().map(|(touch, _)| touch).collect();
    }

    /// Folds values of a part into the remainder; what the visit says about the folded ones is folded too.
    pub(crate) fn fold(&mut self, folded: &mut dyn Remap) {
        let keys: Vec<_> = self.part.touches.iter().map(TouchSum::key).collect();
        self.part.remap(folded);
        let Some(facts) = &mut self.facts else {
            return;
        };
        facts.client = folded.client(facts.client);
        facts.place = folded.place(facts.place);
        facts.acquisition = folded.acquisition(facts.acquisition);
        facts.entry_page = folded.text(PAGE, facts.entry_page);
        facts.exit_page = folded.text(PAGE, facts.exit_page);
        let old = std::mem::take(&mut facts.touches);
        facts.touches = self
            .part
            .touches
            .iter()
            .map(|touch| {
                let mut sum = TouchFacts::default();
                for ((kind, value), facts) in keys.iter().zip(&old) {
                    if *kind == touch.kind && folded.text(*kind, *value) == touch.value {
                        sum.is_first |= facts.is_first;
                        sum.scroll_plus_one = sum.scroll_plus_one.max(facts.scroll_plus_one);
                    }
                }
                sum
            })
            .collect();
    }

    /// Notes every value that the row uses.
    pub(crate) fn collect(&self, values: &mut dyn Remap) {
        collect_part(&self.part, values);
        if let Some(facts) = &self.facts {
            values.client(facts.client);
            values.place(facts.place);
            values.acquisition(facts.acquisition);
            values.text(PAGE, facts.entry_page);
            values.text(PAGE, facts.exit_page);
        }
    }
}

/// Notes every value that a part uses.
pub(crate) fn collect_part(part: &Part, values: &mut dyn Remap) {
    if let Some(origin) = &part.origin {
        values.client(origin.client);
        values.place(origin.place);
        values.acquisition(origin.acquisition);
    }
    for view in [&part.entry, &part.exit].into_iter().flatten() {
        values.text(PAGE, view.page);
    }
    for touch in &part.touches {
        values.text(touch.kind, touch.value);
    }
}

const PAGE: TouchKind = TouchKind::PAGE;

impl StoredHour {
    /// Reads the rows of an hour.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let (minutes, body) = sections(bytes)?;
        let body = unpack(body)?;
        let body: Body = postcard::from_bytes(&body).map_err(damaged)?;
        let mut interner = Interner::default();
        let mut translation = body.values.load(&mut interner);
        let mut rows = body.rows;
        for row in &mut rows {
            row.translate(&mut translation);
        }
        Ok(Self {
            interner,
            folded: body.folded,
            minutes: decode_minutes_section(minutes)?,
            rows,
        })
    }

    /// The bytes of this hour; equal content has equal bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut writer = ValuesWriter::new(self.interner.values());
        for row in &self.rows {
            row.collect(&mut writer);
        }
        let values = writer.finish();
        let mut rows = self.rows.clone();
        for row in &mut rows {
            row.translate(&mut writer);
        }
        rows.sort_by(|one, other| {
            let key = |row: &StoredRow| (row.part.first, row.chain_first_ms);
            key(one).cmp(&key(other))
        });
        let body = Body {
            values,
            folded: self.folded.clone(),
            rows,
        };
        let minutes = pack_plain(&self.minutes.to_stored());
        let mut bytes = vec![ROWS_VERSION];
        bytes.extend_from_slice(&(minutes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&minutes);
        bytes.extend_from_slice(&pack(&body, COMPRESSION_LEVEL));
        bytes.into()
    }

    /// Each row in bytes that depend on nothing but what it counts: its values as texts.
    pub(crate) fn canonical_rows(&self) -> impl Iterator<Item = Vec<u8>> {
        self.rows.iter().map(|row| {
            let mut writer = ValuesWriter::new(self.interner.values());
            row.collect(&mut writer);
            let values = writer.finish();
            let mut row = row.clone();
            row.translate(&mut writer);
            pack_plain(&(values, row))
        })
    }

    /// The minutes in bytes.
    pub(crate) fn minutes_bytes(&self) -> Vec<u8> {
        pack_plain(&self.minutes.to_stored())
    }

    /// The rows in the shape that cells fold from.
    pub(crate) fn hour_rows(&self, wanted: Touches) -> HourRows {
        let mut rows = HourRows::new(self.interner.values().clone(), self.folded.clone());
        for row in &self.rows {
            if let Some(facts) = &row.facts {
                rows.push(&row.part, facts, wanted);
            }
        }
        rows
    }
}

impl HourRows {
    /// Reads a stored [`ringtail_proto::SiteRow::Rows`].
    ///
    /// # Errors
    /// When the row is damaged or of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        Ok(StoredHour::decode(bytes)?.hour_rows(Touches::All))
    }
}

/// Reads only the minutes of a stored [`ringtail_proto::SiteRow::Rows`]: number within the hour, and totals.
///
/// # Errors
/// When the row is damaged or of a newer version.
pub fn decode_minutes(bytes: &[u8]) -> Result<Vec<(u8, Minute)>, RowError> {
    let (minutes, _) = sections(bytes)?;
    let minutes = decode_minutes_section(minutes)?;
    Ok(minutes
        .iter()
        .map(|(number, minute)| (number, minute.clone()))
        .collect())
}

fn sections(bytes: &[u8]) -> Result<(&[u8], &[u8]), RowError> {
    let rest = versioned(bytes, ROWS_VERSION)?;
    let (len, rest) = rest.split_first_chunk::<4>().ok_or(RowError::Truncated)?;
    let len = u32::from_le_bytes(*len) as usize;
    rest.split_at_checked(len).ok_or(RowError::Truncated)
}

fn decode_minutes_section(bytes: &[u8]) -> Result<Minutes, RowError> {
    let rows: Vec<StoredMinute> = postcard::from_bytes(bytes).map_err(damaged)?;
    Minutes::from_stored(rows).ok_or_else(|| RowError::Damaged {
        what: "visitors of a minute".to_owned(),
    })
}

/// Takes the version byte off.
pub(crate) fn versioned(bytes: &[u8], known: u8) -> Result<&[u8], RowError> {
    match bytes.split_first() {
        None => Err(RowError::Truncated),
        Some((found, rest)) if *found == known => Ok(rest),
        Some((found, _)) if *found < known => Err(RowError::Damaged {
            what: format!("version {found} is no longer read, only {known} is"),
        }),
        Some((found, _)) => Err(RowError::Newer {
            found: *found,
            known,
        }),
    }
}

pub(crate) fn damaged(error: impl std::fmt::Display) -> RowError {
    RowError::Damaged {
        what: error.to_string(),
    }
}

pub(crate) fn pack_plain(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("the state's types serialize into memory")
}

/// Length as a little-endian u64, then zstd.
pub(crate) fn pack(value: &impl Serialize, level: i32) -> Vec<u8> {
    let plain = pack_plain(value);
    let mut bytes = (plain.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(&compress(&plain, level));
    bytes
}

pub(crate) fn unpack(bytes: &[u8]) -> Result<Vec<u8>, RowError> {
    let (len, packed) = bytes.split_first_chunk::<8>().ok_or(RowError::Truncated)?;
    let len = u64::from_le_bytes(*len) as usize;
    if len > UNPACKED_BYTES_MAX {
        return Err(damaged("it says that it unpacks to too many bytes"));
    }
    decompress(packed, len).map_err(damaged)
}

/// The dictionary of chains and the chains, for chunks of the hot state.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredChains {
    values: StoredValues,
    chains: Vec<StoredChain>,
}

#[derive(Serialize, Deserialize)]
struct StoredChain {
    home: u64,
    ids: SmallVec<[u64; 2]>,
    parts: Vec<Part>,
}

impl StoredChains {
    /// The chains of a chunk, in order.
    pub(crate) fn of<'a>(
        chains: impl Iterator<Item = (u64, &'a Chain)>,
        values: &'a Values,
    ) -> Self {
        let mut writer = ValuesWriter::new(values);
        let mut chains: Vec<(u64, &Chain)> = chains.collect();
        chains.sort_by_key(|(home, chain)| (*home, chain.first_ms(), chain.last_ms()));
        for part in chains.iter().flat_map(|(_, chain)| &chain.parts) {
            collect_part(part, &mut writer);
        }
        let values = writer.finish();
        let chains = chains
            .into_iter()
            .map(|(home, chain)| StoredChain {
                home,
                ids: chain.ids.clone(),
                parts: chain
                    .parts
                    .iter()
                    .map(|part| {
                        let mut part = (**part).clone();
                        part.remap(&mut writer);
                        part
                    })
                    .collect(),
            })
            .collect();
        Self { values, chains }
    }

    /// The chains with positions of the interner.
    pub(crate) fn load(self, interner: &mut Interner, mut each: impl FnMut(u64, Chain)) {
        let mut translation = self.values.load(interner);
        for chain in self.chains {
            let mut parts = chain.parts;
            for part in &mut parts {
                part.remap(&mut translation);
            }
            each(chain.home, Chain::from_parts(&chain.ids, parts));
        }
    }
}
