//! Pages that rest in the mirror alone, read back through a cache.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use moka::sync::Cache;
use ringtail_checkpoint::{Elsewhere, GroupKey, Stub, cassandra::Mirror};
use ringtail_proto::{GroupId, HourStart, LogIndex, RowReadError, SiteGeneration, SiteId, SiteRow};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

/// Pages that are asked for at once.
const AT_ONCE: usize = 16;
/// Nobody waits longer for pages that are asked for together: less than a report may take, so that it says why it failed.
const WAIT_MAX: Duration = Duration::from_secs(8);
/// Callers that wait at once. Each holds a thread, of which checkpoints need some, too.
const WAITING_MAX: usize = 64;

/// Tells in which group a site is.
pub type GroupOf = Arc<dyn Fn(SiteId) -> GroupId + Send + Sync>;

/// Reads pages back from the mirror, and keeps those that were read lately.
pub struct MirroredPages {
    mirror: Mirror,
    group_of: GroupOf,
    runtime: Handle,
    room: Arc<Semaphore>,
    /// By what stubs say, so that nothing in it is ever out of date.
    cache: Cache<(SiteGeneration, SiteRow, Stub), Bytes>,
}

impl MirroredPages {
    /// With a cache of so many bytes; requests run on `runtime`.
    #[must_use]
    pub fn new(mirror: Mirror, group_of: GroupOf, runtime: Handle, cache_bytes_max: u64) -> Self {
        /// What an entry takes beside its page.
        const ENTRY_BYTES: u32 = 150;
        let weigh = |_: &_, page: &Bytes| {
            let bytes = u32::try_from(page.len()).unwrap_or(u32::MAX);
            bytes.saturating_add(ENTRY_BYTES)
        };
        Self {
            mirror,
            group_of,
            runtime,
            room: Arc::new(Semaphore::new(WAITING_MAX)),
            cache: Cache::builder()
                .max_capacity(cache_bytes_max)
                .weigher(weigh)
                .build(),
        }
    }

    /// Asks the mirror. The caller's thread waits; it may be one of the runtime's for blocking work, or any other.
    fn ask(
        &self,
        site: SiteGeneration,
        wanted: Vec<(SiteRow, Stub)>,
    ) -> Result<Vec<Bytes>, String> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.map_err(|_| format!("{WAITING_MAX} reports wait for it already"))?;
        let (group, mirror) = ((self.group_of)(site.site), self.mirror.clone());
        let (sender, receiver) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let pages = stream::iter(wanted)
                .map(|(row, stub)| page(mirror.clone(), group, site, row, stub))
                .buffered(AT_ONCE)
                .try_collect();
            let late = || format!("no answer within {} s", WAIT_MAX.as_secs());
            let pages = timeout(WAIT_MAX, pages).await;
            drop(room);
            // The caller waits for as long as this runs.
            let _ = sender.send(pages.unwrap_or_else(|_| Err(late())));
        });
        let answer = receiver.recv();
        answer.map_err(|_| "the node stops".to_owned())?
    }
}

impl Elsewhere for MirroredPages {
    fn fetch(
        &self,
        site: SiteGeneration,
        pages: &[(SiteRow, Stub)],
    ) -> Result<Vec<Bytes>, RowReadError> {
        let key = |(row, stub): &(SiteRow, Stub)| (site, *row, *stub);
        let known: Vec<Option<Bytes>> = pages
            .iter()
            .map(|page| self.cache.get(&key(page)))
            .collect();
        let unknown = pages
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none());
        let unknown: Vec<(SiteRow, Stub)> = unknown.map(|(page, _)| *page).collect();
        let hits = pages.len() - unknown.len();
        metrics::counter!("ringtail_mirror_cache_hits_total").increment(hits as u64);
        metrics::counter!("ringtail_mirror_cache_misses_total").increment(unknown.len() as u64);
        if unknown.is_empty() {
            return Ok(known.into_iter().flatten().collect());
        }
        let asked = self.ask(site, unknown.clone());
        let asked = asked.map_err(|error| away(&unknown, &error))?;
        for (page, value) in unknown.iter().zip(&asked) {
            self.cache.insert(key(page), value.clone());
        }
        let mut asked = asked.into_iter();
        let all = known
            .into_iter()
            .map(|known| known.or_else(|| asked.next()));
        Ok(all.flatten().collect())
    }
}

