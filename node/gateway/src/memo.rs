//! What one worker remembers between events, so that equal strings are parsed once and share one allocation.

use std::{net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use ringtail_proto::{Acquisition, Client, Place, Text};

use crate::{SiteRules, agents::Agent, page::Page};

/// A direct-mapped table: an entry lives until another one needs its slot, so memory is bounded by construction.
pub(crate) struct Table<V> {
    slots: Box<[Option<(u64, V)>]>,
}

impl<V> Table<V> {
    fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| None).collect(),
        }
    }

    /// The value under this hash, if `is_same` recognises it.
    pub(crate) fn get(&self, hash: u64, is_same: impl FnOnce(&V) -> bool) -> Option<&V> {
        match self.slots.get(self.slot(hash))? {
            Some((known, value)) if *known == hash && is_same(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn put(&mut self, hash: u64, value: V) {
        let slot = self.slot(hash);
        if let Some(entry) = self.slots.get_mut(slot) {
            *entry = Some((hash, value));
        }
    }

    fn slot(&self, hash: u64) -> usize {
        (hash % self.slots.len() as u64) as usize
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }
}

/// An agent in its screen and language.
pub(crate) struct KnownClient {
    pub(crate) user_agent: Text,
    pub(crate) language: Text,
    pub(crate) screen: &'static str,
    pub(crate) agent: Arc<Agent>,
    pub(crate) client: Arc<Client>,
}

/// A parsed address of a page.
pub(crate) struct KnownPage {
    pub(crate) rules: u64,
    pub(crate) is_hash_routed: bool,
    pub(crate) url: Box<str>,
    pub(crate) page: Arc<Page>,
}

/// A way of coming to a page.
pub(crate) struct KnownWay {
    pub(crate) rules: u64,
    pub(crate) referrer: Box<str>,
    pub(crate) page: Arc<Page>,
    pub(crate) acquisition: Arc<Acquisition>,
}

/// The tables of one worker. Sizes are chosen for the working set of a batch stream, a few hundred KiB when full of
/// usual values.
pub(crate) struct Memo {
    pub(crate) site: Option<(Box<str>, Arc<SiteRules>)>,
    pub(crate) clients: Table<KnownClient>,
    pub(crate) pages: Table<KnownPage>,
    pub(crate) ways: Table<KnownWay>,
    pub(crate) places: Table<(IpAddr, Arc<Place>)>,
    pub(crate) words: Table<Text>,
}

impl Memo {
    /// Longer strings are not remembered.
    pub(crate) const KEY_BYTES_MAX: usize = 512;
    pub(crate) const ENTRIES: usize = 1024;

    fn new() -> Self {
        Self {
            site: None,
            clients: Table::new(Self::ENTRIES),
            pages: Table::new(Self::ENTRIES),
            ways: Table::new(Self::ENTRIES),
            places: Table::new(Self::ENTRIES),
            words: Table::new(Self::ENTRIES),
        }
    }

    /// The same text, sharing the allocation of an earlier one.
    pub(crate) fn text(&mut self, seed: u64, text: &str) -> Text {
        if text.is_empty() {
            return Text::default();
        }
        if text.len() > 64 {
            return Text::from(text);
        }
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), seed);
        if let Some(known) = self.words.get(hash, |known| known.as_str() == text) {
            return known.clone();
        }
        let made = Text::from(text);
        self.words.put(hash, made.clone());
        made
    }
}

/// Memos that wait for a worker. A request takes one, uses it without a lock, and puts it back.
pub(crate) struct MemoPool {
    waiting: Mutex<Vec<Memo>>,
}

impl MemoPool {
    /// Memos kept; more only exist while more threads are enriching at the same moment.
    const KEPT_MAX: usize = 8;

    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// Runs `work` with a memo. The site it remembers never outlives a request, so that changed settings count at once.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Memo) -> R) -> R {
        let taken = self.waiting.lock().pop();
        let mut memo = taken.unwrap_or_else(Memo::new);
        let result = work(&mut memo);
        memo.site = None;
        let mut waiting = self.waiting.lock();
        if waiting.len() < Self::KEPT_MAX {
            waiting.push(memo);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_never_holds_more_than_its_slots() {
        let mut table = Table::new(16);
        for value in 0..10_000_u64 {
            table.put(value, value);
            assert_eq!(table.get(value, |known| *known == value), Some(&value));
        }
        assert_eq!(table.len(), 16);
    }

    #[test]
    fn equal_words_share_one_allocation() {
        let mut memo = Memo::new();
        let first = memo.text(1, "pageview");
        let second = memo.text(1, "pageview");
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert_eq!(memo.text(1, "").as_str(), "");
    }
}
