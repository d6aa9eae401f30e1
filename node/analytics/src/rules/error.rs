//! What can be wrong with a rule set.

/// What can be wrong with a rule set; `at` is the way to the rule, like `channels[2].source[0]`, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleSetError {
    /// More entries than allowed.
    #[error("{at} has {found} entries, at most {max} are allowed")]
    TooMany {
        /// The list.
        at: String,
        /// Its length.
        found: usize,
        /// The most that it may have.
        max: usize,
    },
    /// A text without a single sign that needs one.
    #[error("{at} is empty")]
    Empty {
        /// The text.
        at: String,
    },
    /// A text longer than allowed.
    #[error("{at} has {found} bytes, at most {max} are allowed")]
    TooLong {
        /// The text.
        at: String,
        /// Its length in bytes.
        found: usize,
        /// The most that it may have.
        max: usize,
    },
    /// A pattern that cannot be used.
    #[error("{at}: {message}")]
    Pattern {
        /// The pattern.
        at: String,
        /// Why.
        message: String,
    },
    /// A value outside its limits.
    #[error("{at} is {found}, allowed is {allowed}")]
    OutOfRange {
        /// The value's place.
        at: String,
        /// The value.
        found: String,
        /// What would be allowed.
        allowed: String,
    },
    /// The encoded rule set is too large.
    #[error("the rule set takes {found} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its encoded size in bytes.
        found: usize,
        /// The most that it may take.
        max: usize,
    },
    /// Written by a newer binary.
    #[error("the rule set has version {found}, this binary knows up to {known}")]
    Newer {
        /// The version found.
        found: u8,
        /// The newest version known.
        known: u8,
    },
    /// Not the encoding of a rule set.
    #[error("the rule set cannot be decoded: {message}")]
    Malformed {
        /// What was found.
        message: String,
    },
}

/// Refuses a list that is too long.
pub(super) fn list_fits(at: &str, found: usize, max: usize) -> Result<(), RuleSetError> {
    match found > max {
        true => Err(RuleSetError::TooMany {
            at: at.to_owned(),
            found,
            max,
        }),
        false => Ok(()),
    }
}

/// Refuses an empty text and one that is too long.
pub(super) fn text_fits(at: &str, text: &str, max: usize) -> Result<(), RuleSetError> {
    if text.is_empty() {
        return Err(RuleSetError::Empty { at: at.to_owned() });
    }
    match text.len() > max {
        true => Err(RuleSetError::TooLong {
            at: at.to_owned(),
            found: text.len(),
            max,
        }),
        false => Ok(()),
    }
}
