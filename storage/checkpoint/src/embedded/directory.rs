//! The store's directory and its format marker.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::io_error;
use crate::StoreError;

/// The file that says which format the directory has.
const MARKER: &str = "format";
const MARKER_NEW: &str = "format.new";
/// The engine's own directory.
const ENGINE: &str = "engine";
/// Where the engine keeps its keyspaces, a folder each.
const ENGINE_KEYSPACES: &str = "keyspaces";
/// The engine's file that says it was made completely; nothing was ever stored before it is there.
const ENGINE_COMPLETE: &str = "version";

const NAME: &str = "ringtail-checkpoint";
/// Each group's rows lie in its first keyspace.
const FORMAT_PLAIN: u32 = 3;
/// Some group's rows were replaced or removed: which keyspace holds them has to be looked up.
const FORMAT_REPLACEABLE: u32 = 4;
const FORMAT_MAX: u32 = FORMAT_REPLACEABLE;

/// Checks the format, or marks a new directory. Returns where the engine keeps its files.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, StoreError> {
    fs::create_dir_all(path).map_err(|error| io_error(&error))?;
    match fs::read_to_string(path.join(MARKER)) {
        Ok(marker) => check_marker(path, &marker)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check_empty(path)?;
            write_marker(path, FORMAT_PLAIN).map_err(|error| io_error(&error))?;
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(not_a_store(path, "its format file is no text"));
        }
        Err(error) => return Err(io_error(&error)),
    }
    let engine = path.join(ENGINE);
    remove_half_made(&engine).map_err(|error| io_error(&error))?;
    Ok(engine)
}

/// Marks the directory as one whose groups' rows may lie in other keyspaces than their first.
pub(super) fn mark_replaceable(path: &Path) -> Result<(), StoreError> {
    let marker = fs::read_to_string(path.join(MARKER)).map_err(|error| io_error(&error))?;
    if format_of(&marker) == Some(FORMAT_REPLACEABLE) {
        return Ok(());
    }
    write_marker(path, FORMAT_REPLACEABLE).map_err(|error| io_error(&error))
}

/// Makes the names of new keyspaces durable: the engine syncs what is in a keyspace, not the folder that names it.
pub(super) fn sync_keyspaces(path: &Path) -> Result<(), StoreError> {
    let folder = File::open(path.join(ENGINE).join(ENGINE_KEYSPACES));
    let synced = folder.and_then(|folder| folder.sync_all());
    synced.map_err(|error| io_error(&error))
}

fn format_of(marker: &str) -> Option<u32> {
    let format = marker.trim_end().strip_prefix(NAME)?;
    format.trim().parse().ok()
}

fn check_marker(path: &Path, marker: &str) -> Result<(), StoreError> {
    match format_of(marker) {
        Some(FORMAT_PLAIN..=FORMAT_MAX) => Ok(()),
        Some(found @ ..FORMAT_PLAIN) => Err(StoreError::Older {
            path: path.into(),
            found,
            known: FORMAT_PLAIN,
        }),
        Some(found) if found > FORMAT_MAX => Err(StoreError::Newer {
            path: path.into(),
            found,
            known: FORMAT_MAX,
        }),
        _ => Err(not_a_store(path, &format!("its format reads {marker:?}"))),
    }
}

fn check_empty(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(|error| io_error(&error))? {
        let name = entry.map_err(|error| io_error(&error))?.file_name();
        if name != MARKER_NEW {
            let message = format!("it holds {name:?} but no file {MARKER:?}");
            return Err(not_a_store(path, &message));
        }
    }
    Ok(())
}

/// The marker is whole or absent: written aside, synced, renamed.
fn write_marker(path: &Path, format: u32) -> io::Result<()> {
    let aside = path.join(MARKER_NEW);
    let mut file = File::create(&aside)?;
    file.write_all(format!("{NAME} {format}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path.join(MARKER))?;
    File::open(path)?.sync_all()
}

/// A crash while the engine made its files leaves some that it refuses to make again.
fn remove_half_made(engine: &Path) -> io::Result<()> {
    if engine.try_exists()? && !engine.join(ENGINE_COMPLETE).try_exists()? {
        tracing::warn!(path = %engine.display(), "checkpoint: starting over a store that was never finished");
        fs::remove_dir_all(engine)?;
    }
    Ok(())
}

fn not_a_store(path: &Path, message: &str) -> StoreError {
    StoreError::NotAStore {
        path: path.into(),
        message: message.to_owned(),
    }
}
