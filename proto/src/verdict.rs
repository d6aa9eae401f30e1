//! What apply decided about one event.

use crate::DropReason;

/// What apply decided about one event; the reply of a partition holds one code for each event of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Counted, visible in the next query.
    Accepted,
    /// Counted; merged into hours already folded at the next checkpoint.
    Late,
    /// Its id was counted before.
    Duplicate,
    /// Not counted.
    Dropped(DropReason),
}

impl Verdict {
    const ACCEPTED: u8 = 0;
    const LATE: u8 = 1;
    const DUPLICATE: u8 = 2;
    const DROPPED: u8 = 16;

    /// The byte that stands for this verdict in replies.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Accepted => Self::ACCEPTED,
            Self::Late => Self::LATE,
            Self::Duplicate => Self::DUPLICATE,
            Self::Dropped(reason) => Self::DROPPED + reason.code(),
        }
    }

    /// The verdict with this code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            Self::ACCEPTED => Some(Self::Accepted),
            Self::LATE => Some(Self::Late),
            Self::DUPLICATE => Some(Self::Duplicate),
            Self::DROPPED.. => match DropReason::from_code(code - Self::DROPPED) {
                Some(reason) => Some(Self::Dropped(reason)),
                None => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_survives_its_code() {
        let all = [Verdict::Accepted, Verdict::Late, Verdict::Duplicate]
            .into_iter()
            .chain(
                DropReason::ALL
                    .iter()
                    .map(|reason| Verdict::Dropped(*reason)),
            );
        for verdict in all {
            assert_eq!(Verdict::from_code(verdict.code()), Some(verdict));
        }
        assert_eq!(Verdict::from_code(3), None);
        assert_eq!(Verdict::from_code(255), None);
    }
}
