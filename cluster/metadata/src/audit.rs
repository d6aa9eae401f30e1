//! Who changed what, when and why.

use ringtail_proto::{LogIndex, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::MetadataError;

/// One command in the audit log, carried out or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its place in the log of group 0.
    pub index: LogIndex,
    /// When; never before the record in front of it.
    pub at: UnixMillis,
    /// Who asked for it.
    pub who: String,
    /// The reason given, or empty.
    pub why: String,
    /// What it was, in words; secrets and random keys are left out.
    pub what: String,
    /// Why it was refused; none when it was carried out.
    pub refused: Option<MetadataError>,
}
