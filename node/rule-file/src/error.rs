//! What can be wrong with a rule file.

use ringtail_analytics::RuleSetError;

/// What can be wrong with a rule file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleFileError {
    /// Longer than a rule file can be.
    #[error("the rule file has {found} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its length in bytes.
        found: usize,
        /// The most that it may have.
        max: usize,
    },
    /// Not TOML, a key that there is not, or a value of another kind.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// An entry that contradicts itself or says nothing.
    #[error("{at}: {message}")]
    Entry {
        /// The way to the entry, like `pages[2]`, counted from 0.
        at: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// A rule that is over a limit or does not compile.
    #[error(transparent)]
    Rule(#[from] RuleSetError),
    /// A time zone that there is not.
    #[error("settings.timezone: {message}")]
    Zone {
        /// What the time zones' keeper says.
        message: String,
    },
}
