//! One look at a site for all who watch it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use ringtail_proto::SiteId;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::RealtimeCount;
use crate::api_error::ApiError;

/// How often a site that is watched is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks at a site.
pub(super) type Look =
    Arc<dyn Fn(SiteId) -> BoxFuture<'static, Result<RealtimeCount, ApiError>> + Send + Sync>;

type Sender = watch::Sender<Option<RealtimeCount>>;

/// The sites that somebody watches, each with a task that looks at it.
#[derive(Clone)]
pub(super) struct Looks {
    look: Look,
    sites: Arc<Mutex<HashMap<SiteId, Arc<Sender>>>>,
}

impl Looks {
    pub(super) fn new(look: Look) -> Self {
        Self {
            look,
            sites: Arc::default(),
        }
    }

    /// Begins to watch a site; must be called within a runtime.
    pub(super) fn watch(&self, site: SiteId) -> Watched {
        let mut sites = self.sites.lock();
        if let Some(sender) = sites.get(&site) {
            let mut receiver = sender.subscribe();
            receiver.mark_changed();
            return Watched(receiver);
        }
        let sender = Arc::new(Sender::new(None));
        let receiver = sender.subscribe();
        sites.insert(site, Arc::clone(&sender));
        tokio::spawn(self.clone().keep_looking(site, sender));
        Watched(receiver)
    }

    /// Until nobody watches any more, or there is nothing to show.
    async fn keep_looking(self, site: SiteId, sender: Arc<Sender>) {
        let _entry = Entry {
            looks: &self,
            site,
            sender: &sender,
        };
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.is_abandoned(site, &sender) {
                return;
            }
            let last = *sender.borrow();
            let count = match ((self.look)(site).await, last) {
                (Ok(count), _) => count,
                // Nobody answers: what was known goes on to be shown, as what it is.
                (Err(error), Some(last)) if error.may_be_answered_elsewhere() => RealtimeCount {
                    is_fresh: false,
                    ..last
                },
                (Err(error), _) => {
                    tracing::debug!(%site, %error, "streams of current visitors end");
                    return;
                }
            };
            sender.send_replace(Some(count));
        }
    }

    /// Under the lock, so that whoever comes just now finds the task at work or begins another.
    fn is_abandoned(&self, site: SiteId, sender: &Sender) -> bool {
        let mut sites = self.sites.lock();
        let is_abandoned = sender.receiver_count() == 0;
        if is_abandoned {
            sites.remove(&site);
        }
        is_abandoned
    }
}

/// A site's place among those that are watched. It goes with the task, however that ends: nobody else would find the
/// streams that come later without anybody who looks.
struct Entry<'a> {
    looks: &'a Looks,
    site: SiteId,
    sender: &'a Arc<Sender>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut sites = self.looks.sites.lock();
        // Another task may look at the site by now.
        if sites
            .get(&self.site)
            .is_some_and(|known| Arc::ptr_eq(known, self.sender))
        {
            sites.remove(&self.site);
        }
    }
}

/// One who watches a site.
pub(super) struct Watched(watch::Receiver<Option<RealtimeCount>>);

impl Watched {
    /// The next look, the last one if it was not seen yet; none at the end.
    pub(super) async fn next(&mut self) -> Option<RealtimeCount> {
        loop {
            self.0.changed().await.ok()?;
            if let Some(count) = self.current() {
                return Some(count);
            }
        }
    }

    /// The last look.
    pub(super) fn current(&mut self) -> Option<RealtimeCount> {
        *self.0.borrow_and_update()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use futures::FutureExt as _;
    use ringtail_proto::{ErrorKind, UnixMillis};

    use super::*;

    /// Counts the looks; fails when told to.
    #[derive(Default)]
    struct Site {
        looks: AtomicU64,
        is_away: AtomicBool,
    }

    fn looks(seen: &Arc<Site>) -> Looks {
        let seen = Arc::clone(seen);
        Looks::new(Arc::new(move |_site| {
            let visitors = seen.looks.fetch_add(1, Ordering::Relaxed) + 1;
            let answer = match seen.is_away.load(Ordering::Relaxed) {
                true => Err(ApiError::new(ErrorKind::Unavailable, "away")),
                false => Ok(RealtimeCount {
                    visitors,
                    as_of: UnixMillis(0),
                    is_fresh: true,
                }),
            };
            async move { answer }.boxed()
        }))
    }

    #[tokio::test]
    async fn all_who_watch_a_site_share_one_look_and_the_last_one_ends_it() {
        let seen = Arc::new(Site::default());
        let looks = looks(&seen);
        let mut watching: Vec<Watched> = (0..100).map(|_| looks.watch(SiteId(1))).collect();
        for watched in &mut watching {
            assert!(watched.next().await.is_some());
        }
        // One look each would be a hundred.
        let looked = seen.looks.load(Ordering::Relaxed);
        assert!((1..50).contains(&looked), "{looked} looks");
        // Who comes later sees at once what is known.
        let mut late = looks.watch(SiteId(1));
        let known = late.next().await.map(|count| count.visitors);
        assert!(known >= Some(looked), "{known:?}");
        drop((watching, late));
        while !looks.sites.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let looked = seen.looks.load(Ordering::Relaxed);
        let mut again = looks.watch(SiteId(1));
        let next = again.next().await.map(|count| count.visitors);
        assert!(next > Some(looked), "{next:?}");
    }

    #[tokio::test]
    async fn a_look_that_panics_ends_its_streams_and_no_later_ones() {
        let is_broken = Arc::new(AtomicBool::new(true));
        let looks = {
            let is_broken = Arc::clone(&is_broken);
            Looks::new(Arc::new(move |_site| {
                assert!(!is_broken.load(Ordering::Relaxed), "a fault of a look");
                let count = RealtimeCount {
                    visitors: 1,
                    as_of: UnixMillis(0),
                    is_fresh: true,
                };
                async move { Ok(count) }.boxed()
            }))
        };
        assert_eq!(looks.watch(SiteId(1)).next().await, None);
        is_broken.store(false, Ordering::Relaxed);
        assert!(looks.watch(SiteId(1)).next().await.is_some());
    }

    #[tokio::test]
    async fn what_nobody_can_renew_is_shown_as_old_and_the_unknown_ends() {
        let seen = Arc::new(Site::default());
        let looks = looks(&seen);
        let mut watched = looks.watch(SiteId(1));
        let known = watched.next().await.expect("a count");
        assert!(known.is_fresh);
        seen.is_away.store(true, Ordering::Relaxed);
        let old = loop {
            let count = watched.next().await.expect("what was known");
            if !count.is_fresh {
                break count;
            }
        };
        assert!(old.visitors >= known.visitors);
        assert_eq!(looks.watch(SiteId(2)).next().await, None);
        seen.is_away.store(false, Ordering::Relaxed);
        while !watched.next().await.expect("it goes on").is_fresh {}
    }
}
