//! Feeds of other nodes between two pages.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use ringtail_history::EventPosition;
use tokio::time::{Instant, sleep};

use super::pieces::{Pieces, Wanted};

/// Feeds that are kept; the next page of another one is read from the beginning of what holds it.
const PARKED_MAX: usize = 256;
/// Whoever does not come back by then has gone, or does not take what comes.
const PARKED_AGE_MAX: Duration = Duration::from_secs(10);
/// How often that is looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the next page is asked by.
type Place = (Wanted, EventPosition);

/// Feeds between two pages: whoever asks for what comes behind the last one goes on where it ended, without reading the
/// same object of the archive again. Nothing is lost when it is not here.
#[derive(Default)]
pub(super) struct Parked {
    parked: Mutex<Feeds>,
}

#[derive(Default)]
struct Feeds {
    feeds: BTreeMap<Place, (Instant, Pieces)>,
    is_looked_after: bool,
}

impl Parked {
    /// The feed that ended here.
    pub(super) fn take(&self, place: Place) -> Option<Pieces> {
        let found = self.parked.lock().feeds.remove(&place);
        found.map(|(_, pieces)| pieces)
    }

    /// Keeps a feed for a while. Must be called within a tokio runtime.
    pub(super) fn put(self: &Arc<Self>, place: Place, pieces: Pieces) {
        let mut parked = self.parked.lock();
        if parked.feeds.len() >= PARKED_MAX {
            return;
        }
        parked.feeds.insert(place, (Instant::now(), pieces));
        if !parked.is_looked_after {
            parked.is_looked_after = true;
            tokio::spawn(Arc::clone(self).look_after());
        }
    }

    /// Gives up what is old, as long as there is anything.
    async fn look_after(self: Arc<Self>) {
        loop {
            sleep(LOOK_INTERVAL).await;
            let mut parked = self.parked.lock();
            let is_young = |since: &Instant| since.elapsed() < PARKED_AGE_MAX;
            parked.feeds.retain(|_, (since, _)| is_young(since));
            if parked.feeds.is_empty() {
                parked.is_looked_after = false;
                return;
            }
        }
    }
}
