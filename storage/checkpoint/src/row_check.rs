//! What every row that replaces others has to be.

use bytes::Bytes;

use crate::{GROUP_NAME_BYTES_MAX, GroupKey, RawRow, StoreError, VALUE_BYTES_MAX};

/// Checks rows that come one after the other.
#[derive(Debug, Default)]
pub(crate) struct RowCheck {
    last: Option<Bytes>,
}

impl RowCheck {
    /// Refuses keys that no row has, keys that do not ascend, and what is over a limit.
    pub(crate) fn check(&mut self, rows: &[RawRow]) -> Result<(), StoreError> {
        for (key, value) in rows {
            if let GroupKey::Group(name) = decode(key)? {
                check_size(name.len(), GROUP_NAME_BYTES_MAX as u64)?;
            }
            check_size(value.len(), VALUE_BYTES_MAX)?;
            if self.last.as_ref().is_some_and(|last| last >= key) {
                return Err(bad_row(format!(
                    "key {key:?} does not come after {:?}",
                    self.last.as_deref().unwrap_or_default()
                )));
            }
            self.last = Some(key.clone());
        }
        Ok(())
    }
}

fn decode(key: &Bytes) -> Result<GroupKey, StoreError> {
    GroupKey::decode(key).map_err(|error| bad_row(error.to_string()))
}

const fn bad_row(message: String) -> StoreError {
    StoreError::BadRow { message }
}

const fn check_size(bytes: usize, bytes_max: u64) -> Result<(), StoreError> {
    let bytes = bytes as u64;
    match bytes > bytes_max {
        true => Err(StoreError::TooLarge { bytes, bytes_max }),
        false => Ok(()),
    }
}
