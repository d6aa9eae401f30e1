//! The versions under which rows are mirrored: first the term, then the index.
//!
//! Rows of one site at one index differ between replicas in how they are laid out (which chains are in which hot row).
//! A leader therefore begins with a layout of its own, and since its term is the higher one nothing that an earlier leader
//! still sends can get in between.

use ringtail_proto::LogIndex;

use crate::MirroringError;

/// Bits of an index: 10,000 entries a second for 6 years.
const INDEX_BITS: u32 = 41;
const INDEX_MAX: u64 = (1 << INDEX_BITS) - 1;
/// What is left of a positive number of CQL.
const TERM_MAX: u64 = (1 << (63 - INDEX_BITS)) - 1;

/// The version of what a leader writes in a term of a site at an index.
///
/// # Errors
/// [`MirroringError::NoVersion`] when they do not fit: four million terms, two billion thousands of entries.
pub const fn version(term: u64, index: LogIndex) -> Result<LogIndex, MirroringError> {
    if term > TERM_MAX || index.0 > INDEX_MAX {
        return Err(MirroringError::NoVersion { term, index });
    }
    Ok(LogIndex(term << INDEX_BITS | index.0))
}

/// The index of a version.
#[must_use]
pub const fn index_of(version: LogIndex) -> LogIndex {
    LogIndex(version.0 & INDEX_MAX)
}

/// The term of a version.
#[must_use]
pub const fn term_of(version: LogIndex) -> u64 {
    version.0 >> INDEX_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_term_is_above_every_index_of_an_earlier_one() {
        let of = |term, index| version(term, LogIndex(index)).expect("it fits");
        assert!(of(2, 1) > of(1, INDEX_MAX));
        assert!(of(2, 7) > of(2, 6));
        assert_eq!(index_of(of(9, 1234)), LogIndex(1234));
        assert_eq!(term_of(of(9, 1234)), 9);
        assert!(i64::try_from(of(TERM_MAX, INDEX_MAX).0).is_ok());
        assert!(version(TERM_MAX + 1, LogIndex(1)).is_err());
        assert!(version(1, LogIndex(INDEX_MAX + 1)).is_err());
    }
}
