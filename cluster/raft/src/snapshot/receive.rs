//! The receiver's side of a snapshot.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use ringtail_proto::wire::peer::{self, snapshot_chunk::Part};
use tokio::time::timeout;
use tonic::Status;

use super::send::hash_rows;
use super::staged_file::PartHash;
use super::staging::Arriving;
use super::{SNAPSHOT_PART_BYTES_MAX, SnapshotPart, StagedFile, Staging};

/// A sender that says nothing for so long is gone, or cannot read its rows. Longer than any pause that spares the disk.
const CHUNK_WAIT_MAX: Duration = Duration::from_secs(60);

/// Takes the rows of a snapshot whose head was read, until they are whole in a file.
pub(crate) async fn receive_snapshot(
    staging: &Staging,
    head: &peer::SnapshotHead,
    mut chunks: impl Stream<Item = Result<peer::SnapshotChunk, Status>> + Unpin,
) -> Result<Arc<StagedFile>, Status> {
    let group = ringtail_proto::GroupId(head.group);
    let begun = staging.begin(group, head.meta.to_vec()).await;
    let mut arriving: Arriving = begun.map_err(internal)?;
    let (mut rows, mut hasher) = (0, blake3::Hasher::new());
    let mut last_key = None;
    loop {
        let message = timeout(CHUNK_WAIT_MAX, chunks.try_next()).await;
        let chunk = message.map_err(|_| Status::deadline_exceeded("no rows for too long"))??;
        let part = match chunk.and_then(|chunk| chunk.part) {
            Some(Part::Rows(part)) => paired(part)?,
            Some(Part::Held(hash)) => {
                let (back, part) = arriving.held(hash_of(&hash)?).await.map_err(internal)?;
                arriving = back;
                part.ok_or_else(|| Status::failed_precondition("that part is not held here"))?
            }
            Some(Part::End(end)) => {
                if end.rows != rows || end.hash != hasher.finalize().as_bytes()[..] {
                    return Err(Status::data_loss(
                        "the rows that arrived are not those sent",
                    ));
                }
                return arriving.finish().await.map_err(internal);
            }
            Some(Part::Head(_)) => return Err(Status::invalid_argument("a second head")),
            None => return Err(Status::data_loss("the snapshot ended early")),
        };
        check_order(&part, &mut last_key)?;
        hash_rows(&mut hasher, &part);
        rows += part.rows.len() as u64;
        arriving = arriving.put(part).await.map_err(internal)?;
    }
}

fn hash_of(bytes: &[u8]) -> Result<PartHash, Status> {
    let hash = bytes.try_into();
    hash.map_err(|_| Status::invalid_argument("the hash of a part has 16 bytes"))
}

/// Rows have to come in pairs, in parts of a bounded size.
fn paired(part: peer::SnapshotRows) -> Result<SnapshotPart, Status> {
    if part.keys.len() != part.values.len() {
        return Err(Status::invalid_argument("keys and values do not pair"));
    }
    let bytes = part.keys.iter().chain(&part.values).map(Bytes::len);
    if part.keys.len() > 1 && bytes.sum::<usize>() > 2 * SNAPSHOT_PART_BYTES_MAX {
        return Err(Status::invalid_argument("a part is too large"));
    }
    let rows = part.keys.into_iter().zip(part.values).collect();
    Ok(SnapshotPart { rows })
}

/// Rows have to come by ascending key, over all parts.
fn check_order(part: &SnapshotPart, last_key: &mut Option<Bytes>) -> Result<(), Status> {
    for (key, _) in &part.rows {
        if last_key.as_ref().is_some_and(|last| last >= key) {
            return Err(Status::invalid_argument("keys are not in order"));
        }
        *last_key = Some(key.clone());
    }
    Ok(())
}

fn internal(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::ResourceBusy => Status::aborted(error.to_string()),
        io::ErrorKind::StorageFull => Status::resource_exhausted(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}
