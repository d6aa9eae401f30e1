//! The secrets under which visitors are hashed, and their end.
//!
//! One salt per calendar date, made 12 h before that date begins anywhere on earth and deleted 2 h after it has ended
//! everywhere: from then on nobody, ourselves included, can tell whose hash was whose. An import holds a key of its
//! own until it is finished. All of them live in one small file that only the owner can read.
//!
//! Nothing here has `Debug` or `Display`, so that no log line can hold a secret.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use ringtail_proto::UnixMillis;

use crate::Clock;

mod format;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A date begins first at UTC+14.
const FIRST_ZONE_MS: i64 = 14 * HOUR_MS;
/// A date ends last at UTC-12.
const LAST_ZONE_MS: i64 = 12 * HOUR_MS;
const MADE_BEFORE_MS: i64 = 12 * HOUR_MS;
const DELETED_AFTER_MS: i64 = 2 * HOUR_MS;
/// Imports that may be open at once.
const IMPORTS_MAX: usize = 1_000;

pub(crate) type Secret = [u8; 16];

/// The key of one import.
#[derive(Clone)]
pub struct ImportKey(pub(crate) Secret);

impl ImportKey {
    /// What [`Self::to_bytes`] gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// For another node of the ring.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; 16] {
        self.0
    }
}

/// The salts and import keys of this node.
pub struct Salts {
    path: PathBuf,
    clock: Clock,
    held: ArcSwap<Held>,
    writer: Mutex<()>,
}

/// What the file holds.
#[derive(Clone, Default, PartialEq, Eq)]
struct Held {
    /// By date (days since 1970-01-01), in order.
    days: Vec<(i32, Secret)>,
    /// By the name of the import, in order of their beginning.
    imports: Vec<(String, Secret)>,
}

/// Why salts cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum SaltsError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was written by a newer version.
    #[error(
        "{path} has version {found}, this binary knows up to {}",
        format::VERSION
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// The file is not what this program wrote.
    #[error("{path}, line {line}: not a salt or a key")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Too many imports hold keys.
    #[error("{IMPORTS_MAX} imports are unfinished; finish one first")]
    TooManyImports,
    /// The name cannot be kept.
    #[error("an import's name has 1 to 300 bytes and no white space")]
    ImportName,
}

