//! The paths of objects: what an object holds shows without reading it, and query engines find partitions in it.

use std::fmt;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use ringtail_proto::{GroupId, LogIndex, UnixMillis};

use crate::table::Table;

/// `v1/table=events/group=7/received=2026-11-22/<first index>-<last index>-<term>-<hash>.parquet`, below the archive's
/// prefix.
///
/// The first 16 hexadecimal digits of the BLAKE3 hash make two objects of the same range two paths: nothing is ever
/// written over something else. The term says which leader prepared it: once a later leader's entries are applied, an
/// object of an earlier term that the manifest does not name never will be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath {
    /// The table.
    pub table: Table,
    /// The group whose log the rows come from.
    pub group: GroupId,
    /// UTC date of the stamps of the entries.
    pub received: Date,
    /// Lowest log index of a row.
    pub first: LogIndex,
    /// Highest log index of a row.
    pub last: LogIndex,
    /// The term of the leader that prepared it.
    pub term: u64,
    /// The first bytes of the hash.
    pub hash: [u8; 8],
}

impl ObjectPath {
    /// Reads what `Display` writes; none when it is not such a path.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/');
        let version = parts.next()?;
        let table = Table::from_name(parts.next()?.strip_prefix("table=")?)?;
        let group = parts.next()?.strip_prefix("group=")?.parse().ok()?;
        let received = parts.next()?.strip_prefix("received=")?.parse().ok()?;
        let mut name = parts.next()?.strip_suffix(".parquet")?.split('-');
        let first = name.next()?.parse().ok()?;
        let last = name.next()?.parse().ok()?;
        let term = name.next()?.parse().ok()?;
        let mut hash = [0; 8];
        hex::decode_to_slice(name.next()?, &mut hash).ok()?;
        let found = Self {
            table,
            group: GroupId(group),
            received,
            first: LogIndex(first),
            last: LogIndex(last),
            term,
            hash,
        };
        // Only one spelling is ours.
        let is_ours = version == "v1" && found.to_string() == path;
        is_ours.then_some(found)
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "v1/table={}/group={}/received={}/{:020}-{:020}-{}-{}.parquet",
            self.table,
            self.group,
            self.received,
            self.first.0,
            self.last.0,
            self.term,
            hex::encode(self.hash)
        )
    }
}

/// The UTC date of a stamp; the ends of what a calendar knows stand for what lies beyond.
#[must_use]
pub fn received_date(stamp: UnixMillis) -> Date {
    let instant = Timestamp::from_millisecond(stamp.0).unwrap_or(match stamp.0 {
        ..0 => Timestamp::MIN,
        _ => Timestamp::MAX,
    });
    instant.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_back_as_what_it_names() {
        let path = ObjectPath {
            table: Table::Events,
            group: GroupId(7),
            received: received_date(UnixMillis(1_795_000_000_000)),
            first: LogIndex(12),
            last: LogIndex(u64::MAX),
            term: 5,
            hash: [0, 1, 2, 3, 252, 253, 254, 255],
        };
        let text = path.to_string();
        assert_eq!(
            text,
            "v1/table=events/group=7/received=2026-11-18/\
             00000000000000000012-18446744073709551615-5-00010203fcfdfeff.parquet"
        );
        assert_eq!(ObjectPath::parse(&text), Some(path));
    }

    #[test]
    fn foreign_names_are_no_paths() {
        let good = "v1/table=events/group=7/received=2026-11-18/\
                    00000000000000000012-00000000000000000013-5-00010203fcfdfeff.parquet";
        assert!(ObjectPath::parse(good).is_some());
        for (from, to) in [
            ("v1", "v2"),
            ("events", "happenings"),
            ("group=7", "group=07"),
            ("-18/", "-99/"),
            ("000012", "12"),
            ("fcfdfeff", "FCFDFEFF"),
            ("-5-", "-05-"),
            ("-5-", "-"),
            (".parquet", ".parquet#1"),
        ] {
            assert_eq!(ObjectPath::parse(&good.replacen(from, to, 1)), None, "{to}");
        }
    }
}
