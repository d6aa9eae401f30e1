//! A received snapshot in a file.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `RTSNAP` and a version of two bytes |
//! | frame | what the snapshot is (the adapter's bytes) |
//! | frames | parts: for each row the length of its key, the key, the length of its value, the value |
//! | frame | of no bytes: the end |
//! | 32 | BLAKE3 of everything before |
//!
//! A frame is its length in four bytes, little-endian, and its bytes.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ringtail_log::{Disk, DiskFile};

use super::SnapshotPart;
use super::staging::Turn;

const MAGIC: &[u8; 8] = b"RTSNAP\0\x01";
/// Largest frame; a part holds one row at least, whatever its size.
const FRAME_BYTES_MAX: u32 = 64 << 20;
const HASH_BYTES: usize = 32;
/// Parts of a broken transfer that are offered.
const HELD_PARTS_MAX: usize = 65_536;

/// What a part is known by: the first half of its BLAKE3.
pub(crate) type PartHash = [u8; 16];

/// A complete and checked snapshot on disk.
pub(crate) struct StagedFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    meta: Bytes,
    /// Where the first part begins.
    parts_at: u64,
    /// Until it is used no other one of its group may take its place.
    _turn: Option<Turn>,
}

impl StagedFile {
    /// Opens a file and checks all of it. Blocks.
    pub(crate) fn open(disk: &dyn Disk, path: PathBuf) -> io::Result<Self> {
        let file = disk.open(&path)?;
        let mut reader = Reader::new(&*file)?;
        let meta = reader.frame()?.ok_or_else(|| damaged("it is empty"))?;
        let parts_at = reader.offset;
        while let Some(frame) = reader.frame()? {
            parse_part(frame)?;
        }
        reader.check_hash()?;
        Ok(Self {
            file,
            path,
            meta,
            parts_at,
            _turn: None,
        })
    }

    /// The same file, at the path of those that have arrived whole.
    pub(super) fn arrived(self, path: PathBuf, turn: Turn) -> Self {
        Self {
            path,
            _turn: Some(turn),
            ..self
        }
    }

    /// What the snapshot is.
    pub(crate) fn meta(&self) -> &Bytes {
        &self.meta
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// The part at an offset and where the next one is; `None` at the end. Begin at [`Self::parts_at`]. Blocks.
    pub(crate) fn part_at(&self, offset: u64) -> io::Result<Option<(SnapshotPart, u64)>> {
        match read_frame(&*self.file, offset)? {
            Some(frame) => {
                let next = offset + 4 + frame.len() as u64;
                Ok(Some((parse_part(frame)?, next)))
            }
            None => Ok(None),
        }
    }

    pub(crate) fn parts_at(&self) -> u64 {
        self.parts_at
    }
}

/// Writes such a file.
pub(crate) struct StagedWriter {
    file: Arc<dyn DiskFile>,
    offset: u64,
    hasher: blake3::Hasher,
}

impl StagedWriter {
    /// Blocks.
    pub(crate) fn create(disk: &dyn Disk, path: &std::path::Path, meta: &[u8]) -> io::Result<Self> {
        let mut writer = Self {
            file: disk.create(path)?,
            offset: 0,
            hasher: blake3::Hasher::new(),
        };
        writer.write(MAGIC)?;
        writer.frame(meta)?;
        Ok(writer)
    }

    /// Blocks.
    pub(crate) fn put(&mut self, part: &SnapshotPart) -> io::Result<()> {
        let bytes = part_bytes(part)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.frame(&bytes)
    }