impl Salts {
    /// Opens the salts of a data directory, or begins them.
    ///
    /// # Errors
    /// [`SaltsError`] when the file cannot be read, or is not ours.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, SaltsError> {
        let held = match fs::read_to_string(path) {
            Ok(text) => format::read(&text).map_err(|fault| fault.at(path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Held::default(),
            Err(source) => return Err(file_error(path, source)),
        };
        let salts = Self {
            path: path.to_owned(),
            clock,
            held: ArcSwap::from_pointee(held),
            writer: Mutex::new(()),
        };
        salts.maintain()?;
        Ok(salts)
    }

    /// Writes what another node gave to where [`Self::open`] finds it, before this node has any.
    ///
    /// # Errors
    /// When it is not what [`Self::export`] gives, or the file cannot be written.
    pub fn begin_with(path: &Path, exported: &str) -> Result<(), SaltsError> {
        let held = format::read(exported).map_err(|fault| fault.at(Path::new("another node")))?;
        write(path, &held)
    }

    /// Makes what is due, deletes what is over, writes the file if anything changed. Call it every few minutes.
    ///
    /// # Errors
    /// When the file cannot be written; what was made counts in memory nevertheless, and what is over is gone from it.
    pub fn maintain(&self) -> Result<(), SaltsError> {
        let _writer = self.writer.lock();
        let held = self.held.load_full();
        let now = self.clock.now();
        let mut next = Held {
            days: due_days(now)
                .map(|day| (day, held.day(day).unwrap_or_else(random)))
                .collect(),
            imports: held.imports.clone(),
        };
        if next == *held {
            // A file that could not be written, or was lost, is written again.
            return if self.path.exists() {
                Ok(())
            } else {
                self.write(&next)
            };
        }
        next.days.sort_unstable_by_key(|(day, _)| *day);
        self.held.store(Arc::new(next.clone()));
        self.write(&next)
    }

    /// All salts and keys, for another node of the ring: in the form of the file.
    #[must_use]
    pub fn export(&self) -> String {
        format::write(&self.held.load())
    }

    /// Takes over what the ring's keeper of salts holds: its days count from now on beside those that only this node
    /// holds, and its imports are the ones under way. A key that it does not hold was forgotten.
    ///
    /// # Errors
    /// When it is not what [`Self::export`] gives, or the file cannot be written.
    pub fn adopt(&self, exported: &str) -> Result<(), SaltsError> {
        let other = format::read(exported).map_err(|fault| fault.at(Path::new("another node")))?;
        let _writer = self.writer.lock();
        let held = self.held.load_full();
        let now = self.clock.now();
        let mut next = (*held).clone();
        for (day, salt) in other.days.into_iter().filter(|(day, _)| is_due(*day, now)) {
            next.days.retain(|(known, _)| *known != day);
            next.days.push((day, salt));
        }
        next.days.sort_unstable_by_key(|(day, _)| *day);
        next.imports = other.imports;
        next.imports.truncate(IMPORTS_MAX);
        if next == *held {
            return Ok(());
        }
        self.held.store(Arc::new(next.clone()));
        self.write(&next)
    }

    /// The salt of a local date (days since 1970-01-01); none when it is over or not yet due.
    pub(crate) fn day(&self, day: i32) -> Option<Secret> {
        let now = self.clock.now();
        if !is_due(day, now) {
            return None;
        }
        if let Some(salt) = self.held.load().day(day) {
            return Some(salt);
        }
        if let Err(error) = self.maintain() {
            tracing::error!(%error, "salts are only in memory");
        }
        self.held.load().day(day)
    }

    /// The key of an import, made when it begins and held until [`Self::finish_import`].
    ///
    /// # Errors
    /// When the key cannot be kept; without it, visitors could not be recognised after a restart.
    pub(crate) fn import_key(&self, import: &str) -> Result<ImportKey, SaltsError> {
        self.keep_import_key(import, random)
    }

    /// True when the key of an import is held.
    pub(crate) fn holds_import_key(&self, import: &str) -> bool {
        self.held.load().import(import).is_some()
    }

    /// The key of an import; `make` gives it when it is not held yet.
    pub(crate) fn keep_import_key(
        &self,
        import: &str,
        make: impl FnOnce() -> Secret,
    ) -> Result<ImportKey, SaltsError> {
        if import.is_empty() || import.len() > 300 || import.contains(char::is_whitespace) {
            return Err(SaltsError::ImportName);
        }
        let _writer = self.writer.lock();
        let held = self.held.load_full();
        if let Some(key) = held.import(import) {
            return Ok(ImportKey(key));
        }
        if held.imports.len() >= IMPORTS_MAX {
            return Err(SaltsError::TooManyImports);
        }
        let mut next = (*held).clone();
        let key = make();
        next.imports.push((import.to_owned(), key));
        self.write(&next)?;
        self.held.store(Arc::new(next));
        Ok(ImportKey(key))
    }

    /// Forgets the key of an import.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn finish_import(&self, import: &str) -> Result<(), SaltsError> {
        let _writer = self.writer.lock();
        let held = self.held.load_full();
        if held.import(import).is_none() {
            return Ok(());
        }
        let mut next = (*held).clone();
        next.imports.retain(|(name, _)| name != import);
        self.write(&next)?;
        self.held.store(Arc::new(next));
        Ok(())
    }

    fn write(&self, held: &Held) -> Result<(), SaltsError> {
        write(&self.path, held)
    }
}

/// Replaces the file as a whole: a crash leaves the old or the new one.
fn write(path: &Path, held: &Held) -> Result<(), SaltsError> {
    let fault = |source| file_error(path, source);
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(fault)?;
    file.write_all(format::write(held).as_bytes())
        .map_err(fault)?;
    file.sync_all().map_err(fault)?;
    fs::rename(&beside, path).map_err(fault)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::File::open(folder.unwrap_or(Path::new("."))).map_err(fault)?;
    folder.sync_all().map_err(fault)
}

impl Held {
    fn day(&self, day: i32) -> Option<Secret> {
        self.days
            .iter()
            .find(|(known, _)| *known == day)
            .map(|(_, salt)| *salt)
    }

    fn import(&self, import: &str) -> Option<Secret> {
        self.imports
            .iter()
            .find(|(known, _)| known == import)
            .map(|(_, key)| *key)
    }
}

/// The dates whose salts exist at a moment.
fn due_days(now: UnixMillis) -> impl Iterator<Item = i32> {
    let today = now.0.div_euclid(DAY_MS) as i32;
    (today - 3..=today + 3).filter(move |day| is_due(*day, now))
}

fn is_due(day: i32, now: UnixMillis) -> bool {
    let begins = i64::from(day) * DAY_MS;
    let made = begins - FIRST_ZONE_MS - MADE_BEFORE_MS;
    let deleted = begins + DAY_MS + LAST_ZONE_MS + DELETED_AFTER_MS;
    (made..deleted).contains(&now.0)
}

pub(crate) fn random() -> Secret {
    let mut secret = Secret::default();
    getrandom::fill(&mut secret)
        .expect("the system's random source answers once it has been seeded at boot");
    secret
}

fn file_error(path: &Path, source: io::Error) -> SaltsError {
    SaltsError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
