//! A disk in memory that loses power, tears writes, fails, fills up and rots on request.
//!
//! For tests and the simulator. What it keeps after a power loss is what a real disk may keep: everything synced, and
//! of the rest any subset of sectors, any length between the synced and the written one, and any prefix of the
//! directory changes that were not synced.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

/// A disk writes sectors of this size whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A disk in memory that fails on request. Clones share the same disk.
#[derive(Clone, Default)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    contents: BTreeMap<FileId, Content>,
    names: BTreeMap<PathBuf, FileId>,
    durable_names: BTreeMap<PathBuf, FileId>,
    unsynced_names: Vec<NameChange>,
    next_file: FileId,
    is_dead: bool,
    failing_syncs: bool,
    lying_syncs: bool,
    failing_writes: bool,
    too_many_open_files: bool,
    failing_moves_into: Option<PathBuf>,
    free_bytes: Option<u64>,
    syncs: u64,
    operations: Vec<String>,
}

type FileId = u64;

#[derive(Clone, Default)]
struct Content {
    written: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, FileId),
    Unlink(PathBuf),
    Move(PathBuf, PathBuf, FileId),
}

impl NameChange {
    fn touches(&self, directory: &Path) -> bool {
        match self {
            Self::Link(path, _) | Self::Unlink(path) => path.parent() == Some(directory),
            Self::Move(from, to, _) => {
                from.parent() == Some(directory) || to.parent() == Some(directory)
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        match self {
            Self::Link(path, file) => names.insert(path.clone(), *file),
            Self::Unlink(path) => names.remove(path),
            Self::Move(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file)
            }
        };
    }
}

impl FaultDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: this disk fails everything from now on, and the returned one holds what survived.
    ///
    /// The seed decides which unsynced sectors, lengths and directory changes survive.
    #[must_use]
    pub fn lose_power(&self, seed: u64) -> Self {
        self.cut_power(Dice(seed), false)
    }

    /// Like [`FaultDisk::lose_power`], but nothing unsynced survives.
    #[must_use]
    pub fn lose_power_and_everything_unsynced(&self) -> Self {
        self.cut_power(Dice(0), true)
    }

    fn cut_power(&self, mut dice: Dice, drops_all: bool) -> Self {
        let mut state = self.state.lock();
        state.is_dead = true;
        let mut names = state.durable_names.clone();
        let changes = state.unsynced_names.len() as u64;
        let kept_changes = if drops_all {
            0
        } else {
            dice.roll(changes + 1) as usize
        };
        for change in state.unsynced_names.iter().take(kept_changes) {
            change.apply(&mut names);
        }
        let contents: BTreeMap<FileId, Content> = state
            .contents
            .iter()
            .map(|(file, content)| {
                let kept = if drops_all {
                    content.durable.clone()
                } else {
                    content.torn(&mut dice)
                };
                let content = Content {
                    written: kept.clone(),
                    durable: kept,
                };
                (*file, content)
            })
            .collect();
        let survivor = State {
            contents,
            durable_names: names.clone(),
            names,
            next_file: state.next_file,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(survivor)),
        }
    }

    /// From now on every sync fails, and what was written since the last one is not durable.
    pub fn fail_syncs(&self) {
        self.state.lock().failing_syncs = true;
    }

    /// From now on every sync says that it succeeded and does nothing: to show that a checker notices what gets lost.
    pub fn lie_about_syncs(&self) {
        self.state.lock().lying_syncs = true;
    }

    /// From now on every write fails after a part of it was written.
    pub fn fail_writes(&self) {
        self.state.lock().failing_writes = true;
    }

    /// While set, nothing can be opened: no file, and no directory to sync it.
    pub fn set_too_many_open_files(&self, too_many: bool) {
        self.state.lock().too_many_open_files = too_many;
    }

    /// While set, no file can be moved into this directory.
    pub fn fail_moves_into(&self, directory: Option<&Path>) {
        self.state.lock().failing_moves_into = directory.map(Path::to_owned);
    }

    /// Limits the space left, in bytes; `None` removes the limit. A write that does not fit is written in part.
    pub fn set_free_bytes(&self, free_bytes: Option<u64>) {
        self.state.lock().free_bytes = free_bytes;
    }

    /// Syncs of file data so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// What was done to names and synced, in order: `sync PATH`, `rename PATH`, `remove PATH`, `sync-directory PATH`.
    #[must_use]
    pub fn operations(&self) -> Vec<String> {
        self.state.lock().operations.clone()
    }

    /// The bytes of a file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        let file = state.file(path)?;
        Ok(state
            .contents
            .get(&file)
            .cloned()
            .unwrap_or_default()
            .written)
    }

    /// Replaces the bytes of a file, durably: damage, or a file from elsewhere.
    pub fn overwrite(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let file = match state.file(path) {
            Ok(file) => file,
            Err(_) => state.link_new(path),
        };
        let names = state.names.clone();
        state.durable_names = names;
        state.unsynced_names.clear();
        let content = Content {
            written: bytes.clone(),
            durable: bytes,
        };
        state.contents.insert(file, content);
    }

    /// Flips one bit of a file, durably.
    pub fn flip_bit(&self, path: &Path, byte: usize, bit: u8) -> io::Result<()> {
        let mut bytes = self.read(path)?;
        let target = bytes
            .get_mut(byte)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        *target ^= 1 << (bit % 8);
        self.overwrite(path, bytes);
        Ok(())
    }

    /// Paths of all files, in order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.state.lock().names.keys().cloned().collect()
    }
}