    /// Ends the file; it is on disk on return. Blocks.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.frame(&[])?;
        let hash = *self.hasher.finalize().as_bytes();
        self.write(&hash)?;
        self.file.sync_data()
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(damaged(format!("a part of {length} bytes is too large")));
        }
        self.write(&length.to_le_bytes())?;
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file
            .write_all_at(&mut [IoSlice::new(bytes)], self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// A part as a frame holds it.
pub(super) fn part_bytes(part: &SnapshotPart) -> io::Result<Bytes> {
    let mut bytes = BytesMut::new();
    for (key, value) in &part.rows {
        for field in [key, value] {
            let length = u32::try_from(field.len()).map_err(|_| damaged("a row is too large"))?;
            bytes.put_u32_le(length);
            bytes.put_slice(field);
        }
    }
    Ok(bytes.freeze())
}

/// What a part is known by.
pub(super) fn part_hash(frame: &[u8]) -> PartHash {
    let mut hash = PartHash::default();
    let whole = blake3::hash(frame);
    for (byte, found) in hash.iter_mut().zip(whole.as_bytes()) {
        *byte = *found;
    }
    hash
}

/// The parts of a file whose transfer broke, by their hashes.
#[derive(Default)]
pub(super) struct BrokenFile {
    file: Option<Arc<dyn DiskFile>>,
    offsets: HashMap<PartHash, u64>,
}

impl BrokenFile {
    /// Reads what is there, up to where it is cut. Blocks.
    pub(super) fn read(disk: &dyn Disk, path: &std::path::Path) -> io::Result<Self> {
        let file = disk.open(path)?;
        let mut offsets = HashMap::new();
        {
            let mut reader = Reader::new(&*file)?;
            reader.frame()?;
            let mut offset = reader.offset;
            while let Ok(Some(frame)) = reader.frame() {
                if offsets.len() >= HELD_PARTS_MAX {
                    break;
                }
                offsets.insert(part_hash(&frame), offset);
                offset = reader.offset;
            }
        }
        let file = Some(file);
        Ok(Self { file, offsets })
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = &PartHash> {
        self.offsets.keys()
    }

    /// A part, checked against its hash; none when it is not held. Blocks.
    pub(super) fn part(&self, hash: &PartHash) -> io::Result<Option<SnapshotPart>> {
        let (Some(file), Some(offset)) = (&self.file, self.offsets.get(hash)) else {
            return Ok(None);
        };
        let frame = read_frame(&**file, *offset)?.unwrap_or_default();
        match part_hash(&frame) == *hash {
            true => parse_part(frame).map(Some),
            false => Err(damaged("a part is no longer what it was")),
        }
    }
}

/// Reads frames in order and hashes what it reads.
struct Reader<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
    hasher: blake3::Hasher,
}

impl<'a> Reader<'a> {
    fn new(file: &'a dyn DiskFile) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)?;
        if magic != *MAGIC {
            return Err(damaged(format!("it begins with {magic:?}")));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&magic);
        Ok(Self {
            file,
            offset: MAGIC.len() as u64,
            hasher,
        })
    }

    fn frame(&mut self) -> io::Result<Option<Bytes>> {
        let frame = read_frame(self.file, self.offset)?;
        let bytes = frame.clone().unwrap_or_default();
        self.hasher.update(&(bytes.len() as u32).to_le_bytes());
        self.hasher.update(&bytes);
        self.offset += 4 + bytes.len() as u64;
        Ok(frame)
    }

    fn check_hash(&self) -> io::Result<()> {
        let mut found = [0; HASH_BYTES];
        self.file.read_exact_at(&mut found, self.offset)?;
        if self.hasher.finalize() != found {
            return Err(damaged("its hash is another"));
        }
        Ok(())
    }
}

fn read_frame(file: &dyn DiskFile, offset: u64) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    file.read_exact_at(&mut length, offset)?;
    let length = u32::from_le_bytes(length);
    if length > FRAME_BYTES_MAX {
        return Err(damaged(format!("a part of {length} bytes is too large")));
    }
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, offset + 4)?;
    Ok(Some(bytes.into()))
}

fn parse_part(mut bytes: Bytes) -> io::Result<SnapshotPart> {
    let mut part = SnapshotPart::default();
    while bytes.has_remaining() {
        let key = take_field(&mut bytes)?;
        let value = take_field(&mut bytes)?;
        part.rows.push((key, value));
    }
    Ok(part)
}

fn take_field(bytes: &mut Bytes) -> io::Result<Bytes> {
    let length = bytes
        .try_get_u32_le()
        .map_err(|_| damaged("a row is cut short"))? as usize;
    if length > bytes.len() {
        return Err(damaged("a row is cut short"));
    }
    Ok(bytes.split_to(length))
}

