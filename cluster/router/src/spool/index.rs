//! Which files the spool holds. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashMap, HashSet};
use ringtail_proto::{GroupId, NodeId, UnixMillis};

use super::{directory::FileKey, file::Header};

/// Files and bytes of one kind: own ones, or copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

impl Usage {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }

    fn subtract(&mut self, bytes: u64) {
        self.files = self.files.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(crate) const fn has_room(&self, bytes: u64, files_max: usize, bytes_max: u64) -> bool {
        self.files < files_max && self.bytes.saturating_add(bytes) <= bytes_max
    }
}

/// Which files the spool holds, and which of them wait to be forwarded by this node.
pub(crate) struct Index {
    node: NodeId,
    files: BTreeMap<FileKey, Header>,
    /// Own files and adopted copies, by group.
    waiting: BTreeMap<GroupId, BTreeSet<FileKey>>,
    own: Usage,
    copies: Usage,
    /// Own files on their way to the disk: a keeper that asks about its copy meanwhile has to go on keeping it.
    writing: HashSet<u64>,
    /// Own files that were damaged: whoever keeps a copy forwards it.
    lost: HashSet<u64>,
    /// Who keeps a copy of an own file.
    keepers: HashMap<u64, NodeId>,
    next_file: u64,
}

impl Index {
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            files: BTreeMap::new(),
            waiting: BTreeMap::new(),
            own: Usage::default(),
            copies: Usage::default(),
            writing: HashSet::new(),
            lost: HashSet::new(),
            keepers: HashMap::new(),
            next_file: 1,
        }
    }

    pub(crate) const fn own(&self) -> Usage {
        self.own
    }

    pub(crate) const fn copies(&self) -> Usage {
        self.copies
    }

    const fn is_own(&self, key: FileKey) -> bool {
        key.owner.0 == self.node.0
    }

    /// A number for a new file: above all before, also above those of an earlier run, by the clock.
    pub(crate) fn next_file(&mut self, now: UnixMillis) -> FileKey {
        let file = self.next_file.max(now.0.max(1) as u64);
        self.next_file = file + 1;
        FileKey {
            owner: self.node,
            file,
        }
    }

    /// Counts a file that is about to be written.
    pub(crate) fn reserve(&mut self, key: FileKey, bytes: u64) {
        match self.is_own(key) {
            true => {
                self.own.add(bytes);
                self.writing.insert(key.file);
            }
            false => self.copies.add(bytes),
        }
    }

    /// A file that was counted could not be written.
    pub(crate) fn give_up(&mut self, key: FileKey, bytes: u64) {
        if self.is_own(key) {
            self.writing.remove(&key.file);
        }
        self.release(key, bytes);
    }

    fn release(&mut self, key: FileKey, bytes: u64) {
        match self.is_own(key) {
            true => self.own.subtract(bytes),
            false => self.copies.subtract(bytes),
        }
    }

    /// A file that was counted is on disk.
    pub(crate) fn insert(&mut self, key: FileKey, file: Header) {
        if self.is_own(key) {
            self.writing.remove(&key.file);
            self.next_file = self.next_file.max(key.file.saturating_add(1));
            self.waiting.entry(file.group).or_default().insert(key);
        }
        if let Some(replaced) = self.files.insert(key, file) {
            self.release(key, replaced.file_bytes());
        }
    }

    pub(crate) fn get(&self, key: FileKey) -> Option<&Header> {
        self.files.get(&key)
    }

    /// Forgets a file; its events, if it was there.
    pub(crate) fn remove(&mut self, key: FileKey) -> Option<usize> {
        let file = self.files.remove(&key)?;
        self.release(key, file.file_bytes());
        if let Some(waiting) = self.waiting.get_mut(&file.group) {
            waiting.remove(&key);
            if waiting.is_empty() {
                self.waiting.remove(&file.group);
            }
        }
        Some(file.events)
    }

    pub(crate) fn lose(&mut self, key: FileKey) {
        if self.is_own(key) {
            self.lost.insert(key.file);
            self.next_file = self.next_file.max(key.file.saturating_add(1));
        }
    }

    /// True for an own file that was lost, false for one that waits; none when its events are in their log.
    pub(crate) fn fate(&self, file: u64) -> Option<bool> {
        let owner = self.node;
        if self.writing.contains(&file) || self.files.contains_key(&FileKey { owner, file }) {
            return Some(false);
        }
        self.lost.contains(&file).then_some(true)
    }

    pub(crate) fn set_keeper(&mut self, key: FileKey, keeper: NodeId) {
        self.keepers.insert(key.file, keeper);
    }

    pub(crate) fn take_keeper(&mut self, key: FileKey) -> Option<NodeId> {
        match self.is_own(key) {
            true => self.keepers.remove(&key.file),
            false => None,
        }
    }

    /// From now on this node forwards the copy.
    pub(crate) fn adopt(&mut self, key: FileKey) -> bool {
        match self.files.get(&key) {
            Some(file) => self.waiting.entry(file.group).or_default().insert(key),
            None => false,
        }
    }

    /// Groups for which files wait.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.waiting.keys().copied().collect()
    }

    /// The oldest file that waits for this group, of one owner after the other.
    pub(crate) fn oldest(&self, group: GroupId) -> Option<FileKey> {
        self.waiting.get(&group)?.first().copied()
    }

    /// Files that this node has to forward.
    pub(crate) fn files_waiting(&self) -> usize {
        self.writing.len() + self.waiting.values().map(BTreeSet::len).sum::<usize>()
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the oldest of the own files came.
    pub(crate) fn oldest_received(&self) -> Option<UnixMillis> {
        let own = self.waiting.values().filter_map(BTreeSet::first);
        own.filter_map(|key| self.files.get(key))
            .map(|file| file.received)
            .min()
    }

    /// Copies of other nodes' files that this node does not forward yet, by owner.
    pub(crate) fn copies_by_owner(&self, files_max: usize) -> BTreeMap<NodeId, Vec<u64>> {
        let mut copies: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for (key, file) in &self.files {
            let is_adopted = self
                .waiting
                .get(&file.group)
                .is_some_and(|waiting| waiting.contains(key));
            if self.is_own(*key) || is_adopted {
                continue;
            }
            let of_owner = copies.entry(key.owner).or_default();
            if of_owner.len() < files_max {
                of_owner.push(key.file);
            }
        }
        copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::SpooledEntry;

    const NODE: NodeId = NodeId(1);

    fn header() -> Header {
        let entry = SpooledEntry {
            group: GroupId(3),
            received: UnixMillis(5),
            events: 2,
            bytes: bytes::Bytes::from_static(b"entry"),
        };
        Header::decode(&entry.encode()).expect("it was just encoded")
    }

    #[test]
    fn a_copy_is_needed_from_before_the_own_write_until_the_events_are_in_their_log() {
        let mut index = Index::new(NODE);
        let key = index.next_file(UnixMillis(100));
        assert_eq!(index.fate(key.file), None);
        index.reserve(key, header().file_bytes());
        assert_eq!(index.fate(key.file), Some(false), "the own write is slow");
        index.insert(key, header());
        assert_eq!(index.fate(key.file), Some(false));
        assert_eq!(index.remove(key), Some(2));
        assert_eq!(index.fate(key.file), None);
        assert_eq!(index.own(), Usage::default());
    }

    #[test]
    fn a_file_that_could_not_be_written_needs_no_copy() {
        let mut index = Index::new(NODE);
        let key = index.next_file(UnixMillis(100));
        index.reserve(key, 50);
        index.give_up(key, 50);
        assert_eq!(index.fate(key.file), None);
        assert_eq!(index.own(), Usage::default());
    }
}