/// One page, which is what the stub says.
async fn page(
    mirror: Mirror,
    group: GroupId,
    site: SiteGeneration,
    row: SiteRow,
    stub: Stub,
) -> Result<Bytes, String> {
    let (key, reader) = (GroupKey::Site(site, row), mirror.reader());
    let newest = reader.read_row(group, &key, LogIndex(u64::MAX)).await;
    let newest = newest.map_err(|error| error.to_string())?;
    if let Some(page) = newest.filter(|page| stub.is_of(page)) {
        return Ok(page);
    }
    // The newest may be of a write under way, or of one that broke off.
    let pin = reader.pin(group, site).await;
    let pinned = match pin.map_err(|error| error.to_string())? {
        Some(pin) => reader.read_pinned(&pin, row).await,
        None => Ok(None),
    };
    let pinned = pinned.map_err(|error| error.to_string())?;
    // A replica that lags has a stub of the page as it was; it will soon have the page as it is.
    let fitting = pinned.filter(|page| stub.is_of(page));
    fitting.ok_or_else(|| "the mirror has another version of them".to_owned())
}

fn away(pages: &[(SiteRow, Stub)], error: &str) -> RowReadError {
    let hours = pages.iter().filter_map(|(row, _)| match row {
        SiteRow::Page(hour) => Some(*hour),
        _ => None,
    });
    let (first, last) = hours.fold((None, None), |(first, last), hour: HourStart| {
        let first = first.map_or(hour, |first: HourStart| first.min(hour));
        let last = last.map_or(hour, |last: HourStart| last.max(hour));
        (Some(first), Some(last))
    });
    let days = match (first.map(day), last.map(day)) {
        (Some(first), Some(last)) if first == last => first,
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "some days".to_owned(),
    };
    RowReadError {
        message: format!("pages of {days} rest in the mirror, which does not give them: {error}"),
    }
}

/// The UTC day of an hour.
fn day(hour: HourStart) -> String {
    let at = jiff::Timestamp::from_millisecond(hour.0).unwrap_or_default();
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use ringtail_checkpoint::cassandra::CassandraOptions;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn only_so_many_wait_and_an_error_says_what_for() {
        let (runtime, options) = (Handle::current(), CassandraOptions::default());
        let mirror = Mirror::start(options, uuid::Uuid::nil(), &runtime);
        let group_of: GroupOf = Arc::new(|_| GroupId(1));
        let pages = Arc::new(MirroredPages::new(mirror, group_of, runtime, 1_000));
        let read = || {
            let pages = Arc::clone(&pages);
            let wanted = [(SiteRow::Page(HourStart(0)), Stub::of(b"page"))];
            let site = SiteGeneration::first(SiteId(1));
            let read = ringtail_raft::spawn_blocking(move || pages.fetch(site, &wanted));
            async move { read.await.expect("no panic").map_err(|error| error.message) }
        };
        let taken = Arc::clone(&pages.room).acquire_many_owned(WAITING_MAX as u32);
        let taken = taken.await.expect("never closed");
        let refused = read().await.expect_err("there is no room");
        assert!(refused.contains("64 reports wait"), "{refused}");
        drop(taken);
        let away = read().await.expect_err("there is no server");
        assert!(!away.contains("reports wait"), "{away}");
        assert_eq!(pages.room.available_permits(), WAITING_MAX);
    }

    #[test]
    fn an_error_names_the_days() {
        let check = |hours: &[i64], expect: &str| {
            let stub = Stub::of(b"page");
            let page = |hour: &i64| (SiteRow::Page(HourStart(*hour)), stub);
            let pages: Vec<_> = hours.iter().map(page).collect();
            let said = away(&pages, "it is away").message;
            assert!(said.starts_with(expect), "{said}");
        };
        let noon = 1_793_793_600_000;
        check(&[noon], "pages of 2026-11-04 rest");
        check(&[noon, noon + 3_600_000], "pages of 2026-11-04 rest");
        check(
            &[noon + 86_400_000, noon],
            "pages of 2026-11-04 to 2026-11-05 rest",
        );
    }
}