fn damaged(reason: impl ToString) -> io::Error {
    let text = format!("staged snapshot is damaged: {}", reason.to_string());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ringtail_log::FaultDisk;

    use super::*;

    fn part(rows: &[(&'static str, &'static str)]) -> SnapshotPart {
        let rows = rows.iter().map(|(key, value)| {
            (
                Bytes::from_static(key.as_bytes()),
                Bytes::from_static(value.as_bytes()),
            )
        });
        SnapshotPart {
            rows: rows.collect(),
        }
    }

    fn write(disk: &FaultDisk, parts: &[SnapshotPart]) -> PathBuf {
        let path = PathBuf::from("/snapshots/1.staged");
        disk.create_directory(Path::new("/snapshots"))
            .expect("a fresh disk");
        let mut writer = StagedWriter::create(disk, &path, b"meta").expect("a fresh disk");
        for part in parts {
            writer.put(part).expect("a fresh disk");
        }
        writer.finish().expect("a fresh disk");
        path
    }

    #[test]
    fn what_was_written_is_read_back() {
        let disk = FaultDisk::new();
        let parts = [part(&[("a", "1"), ("b", "")]), part(&[("c", "3")])];
        let file = StagedFile::open(&disk, write(&disk, &parts)).expect("just written");
        assert_eq!(file.meta(), "meta");
        let mut offset = file.parts_at();
        for expect in parts {
            let (found, next) = file.part_at(offset).expect("checked").expect("one more");
            assert_eq!(found, expect);
            offset = next;
        }
        assert_eq!(file.part_at(offset).expect("checked"), None);
    }

    #[test]
    fn what_arrived_before_a_break_is_held_and_what_is_torn_is_not() {
        let disk = FaultDisk::new();
        let parts = [part(&[("a", "1"), ("b", "")]), part(&[("c", "3")])];
        let path = write(&disk, &parts);
        let file = disk.open(&path).expect("just written");
        let whole = BrokenFile::read(&disk, &path).expect("a healthy disk");
        assert_eq!(whole.hashes().count(), 2);
        // The end, its hash, and the last byte of the second part.
        let cut = file.bytes().expect("just written") - 4 - HASH_BYTES as u64 - 1;
        file.truncate(cut).expect("a healthy disk");
        let broken = BrokenFile::read(&disk, &path).expect("a healthy disk");
        let held: Vec<_> = broken.hashes().copied().collect();
        let [first, second] = &parts;
        let hash_of = |part| part_hash(&part_bytes(part).expect("small rows"));
        assert_eq!(held, [hash_of(first)]);
        let part = broken.part(&hash_of(first)).expect("a healthy disk");
        assert_eq!(part.as_ref(), Some(first));
        assert_eq!(broken.part(&hash_of(second)).expect("it is not held"), None);
    }

    #[test]
    fn no_flipped_byte_and_no_cut_passes() {
        let disk = FaultDisk::new();
        let path = write(&disk, &[part(&[("key", "value")])]);
        let file = disk.open(&path).expect("just written");
        let length = file.bytes().expect("just written");
        let mut whole = vec![0; length as usize];
        file.read_exact_at(&mut whole, 0).expect("just written");
        for position in 0..whole.len() {
            let mut bent = whole.clone();
            if let Some(byte) = bent.get_mut(position) {
                *byte ^= 1;
            }
            file.write_all_at(&mut [IoSlice::new(&bent)], 0)
                .expect("a healthy disk");
            assert!(
                StagedFile::open(&disk, path.clone()).is_err(),
                "byte {position}"
            );
        }
        file.write_all_at(&mut [IoSlice::new(&whole)], 0)
            .expect("a healthy disk");
        assert!(StagedFile::open(&disk, path.clone()).is_ok());
        for cut in 0..length {
            file.truncate(cut).expect("a healthy disk");
            assert!(
                StagedFile::open(&disk, path.clone()).is_err(),
                "cut at {cut}"
            );
            file.write_all_at(&mut [IoSlice::new(&whole)], 0)
                .expect("a healthy disk");
        }
    }
}
