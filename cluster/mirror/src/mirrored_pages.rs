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
use tokio::runtime::Handle;

/// Pages that are asked for at once.
const AT_ONCE: usize = 16;
/// Nobody waits longer for pages that are asked for together.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Tells in which group a site is.
pub type GroupOf = Arc<dyn Fn(SiteId) -> GroupId + Send + Sync>;

/// Reads pages back from the mirror, and keeps those that were read lately.
pub struct MirroredPages {
    mirror: Mirror,
    group_of: GroupOf,
    runtime: Handle,
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
        let (group, mirror) = ((self.group_of)(site.site), self.mirror.clone());
        let (sender, receiver) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let pages = stream::iter(wanted)
                .map(|(row, stub)| page(mirror.clone(), group, site, row, stub))
                .buffered(AT_ONCE)
                .try_collect();
            // Nobody waits any more when it has taken too long.
            let _ = sender.send(pages.await);
        });
        let answer = receiver.recv_timeout(WAIT_MAX);
        answer.map_err(|_| format!("no answer within {} s", WAIT_MAX.as_secs()))?
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
    let key = GroupKey::Site(site, row);
    let reader = mirror.reader();
    let read = reader.read_row(group, &key, LogIndex(u64::MAX)).await;
    let found = read.map_err(|error| error.to_string())?;
    match found.filter(|page| stub.is_of(page)) {
        Some(page) => Ok(page),
        // A replica that lags has a stub of the page as it was; it will soon have the page as it is.
        None => Err("the mirror has another version of them".to_owned()),
    }
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
    use super::*;

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
