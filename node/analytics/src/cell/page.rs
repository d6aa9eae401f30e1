//! Cells at rest: one page for an hour and all dimensions, or for a day or month and one dimension.

use std::io::Read;

use bytes::Bytes;

use super::{
    codec::{PageError, Reader, Writer, decode_table, encode_table},
    table::{CellTable, PAGE_VALUES_MAX},
};
use crate::{
    Dimension,
    compression::{compress, decompress},
};

/// The format that this binary writes: the first byte of each page.
const PAGE_VERSION: u8 = 1;
/// zstd's own default: a third of the work of level 9 for a tenth more bytes.
const COMPRESSION_LEVEL: i32 = 3;
/// A table that decompresses to more than this is damage, not data.
const TABLE_BYTES_MAX: usize = 64 << 20;
/// Tables of less than this together are compressed as one: small hours are many, and each frame costs 13 bytes.
const SINGLE_FRAME_BYTES_MAX: usize = 8 << 10;

/// How the tables of an hour page are packed.
const PACKED_TOGETHER: u8 = 0;
const PACKED_APART: u8 = 1;

/// The cells of one hour, all dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourPage {
    /// Sorted by the code of the dimension; empty tables left out.
    tables: Vec<(Dimension, CellTable)>,
}

impl HourPage {
    /// Takes the tables of an hour in any order, each dimension once.
    #[must_use]
    pub fn new(mut tables: Vec<(Dimension, CellTable)>) -> Self {
        tables.retain(|(_, table)| !table.is_empty());
        tables.sort_by_key(|(dimension, _)| dimension.code());
        Self { tables }
    }

    /// The tables, sorted by the code of their dimension.
    #[must_use]
    pub fn tables(&self) -> &[(Dimension, CellTable)] {
        &self.tables
    }

    /// The table of one dimension; none when nothing has a value in it.
    #[must_use]
    pub fn table(&self, dimension: Dimension) -> Option<&CellTable> {
        let found = self.tables.iter().find(|(known, _)| *known == dimension);
        found.map(|(_, table)| table)
    }

    /// The page's bytes: version, packing, number of tables, their codes and lengths, their bytes. Keeps
    /// [`PAGE_VALUES_MAX`] values of each dimension; the others join the remainder.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let tables: Vec<(u32, Vec<u8>)> = self
            .tables
            .iter()
            .map(|(dimension, table)| {
                let kept = table.clone().cut(PAGE_VALUES_MAX);
                (dimension.code(), encode_table(&kept))
            })
            .collect();
        let length: usize = tables.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut page = Writer(vec![PAGE_VERSION]);
        if length <= SINGLE_FRAME_BYTES_MAX {
            page.bytes(&[PACKED_TOGETHER]);
            page.bytes(&pack(&frame(&tables)));
        } else {
            let packed: Vec<(u32, Vec<u8>)> = tables
                .into_iter()
                .map(|(code, bytes)| (code, pack(&bytes)))
                .collect();
            page.bytes(&[PACKED_APART]);
            page.bytes(&frame(&packed));
        }
        Bytes::from(page.0)
    }

    /// Reads a whole page.
    ///
    /// # Errors
    /// When the bytes are no page of a version that this binary knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let mut tables = Vec::new();
        for dimension in page_dimensions() {
            let table = Self::decode_dimension(bytes, dimension)?;
            tables.extend(table.map(|table| (dimension, table)));
        }
        Ok(Self { tables })
    }

    /// Reads the table of one dimension and leaves the others compressed; none when nothing has a value in it.
    ///
    /// # Errors
    /// When the bytes are no page of a version that this binary knows.
    pub fn decode_dimension(
        bytes: &[u8],
        dimension: Dimension,
    ) -> Result<Option<CellTable>, PageError> {
        let mut reader = Reader(bytes);
        check_version(&mut reader)?;
        let precision = CellTable::precision_of(dimension);
        match reader.byte()? {
            PACKED_TOGETHER => {
                let tables = unpack(reader.0)?;
                let table = find(&mut Reader(&tables), dimension.code())?;
                table
                    .map(|table| decode_table(table, precision))
                    .transpose()
            }
            PACKED_APART => match find(&mut reader, dimension.code())? {
                Some(packed) => Ok(Some(decode_table(&unpack(packed)?, precision)?)),
                None => Ok(None),
            },
            _ => Err(PageError::Malformed("its packing is not known")),
        }
    }
}

