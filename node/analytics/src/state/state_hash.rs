//! One hash for everything that a site counts, whatever its way into memory or the store.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use ringtail_proto::{HourStart, RowReader, SiteRow};

use super::{error::StateError, site_state::SiteState};
use crate::rows::stored_hour::{StoredHour, rows_of_chain};

impl SiteState {
    /// blake3 over the visits' parts of all hours, of rows and memory and late events merged, in order, with texts instead
    /// of positions; and over the minutes. Equal sets of accepted events have equal hashes (below the caps on values).
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn state_hash(&self, rows: &dyn RowReader) -> Result<[u8; 32], StateError> {
        let mut merged = self.clone();
        let mut hours = stored_hours(rows)?;
        for write in merged.checkpoint(rows)? {
            if let (SiteRow::Rows(hour), Some(value)) = (write.row, write.value) {
                hours.insert(hour, value);
            }
        }
        let hot_from = merged.hot_from.unwrap_or(HourStart(i64::MIN));
        let mut hashes: Vec<[u8; 32]> = Vec::new();
        for (hour, bytes) in hours {
            let stored = StoredHour::decode(&bytes).map_err(|source| StateError::Row {
                row: SiteRow::Rows(hour),
                source,
            })?;
            hash_hour(hour, stored, &mut hashes);
        }
        let mut hot: BTreeMap<HourStart, StoredHour> = BTreeMap::new();
        for chain in merged.chains.iter() {
            for row in rows_of_chain(chain, |hour| hour >= hot_from) {
                let hour = hot.entry(row.part.hour).or_insert_with(|| StoredHour {
                    interner: merged.interner.clone(),
                    ..StoredHour::default()
                });
                hour.rows.push(row);
            }
        }
        for (hour, mut stored) in hot {
            if let Some(sums) = merged.hours.get(&hour) {
                stored.minutes.merge(&sums.minutes);
            }
            hash_hour(hour, stored, &mut hashes);
        }
        hashes.sort_unstable();
        let mut hash = blake3::Hasher::new();
        for part in hashes {
            hash.update(&part);
        }
        Ok(*hash.finalize().as_bytes())
    }
}

fn stored_hours(rows: &dyn RowReader) -> Result<BTreeMap<HourStart, Bytes>, StateError> {
    let mut hours = BTreeMap::new();
    rows.range(
        SiteRow::Rows(HourStart(i64::MIN)),
        SiteRow::Rows(HourStart(i64::MAX)),
        &mut |row, value| {
            if let SiteRow::Rows(hour) = row {
                hours.insert(hour, value);
            }
            ControlFlow::Continue(())
        },
    )?;
    Ok(hours)
}

fn hash_hour(hour: HourStart, stored: StoredHour, hashes: &mut Vec<[u8; 32]>) {
    let mut minutes = blake3::Hasher::new();
    minutes.update(&hour.0.to_le_bytes());
    minutes.update(&stored.minutes_bytes());
    hashes.push(*minutes.finalize().as_bytes());
    for row in stored.canonical_rows() {
        let mut hash = blake3::Hasher::new();
        hash.update(&row);
        hashes.push(*hash.finalize().as_bytes());
    }
}
