//! Rules of a generation as people write them: a TOML file, read into a [`ringtail_analytics::RuleSet`].
//!
//! Place in the flow: the edge of reprocessing, between a file and the rule set that travels in a partition's log. It
//! deliberately knows no time zones and no goal ids: whoever reads a file looks those up, once, so that the rule set
//! needs no lookup any more.

mod document;
mod error;
mod rule_file;
mod texts;

pub use error::RuleFileError;
pub use rule_file::RuleFile;
