//! The receiver's side of a snapshot.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ringtail_proto::wire::peer::{self, snapshot_chunk::Part};
use tonic::{Status, Streaming};

use super::send::hash_rows;
use super::staging::Arriving;
use super::{SNAPSHOT_PART_BYTES_MAX, SnapshotPart, StagedFile, Staging};

/// Takes the rows of a snapshot whose head was read, until they are whole in a file.
pub(crate) async fn receive_snapshot(
    staging: &Staging,
    head: &peer::SnapshotHead,
    mut chunks: Streaming<peer::SnapshotChunk>,
) -> Result<Arc<StagedFile>, Status> {
    let group = ringtail_proto::GroupId(head.group);
    let begun = staging.begin(group, head.meta.to_vec()).await;
    let mut arriving: Arriving = begun.map_err(internal)?;
    let (mut rows, mut hasher) = (0, blake3::Hasher::new());
    let mut last_key = None;
    loop {
        let chunk = chunks.message().await?;
        match chunk.and_then(|chunk| chunk.part) {
            Some(Part::Rows(part)) => {
                hash_rows(&mut hasher, &part.keys, &part.values);
                let part = checked_part(part, &mut last_key)?;
                rows += part.rows.len() as u64;
                arriving = arriving.put(part).await.map_err(internal)?;
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
        }
    }
}

/// Rows have to come in pairs, by ascending key, in parts of a bounded size.
fn checked_part(
    part: peer::SnapshotRows,
    last_key: &mut Option<Bytes>,
) -> Result<SnapshotPart, Status> {
    if part.keys.len() != part.values.len() {
        return Err(Status::invalid_argument("keys and values do not pair"));
    }
    let bytes = part.keys.iter().chain(&part.values).map(Bytes::len);
    if part.keys.len() > 1 && bytes.sum::<usize>() > 2 * SNAPSHOT_PART_BYTES_MAX {
        return Err(Status::invalid_argument("a part is too large"));
    }
    let mut rows = Vec::with_capacity(part.keys.len());
    for (key, value) in part.keys.into_iter().zip(part.values) {
        if last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(Status::invalid_argument("keys are not in order"));
        }
        *last_key = Some(key.clone());
        rows.push((key, value));
    }
    Ok(SnapshotPart { rows })
}

fn internal(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::StorageFull => Status::resource_exhausted(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}
