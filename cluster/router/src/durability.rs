//! What a submission of events is answered with.

use ringtail_proto::Verdict;

/// What keeps events from being lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A quorum of the group holds them on disk.
    Quorum,
    /// This node holds them on disk, and one other if any was within reach; they go to their group once it has a
    /// leader again.
    Spooled,
}

/// What became of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A verdict for each, in order. An event that had to be sent a second time may be called a duplicate of itself.
    Verdicts(Vec<Verdict>),
    /// They are durable and will be counted once, but what apply says of each is not known to this node.
    Pending,
}

impl Applied {
    /// The verdicts, if they are known.
    #[must_use]
    pub fn verdicts(self) -> Option<Vec<Verdict>> {
        match self {
            Self::Verdicts(verdicts) => Some(verdicts),
            Self::Pending => None,
        }
    }
}
