//! Sites are read where their replicas are: here, or at a node that holds one.
//!
//! A replica answers when it is in touch with its group and includes what the caller has seen before. Another one is
//! asked over one hop; when none is in touch, one that is not may answer, and the answer says so.

mod local;
mod peers;
mod service;
mod turns;

use std::time::Duration;

pub(crate) use local::LocalReplicas;
pub(crate) use peers::PeerReplicas;
pub(crate) use service::QueriesService;
pub(crate) use turns::NoAnswer;

use ringtail_proto::{LogIndex, wire::peer};
use ringtail_query::{Seen, Standing};

use crate::ViewAt;

/// How long the nodes that hold a site may take together for what is read at a glance: anything but a report.
pub(crate) const GLANCE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Which replicas may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// One that knows it was not left behind.
    InTouch,
    /// Any that includes what was seen.
    Any,
}

/// What a replica may do to answer somebody who has seen late events in the numbers that it has not merged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merging {
    /// Nothing: another replica may have merged them.
    Never,
    /// It checkpoints the site.
    IfNeeded,
}

/// A view, and whether its replica is in touch with its group.
pub(crate) struct Reading {
    pub(crate) at: ViewAt,
    pub(crate) is_fresh: bool,
}

impl Reading {
    /// Where the replica stands.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            index: self.at.index,
            stamp: self.at.stamp,
            is_fresh: self.is_fresh,
        }
    }
}

/// What was seen, for another node.
pub(crate) fn to_wire(seen: Seen) -> peer::Seen {
    peer::Seen {
        index: seen.index.0,
        complete: seen.complete.0,
    }
}

fn from_wire(seen: Option<peer::Seen>) -> Seen {
    let seen = seen.unwrap_or_default();
    Seen {
        index: LogIndex(seen.index),
        complete: LogIndex(seen.complete),
    }
}
