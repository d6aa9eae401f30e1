//! Many small objects become one: fewer requests, better compression, longer runs of one site's rows.

use arrow_array::RecordBatch;
use arrow_select::interleave::interleave_record_batch;
use bytes::Bytes;
use hashbrown::HashMap;
use ringtail_proto::stored::ArchiveObject;

use crate::{
    archive::path_of,
    error::ArchiveError,
    object_path::ObjectPath,
    object_reader::{Batches, ObjectReader},
    object_writer::{BuiltObject, ObjectWriter},
    table::{SortKey, Table},
};

/// Rows that are put together at a time.
const CHUNK_ROWS_MAX: usize = 32 << 10;

/// Puts objects of one table, group and day together; no row is changed. Rows of visits are left out when rows of the same
/// hour and generation with a higher index are among them; of the other tables every row stays.
///
/// The keys of all rows are in memory (40 bytes each), of the other columns only what is put together at the moment.
/// It takes long: not for a thread that serves.
///
/// # Errors
/// When the objects do not belong together, hold the same entries, or are damaged.
pub fn merge(objects: &[(ArchiveObject, Bytes)]) -> Result<BuiltObject, ArchiveError> {
    let paths = objects
        .iter()
        .map(|(object, _)| parse(object))
        .collect::<Result<Vec<_>, _>>()?;
    let first = check_alike(&paths)?;
    let readers = objects
        .iter()
        .map(|(object, bytes)| ObjectReader::open(path_of(object)?, first.table, bytes.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut order: Vec<Place> = Vec::new();
    for (number, reader) in readers.iter().enumerate() {
        order.extend(reader.keys()?.into_iter().map(|key| Place {
            key,
            object: number as u32,
            is_superseded: false,
        }));
    }
    // Stable, so that rows of equal keys stay in the order of their object.
    order.sort_by_key(|place| (place.key, place.object));
    if first.table == Table::Visits {
        mark_superseded(&mut order);
    }
    let mut inputs = readers
        .iter()
        .map(|reader| Ok(Input::new(reader.all(CHUNK_ROWS_MAX)?)))
        .collect::<Result<Vec<_>, ArchiveError>>()?;
    let mut writer = ObjectWriter::new(first.table, first.group, first.received)?;
    for chunk in order.chunks(CHUNK_ROWS_MAX) {
        writer.write(&gather(&mut inputs, chunk)?)?;
    }
    writer.finish()?.ok_or_else(|| ArchiveError::Unlike {
        message: "none of them has rows".to_owned(),
    })
}

/// A row in the order of the merged object.
struct Place {
    key: SortKey,
    /// Which object it is from.
    object: u32,
    is_superseded: bool,
}

/// Of each hour and generation, only the rows with the highest index stay.
fn mark_superseded(order: &mut [Place]) {
    // The hour's indexes ascend: from the end, the first one seen of a generation is its highest.
    let mut hour = None;
    let mut newest: HashMap<u32, u64> = HashMap::new();
    for place in order.iter_mut().rev() {
        let (site, time, index, generation, _) = place.key;
        if hour.replace((site, time)) != Some((site, time)) {
            newest.clear();
        }
        place.is_superseded = *newest.entry(generation).or_insert(index) != index;
    }
}

fn parse(object: &ArchiveObject) -> Result<ObjectPath, ArchiveError> {
    let text = path_of(object)?;
    ObjectPath::parse(text)
        .ok_or_else(|| ArchiveError::damaged(text, "its path is not one of ours"))
}

fn check_alike(paths: &[ObjectPath]) -> Result<ObjectPath, ArchiveError> {
    let first = paths.first().ok_or_else(|| ArchiveError::Unlike {
        message: "there is none".to_owned(),
    })?;
    let kind = |path: &ObjectPath| (path.table, path.group, path.received);
    if let Some(other) = paths.iter().find(|path| kind(path) != kind(first)) {
        return Err(ArchiveError::Unlike {
            message: format!("{first} and {other} are not of one table, group and day"),
        });
    }
    let mut sorted: Vec<&ObjectPath> = paths.iter().collect();
    sorted.sort_by_key(|path| path.first);
    for (one, other) in sorted.iter().zip(sorted.iter().skip(1)) {
        // Visits are named by checkpoints, of which several seals may bring rows.
        if first.table != Table::Visits && other.first <= one.last {
            return Err(ArchiveError::Overlapping {
                one: one.to_string(),
                other: other.to_string(),
            });
        }
    }
    Ok(first.clone())
}

/// The rows of one object, one after the other.
struct Input {
    batches: Batches,
    /// The batch that is being used up, and how much of it is.
    current: Option<(RecordBatch, usize)>,
}

impl Input {
    const fn new(batches: Batches) -> Self {
        Self {
            batches,
            current: None,
        }
    }

    /// The next rows, in pieces.
    fn take(&mut self, mut rows: usize) -> Result<Vec<RecordBatch>, ArchiveError> {
        let mut pieces = Vec::new();
        while rows > 0 {
            let (batch, used) = match self.current.take() {
                Some(current) => current,
                None => match self.batches.next() {
                    Some(batch) => (batch?, 0),
                    None => {
                        return Err(ArchiveError::Encode {
                            message: "an object has fewer rows than keys".to_owned(),
                        });
                    }
                },
            };
            let piece = batch.slice(used, rows.min(batch.num_rows() - used));
            rows -= piece.num_rows();
            let used = used + piece.num_rows();
            if used < batch.num_rows() {
                self.current = Some((batch, used));
            }
            pieces.push(piece);
        }
        Ok(pieces)
    }
}

/// The rows of a part of the order that stay: those of each object are its next ones.
fn gather(inputs: &mut [Input], chunk: &[Place]) -> Result<RecordBatch, ArchiveError> {
    let mut pieces: Vec<RecordBatch> = Vec::new();
    // The positions of each object's rows among the pieces.
    let mut rows: Vec<std::vec::IntoIter<(usize, usize)>> = Vec::new();
    for (number, input) in inputs.iter_mut().enumerate() {
        let of_input = chunk.iter().filter(|row| row.object as usize == number);
        let mut positions = Vec::new();
        for piece in input.take(of_input.count())? {
            positions.extend((0..piece.num_rows()).map(|row| (pieces.len(), row)));
            pieces.push(piece);
        }
        rows.push(positions.into_iter());
    }
    let order: Vec<(usize, usize)> = chunk
        .iter()
        .filter_map(|row| {
            let position = rows.get_mut(row.object as usize)?.next();
            position.filter(|_| !row.is_superseded)
        })
        .collect();
    let pieces: Vec<&RecordBatch> = pieces.iter().collect();
    interleave_record_batch(&pieces, &order).map_err(ArchiveError::encode)
}
