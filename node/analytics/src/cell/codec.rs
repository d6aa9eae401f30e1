//! How a table becomes bytes: one column after the other, numbers as varints.

use ringtail_proto::{CurrencyCode, Text};
use smallvec::SmallVec;

use super::{
    sums::{Cell, RevenueSum},
    table::{CellTable, Remainder},
    uniques::{Precision, Uniques},
};

/// A page that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Written by a newer binary, or not a page.
    #[error("page has version {found}, this binary knows up to {known}")]
    Version {
        /// The version found.
        found: u8,
        /// The newest version known.
        known: u8,
    },
    /// Ends too early.
    #[error("page is truncated")]
    Truncated,
    /// Says what no page can say.
    #[error("page is malformed: {0}")]
    Malformed(&'static str),
    /// The compressed part is damaged.
    #[error("page cannot be decompressed: {0}")]
    Compression(String),
}

/// More values than this in one table are damage, not data: hot hours keep 10,000.
const TABLE_VALUES_MAX: u64 = 1 << 20;

/// Sums as they stand in a table, one column each; the order is part of the format.
const COLUMNS: [Column; 11] = [
    (|cell| cell.events, |cell| &mut cell.events),
    (|cell| cell.pageviews, |cell| &mut cell.pageviews),
    (|cell| cell.visits, |cell| &mut cell.visits),
    (|cell| cell.entrances, |cell| &mut cell.entrances),
    (|cell| cell.bounces, |cell| &mut cell.bounces),
    (|cell| cell.duration_ms, |cell| &mut cell.duration_ms),
    (
        |cell| cell.visit_pageviews,
        |cell| &mut cell.visit_pageviews,
    ),
    (|cell| cell.engaged_visits, |cell| &mut cell.engaged_visits),
    (|cell| cell.scroll_sum, |cell| &mut cell.scroll_sum),
    (|cell| cell.scroll_count, |cell| &mut cell.scroll_count),
    (|cell| cell.engaged_ms, |cell| &mut cell.engaged_ms),
];

/// How a column is read from a cell and written to it.
type Column = (fn(&Cell) -> u64, fn(&mut Cell) -> &mut u64);

