//! Connections that have not said yet who they are.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

/// Handshakes at once of one address, and of all. Whoever only connects and stays silent loses its place to whoever comes
/// later: an honest handshake takes milliseconds, so that silence never keeps a node of the ring out.
const OF_ADDRESS_MAX: usize = 32;
const OF_ALL_MAX: usize = 256;

/// The handshakes under way, the oldest first.
#[derive(Default)]
pub(crate) struct Handshakes {
    under_way: Mutex<VecDeque<Handshake>>,
    last: AtomicU64,
}

struct Handshake {
    number: u64,
    from: IpAddr,
    task: AbortHandle,
}

/// A place among the handshakes; it is free again once this is dropped.
pub(crate) struct Place {
    number: u64,
    handshakes: Arc<Handshakes>,
}

impl Handshakes {
    /// A place for one more.
    pub(crate) fn place(self: &Arc<Self>) -> Place {
        Place {
            number: self.last.fetch_add(1, Ordering::Relaxed),
            handshakes: Arc::clone(self),
        }
    }

    /// Notes who does the handshake of a place; the oldest one gives way when there are too many. One that has ended
    /// already is not noted.
    pub(crate) fn begin(&self, number: u64, from: IpAddr, task: AbortHandle) {
        let mut under_way = self.under_way.lock();
        under_way.retain(|handshake| !handshake.task.is_finished());
        under_way.push_back(Handshake { number, from, task });
        let of_address = under_way.iter().filter(|other| other.from == from);
        let oldest = if of_address.count() > OF_ADDRESS_MAX {
            under_way.iter().position(|other| other.from == from)
        } else if under_way.len() > OF_ALL_MAX {
            Some(0)
        } else {
            None
        };
        if let Some(given_up) = oldest.and_then(|oldest| under_way.remove(oldest)) {
            given_up.task.abort();
            metrics::counter!("ringtail_replicate_handshakes_given_up_total").increment(1);
        }
    }
}

impl Place {
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.handshakes.under_way.lock();
        under_way.retain(|handshake| handshake.number != self.number);
    }
}