/// The cells of one dimension over one local day or month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DimensionPage {
    /// The cells; at most [`PAGE_VALUES_MAX`] values and a remainder once encoded.
    pub table: CellTable,
}

impl DimensionPage {
    /// Merges pages of the same dimension and keeps the heaviest values; totals stay exact.
    #[must_use]
    pub fn merge<'a>(
        dimension: Dimension,
        tables: impl IntoIterator<Item = &'a CellTable>,
    ) -> Self {
        let precision = CellTable::precision_of(dimension);
        Self {
            table: CellTable::merge_all(precision, tables).cut(PAGE_VALUES_MAX),
        }
    }

    /// The page's bytes: version, then the compressed table.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut page = vec![PAGE_VERSION];
        page.extend(pack(&encode_table(&self.table)));
        Bytes::from(page)
    }

    /// Reads a page of a dimension.
    ///
    /// # Errors
    /// When the bytes are no page of a version that this binary knows.
    pub fn decode(bytes: &[u8], dimension: Dimension) -> Result<Self, PageError> {
        let mut reader = Reader(bytes);
        check_version(&mut reader)?;
        let table = decode_table(&unpack(reader.0)?, CellTable::precision_of(dimension))?;
        Ok(Self { table })
    }
}

/// Every dimension that a page can hold, in the order of its code.
pub fn page_dimensions() -> impl Iterator<Item = Dimension> {
    let properties = (0..Dimension::PROPERTY_SLOTS).map(Dimension::Property);
    Dimension::ALL.into_iter().chain(properties)
}

fn check_version(reader: &mut Reader<'_>) -> Result<(), PageError> {
    match reader.byte()? {
        PAGE_VERSION => Ok(()),
        found => Err(PageError::Version {
            found,
            known: PAGE_VERSION,
        }),
    }
}

/// Number of tables, code and length of each, then their bytes.
fn frame(tables: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.number(tables.len() as u64);
    for (code, bytes) in tables {
        writer.number(u64::from(*code));
        writer.number(bytes.len() as u64);
    }
    for (_, bytes) in tables {
        writer.bytes(bytes);
    }
    writer.0
}

/// The bytes of the table with this code.
fn find<'a>(reader: &mut Reader<'a>, code: u32) -> Result<Option<&'a [u8]>, PageError> {
    let mut found = None;
    let mut offset = 0_usize;
    for _ in 0..reader.count()? {
        let known = reader.number()?;
        let length = reader.count()?;
        if known == u64::from(code) {
            found = Some((offset, length));
        }
        offset = offset.checked_add(length).ok_or(PageError::Truncated)?;
    }
    let Some((offset, length)) = found else {
        return Ok(None);
    };
    reader.bytes(offset)?;
    reader.bytes(length).map(Some)
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    compress(bytes, COMPRESSION_LEVEL)
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, PageError> {
    let failed = |error: std::io::Error| PageError::Compression(error.to_string());
    let size = zstd::zstd_safe::get_frame_content_size(bytes);
    if let Ok(Some(size)) = size
        && size <= TABLE_BYTES_MAX as u64
    {
        return decompress(bytes, size as usize).map_err(failed);
    }
    let mut decoded = Vec::new();
    zstd::stream::read::Decoder::new(bytes)
        .map_err(failed)?
        .take(TABLE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut decoded)
        .map_err(failed)?;
    if decoded.len() > TABLE_BYTES_MAX {
        return Err(PageError::Malformed("a table is too large"));
    }
    Ok(decoded)
}