/// Grows bytes.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    /// LEB128.
    pub(super) fn number(&mut self, value: u64) {
        self.wide(u128::from(value));
    }

    /// LEB128 of up to 128 bits.
    fn wide(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.0.push((value as u8 & 0x7F) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Zigzag, then LEB128.
    fn signed(&mut self, value: i128) {
        self.wide(((value << 1) ^ (value >> 127)) as u128);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Eats bytes; every step can fail, none can panic.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, PageError> {
        let (first, rest) = self.0.split_first().ok_or(PageError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, PageError> {
        // Nearly all numbers are small.
        if let [first @ 0..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(*first));
        }
        u64::try_from(self.wide()?).map_err(|_| PageError::Malformed("a number is too large"))
    }

    fn wide(&mut self) -> Result<u128, PageError> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7F);
            if shift == 126 && part > 3 {
                return Err(PageError::Malformed("a number is too large"));
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(PageError::Malformed("a number does not end"))
    }

    fn signed(&mut self) -> Result<i128, PageError> {
        let value = self.wide()?;
        Ok((value >> 1) as i128 ^ -((value & 1) as i128))
    }

    /// A number that counts things which take at least one byte each.
    pub(super) fn count(&mut self) -> Result<usize, PageError> {
        let count = self.number()?;
        if count > self.0.len() as u64 {
            return Err(PageError::Truncated);
        }
        Ok(count as usize)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], PageError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(PageError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PageError> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| PageError::Truncated)
    }
}

/// Number of values, whether there is a remainder (its number of values plus one, or 0), the lengths of the values,
/// their bytes, each column of sums, money, visitors. The remainder's cell is the last of each column.
pub(super) fn encode_table(table: &CellTable) -> Vec<u8> {
    let mut writer = Writer::default();
    let remainder = table.remainder();
    writer.number(table.cells().len() as u64);
    writer.number(remainder.map_or(0, |remainder| remainder.values.saturating_add(1)));
    for (value, _) in table.cells() {
        writer.number(value.len() as u64);
    }
    for (value, _) in table.cells() {
        writer.bytes(value.as_bytes());
    }
    let cells = || {
        let kept = table.cells().iter().map(|(_, cell)| cell);
        kept.chain(remainder.map(|remainder| &remainder.cell))
    };
    for (read, _) in COLUMNS {
        cells().for_each(|cell| writer.number(read(cell)));
    }
    for cell in cells() {
        writer.number(cell.revenue.len() as u64);
        for sum in &cell.revenue {
            writer.bytes(sum.currency.bytes());
            writer.signed(sum.amount_micros);
        }
    }
    cells().for_each(|cell| cell.visitors.encode(&mut writer));
    writer.0
}

/// Reads what [`encode_table`] wrote, to the last byte.
pub(super) fn decode_table(bytes: &[u8], precision: Precision) -> Result<CellTable, PageError> {
    let mut reader = Reader(bytes);
    let count = reader.count()?;
    if count as u64 > TABLE_VALUES_MAX {
        return Err(PageError::Malformed("too many values"));
    }
    let remainder_values = reader.number()?;
    let values = decode_values(&mut reader, count)?;
    let cells_in_all = count + usize::from(remainder_values > 0);
    let mut cells = vec![Cell::new(precision); cells_in_all];
    for (_, write) in COLUMNS {
        for cell in &mut cells {
            *write(cell) = reader.number()?;
        }
    }
    for cell in &mut cells {
        cell.revenue = decode_revenue(&mut reader)?;
    }
    for cell in &mut cells {
        cell.visitors = Uniques::decode(&mut reader, precision)?;
    }
    if !reader.0.is_empty() {
        return Err(PageError::Malformed("bytes follow the table"));
    }
    let remainder = (remainder_values > 0)
        .then(|| cells.pop())
        .flatten()
        .map(|cell| Remainder {
            values: remainder_values - 1,
            cell,
        });
    let cells = values.into_iter().zip(cells).collect();
    Ok(CellTable::from_cells(cells, remainder, precision))
}

/// The values, which have to be sorted and distinct. One allocation holds them all.
fn decode_values(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Text>, PageError> {
    let mut lengths = Vec::with_capacity(count);
    let mut total = 0_usize;
    for _ in 0..count {
        let length = reader.number()?;
        let length = usize::try_from(length).map_err(|_| PageError::Truncated)?;
        total = total.checked_add(length).ok_or(PageError::Truncated)?;
        lengths.push(length);
    }
    let mut shared = bytes::Bytes::copy_from_slice(reader.bytes(total)?);
    let mut values: Vec<Text> = Vec::with_capacity(count);
    for length in lengths {
        let bytes = shared.split_to(length);
        if std::str::from_utf8(&bytes).is_err() {
            return Err(PageError::Malformed("a value is not UTF-8"));
        }
        let value = Text::from_bytes(bytes);
        if values.last().is_some_and(|last| *last >= value) {
            return Err(PageError::Malformed("values are not in order"));
        }
        values.push(value);
    }
    Ok(values)
}

fn decode_revenue(reader: &mut Reader<'_>) -> Result<SmallVec<[RevenueSum; 1]>, PageError> {
    let mut sums: SmallVec<[RevenueSum; 1]> = SmallVec::new();
    for _ in 0..reader.count()? {
        let letters: [u8; 3] = reader.array()?;
        let currency = CurrencyCode::parse(&letters)
            .ok_or(PageError::Malformed("a currency is not three letters"))?;
        if sums.last().is_some_and(|last| last.currency >= currency) {
            return Err(PageError::Malformed("currencies are not in order"));
        }
        let amount_micros = reader.signed()?;
        sums.push(RevenueSum {
            currency,
            amount_micros,
        });
    }
    Ok(sums)
}
