//! Makes files of a local archive durable: the store writes and renames them but does not wait for the disk.

use std::{fs::File, io, path::PathBuf};

use object_store::path::Path;

use crate::error::ArchiveError;

/// Waits until a file and all folders between it and the archive's directory are on the disk.
pub(crate) async fn sync(directory: &std::path::Path, file: &Path) -> Result<(), ArchiveError> {
    let directory = directory.to_owned();
    let path: PathBuf = file.parts().map(|part| part.as_ref().to_owned()).collect();
    let synced = tokio::task::spawn_blocking(move || sync_up(&directory, &path)).await;
    let outcome = synced.unwrap_or_else(|error| Err(io::Error::other(error)));
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => ArchiveError::Full {
            path: file.to_string(),
            message: error.to_string(),
        },
        _ => ArchiveError::Unavailable {
            doing: "sync",
            path: file.to_string(),
            attempts: 1,
            message: error.to_string(),
        },
    })
}

fn sync_up(directory: &std::path::Path, path: &std::path::Path) -> io::Result<()> {
    for ancestor in path.ancestors() {
        File::open(directory.join(ancestor))?.sync_all()?;
    }
    Ok(())
}
