//! What a local archive needs beside the store: durable files, and no litter of writes that a crash cut off.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::error::ArchiveError;

/// Waits until a file and all folders between it and the archive's directory are on the disk: the store writes and
/// renames them but does not wait for that.
pub(crate) async fn sync(
    directory: &Path,
    file: &object_store::path::Path,
) -> Result<(), ArchiveError> {
    let path: PathBuf = file.parts().map(|part| part.as_ref().to_owned()).collect();
    let root = directory.to_owned();
    off_thread("sync", file.as_ref(), move || {
        path.ancestors()
            .try_for_each(|ancestor| File::open(root.join(ancestor))?.sync_all())
    })
    .await
}

/// Removes staged files, `name#1`, `name#2`, …: they are renamed when they are complete, and then have another name.
///
/// Only this process writes into the directory: nobody is staging anything while it opens the archive.
pub(crate) async fn sweep(directory: &Path) -> Result<(), ArchiveError> {
    let root = directory.to_owned();
    let shown = directory.display().to_string();
    off_thread("sweep", &shown, move || sweep_folder(&root.join("v1"))).await
}

fn sweep_folder(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sweep_folder(&entry.path())?;
        } else if entry.file_name().to_str().is_some_and(is_staged) {
            tracing::info!(path = %entry.path().display(), "removing what a crash left half written");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_staged(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

async fn off_thread(
    doing: &'static str,
    path: &str,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), ArchiveError> {
    let done = tokio::task::spawn_blocking(work).await;
    let outcome = done.unwrap_or_else(|error| Err(io::Error::other(error)));
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => ArchiveError::Full {
            path: path.to_owned(),
            message: error.to_string(),
        },
        _ => ArchiveError::Unavailable {
            doing,
            path: path.to_owned(),
            attempts: 1,
            message: error.to_string(),
        },
    })
}
