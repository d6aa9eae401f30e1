//! A rule set as bytes: a version, then postcard.

use super::{RuleSet, RuleSetError};

const VERSION: u8 = 1;

impl RuleSet {
    /// The bytes of a rule set that is within its limits and compiles.
    ///
    /// # Errors
    /// When it does not, or takes more than [`Self::ENCODED_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, RuleSetError> {
        self.check()?;
        let bytes = postcard::to_extend(self, vec![VERSION]).map_err(malformed)?;
        size_fits(bytes.len())?;
        Ok(bytes)
    }

    /// Reads what [`Self::encode`] wrote. The rules themselves are looked at by [`super::Rules::of`].
    ///
    /// # Errors
    /// When the bytes are too many, of a newer version, or no rule set.
    pub fn decode(bytes: &[u8]) -> Result<Self, RuleSetError> {
        size_fits(bytes.len())?;
        match bytes.split_first() {
            None => Err(RuleSetError::Malformed {
                message: "it is empty".to_owned(),
            }),
            Some((&VERSION, body)) => {
                let (rules, rest) = postcard::take_from_bytes(body).map_err(malformed)?;
                match rest.is_empty() {
                    true => Ok(rules),
                    false => Err(RuleSetError::Malformed {
                        message: format!("{} bytes follow it", rest.len()),
                    }),
                }
            }
            Some((0, _)) => Err(RuleSetError::Malformed {
                message: "its version is 0".to_owned(),
            }),
            Some((found, _)) => Err(RuleSetError::Newer {
                found: *found,
                known: VERSION,
            }),
        }
    }
}

fn size_fits(found: usize) -> Result<(), RuleSetError> {
    match found > RuleSet::ENCODED_BYTES_MAX {
        true => Err(RuleSetError::TooLarge {
            found,
            max: RuleSet::ENCODED_BYTES_MAX,
        }),
        false => Ok(()),
    }
}

fn malformed(error: postcard::Error) -> RuleSetError {
    RuleSetError::Malformed {
        message: error.to_string(),
    }
}