impl State {
    fn file(&self, path: &Path) -> io::Result<FileId> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn alive(&self) -> io::Result<()> {
        if self.is_dead {
            return Err(io::Error::other("the disk has lost power"));
        }
        Ok(())
    }

    fn open_one_more(&self) -> io::Result<()> {
        self.alive()?;
        if self.too_many_open_files {
            return Err(rustix::io::Errno::MFILE.into());
        }
        Ok(())
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn link_new(&mut self, path: &Path) -> FileId {
        let file = self.next_file;
        self.next_file += 1;
        self.contents.insert(file, Content::default());
        self.change_name(NameChange::Link(path.to_owned(), file));
        file
    }
}

impl Content {
    /// What a power loss may leave: each unsynced sector or its old bytes, each length between old and new.
    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        let mut kept = self.durable.clone();
        let (shorter, longer) = if self.written.len() < kept.len() {
            (self.written.len(), kept.len())
        } else {
            (kept.len(), self.written.len())
        };
        kept.resize(longer, 0);
        for (old, new) in kept
            .chunks_mut(SECTOR_BYTES)
            .zip(self.written.chunks(SECTOR_BYTES))
        {
            if dice.roll(2) == 0 {
                for (old, new) in old.iter_mut().zip(new) {
                    *old = *new;
                }
            }
        }
        let length = shorter + dice.roll((longer - shorter) as u64 + 1) as usize;
        kept.truncate(length);
        kept
    }
}

impl Disk for FaultDisk {
    fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        self.state.lock().alive()
    }

    fn list_files(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.alive()?;
        let names = state
            .names
            .keys()
            .filter(|path| path.parent() == Some(directory))
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        state.open_one_more()?;
        let file = FaultFile {
            disk: self.clone(),
            file: state.file(path)?,
            path: path.to_owned(),
        };
        Ok(Arc::new(file))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.open_one_more()?;
        let file = FaultFile {
            disk: self.clone(),
            file: state.link_new(path),
            path: path.to_owned(),
        };
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.alive()?;
        let file = state.file(from)?;
        if state.failing_moves_into.is_some() && state.failing_moves_into.as_deref() == to.parent()
        {
            return Err(io::Error::other("injected failure to move"));
        }
        state.operations.push(format!("rename {}", to.display()));
        state.change_name(NameChange::Move(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.alive()?;
        state.file(path)?;
        state.operations.push(format!("remove {}", path.display()));
        state.change_name(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.open_one_more()?;
        state
            .operations
            .push(format!("sync-directory {}", directory.display()));
        // Journaled file systems keep the order of changes, so syncing one directory syncs what came before in any.
        let last = state
            .unsynced_names
            .iter()
            .rposition(|change| change.touches(directory));
        let synced: Vec<NameChange> = match last {
            Some(last) => state.unsynced_names.drain(..=last).collect(),
            None => Vec::new(),
        };
        for change in synced {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }
}

struct FaultFile {
    disk: FaultDisk,
    file: FileId,
    path: PathBuf,
}

impl DiskFile for FaultFile {
    fn bytes(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        state.alive()?;
        let content = state.contents.get(&self.file);
        Ok(content.map_or(0, |content| content.written.len() as u64))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.state.lock();
        state.alive()?;
        let start = offset as usize;
        let bytes = state
            .contents
            .get(&self.file)
            .and_then(|content| content.written.get(start..start + buffer.len()))
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_all_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter())
            .copied()
            .collect();
        let mut state = self.disk.state.lock();
        state.alive()?;
        let free_bytes = state.free_bytes;
        let is_failing = state.failing_writes;
        let written = &mut state.contents.entry(self.file).or_default().written;
        let grows_by = (offset as usize + bytes.len()).saturating_sub(written.len()) as u64;
        let missing = free_bytes.map_or(0, |free| grows_by.saturating_sub(free));
        let fits = if is_failing {
            bytes.len() / 2
        } else {
            bytes.len() - missing as usize
        };
        let end = offset as usize + fits;
        written.resize(written.len().max(end), 0);
        if let (Some(target), Some(source)) =
            (written.get_mut(offset as usize..end), bytes.get(..fits))
        {
            target.copy_from_slice(source);
        }
        state.free_bytes = free_bytes.map(|free| free.saturating_sub(grows_by));
        if is_failing {
            return Err(io::Error::other("injected write failure"));
        }
        if missing > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.alive()?;
        let written = &mut state.contents.entry(self.file).or_default().written;
        let freed = (written.len() as u64).saturating_sub(bytes);
        written.resize(bytes as usize, 0);
        state.free_bytes = state.free_bytes.map(|free| free + freed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.alive()?;
        if state.failing_syncs {
            return Err(io::Error::other("injected sync failure"));
        }
        state.syncs += 1;
        if state.lying_syncs {
            return Ok(());
        }
        state
            .operations
            .push(format!("sync {}", self.path.display()));
        let content = state.contents.entry(self.file).or_default();
        content.durable = content.written.clone();
        Ok(())
    }
}

/// A small seeded generator (SplitMix64): the same seed gives the same disaster.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}
