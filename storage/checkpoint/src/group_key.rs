//! Names of a group's rows and their encoding, which keeps their order.

use std::cmp::Ordering;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ringtail_proto::{Generation, HourStart, LogIndex, SiteGeneration, SiteId, SiteRow};

use crate::StoreError;

/// The longest name of a row of the group itself.
pub const GROUP_NAME_BYTES_MAX: usize = 255;

/// Flips the sign of an instant, so that its big-endian bytes sort like the number.
const SIGN: u64 = 1 << 63;

const GROUP: u8 = 1;
const SITE: u8 = 2;
const HOT: u8 = 3;
const ROWS: u8 = 4;
const PAGE: u8 = 5;
const DAY_PAGE: u8 = 6;
const MONTH_PAGE: u8 = 7;
const IDS: u8 = 8;
const ID_FILTER: u8 = 9;
const NOTES: u8 = 10;

/// Name of one row of a group. Rows sort by kind, then site and generation, then the rest: so the site rows of all
/// sites of a group lie side by side, and so do all pages of one generation of a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GroupKey {
    /// A row of the group itself, by a short name that its owner chose.
    Group(Bytes),
    /// A row of one generation of a site.
    Site(SiteGeneration, SiteRow),
}

impl GroupKey {
    /// A row of the group itself.
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self::Group(Bytes::from_static(name.as_bytes()))
    }

    /// The key's bytes: one byte for the kind, then all fields big-endian.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(32);
        bytes.put_u8(self.kind());
        match self {
            Self::Group(name) => bytes.put_slice(name),
            Self::Site(site, row) => {
                bytes.put_u64(site.site.0);
                bytes.put_u32(site.generation.0);
                put_row(&mut bytes, *row);
            }
        }
        bytes.freeze()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for bytes that no key has.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, StoreError> {
        let whole = bytes;
        let key = take_key(&mut bytes);
        match key {
            Some(key) if bytes.is_empty() => Ok(key),
            _ => Err(StoreError::Corrupt {
                message: format!("no row has the key {whole:02x?}"),
            }),
        }
    }

    pub(crate) const fn kind(&self) -> u8 {
        match self {
            Self::Group(_) => GROUP,
            Self::Site(_, row) => kind_of(*row),
        }
    }
}

impl Ord for GroupKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.kind()
            .cmp(&other.kind())
            .then_with(|| match (self, other) {
                (Self::Group(left), Self::Group(right)) => left.cmp(right),
                (Self::Site(left, left_row), Self::Site(right, right_row)) => {
                    left.cmp(right).then_with(|| left_row.cmp(right_row))
                }
                _ => Ordering::Equal,
            })
    }
}

impl PartialOrd for GroupKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The byte in front of all rows of this kind.
pub(crate) const fn kind_of(row: SiteRow) -> u8 {
    match row {
        SiteRow::Site => SITE,
        SiteRow::Hot(..) => HOT,
        SiteRow::Rows(..) => ROWS,
        SiteRow::Page(..) => PAGE,
        SiteRow::DayPage(..) => DAY_PAGE,
        SiteRow::MonthPage(..) => MONTH_PAGE,
        SiteRow::Ids(..) => IDS,
        SiteRow::IdFilter(..) => ID_FILTER,
        SiteRow::Notes(..) => NOTES,
    }
}

/// The first and the last row that a kind can have; none for a kind that sites do not have.
pub(crate) const fn bounds_of(kind: u8) -> Option<(SiteRow, SiteRow)> {
    const FIRST: HourStart = HourStart(i64::MIN);
    const LAST: HourStart = HourStart(i64::MAX);
    match kind {
        SITE => Some((SiteRow::Site, SiteRow::Site)),
        HOT => Some((SiteRow::Hot(u8::MIN), SiteRow::Hot(u8::MAX))),
        ROWS => Some((SiteRow::Rows(FIRST), SiteRow::Rows(LAST))),
        PAGE => Some((SiteRow::Page(FIRST), SiteRow::Page(LAST))),
        DAY_PAGE => Some((
            SiteRow::DayPage(FIRST, u32::MIN),
            SiteRow::DayPage(LAST, u32::MAX),
        )),
        MONTH_PAGE => Some((
            SiteRow::MonthPage(FIRST, u32::MIN),
            SiteRow::MonthPage(LAST, u32::MAX),
        )),
        IDS => Some((
            SiteRow::Ids(FIRST, LogIndex(u64::MIN)),
            SiteRow::Ids(LAST, LogIndex(u64::MAX)),
        )),
        ID_FILTER => Some((SiteRow::IdFilter(FIRST), SiteRow::IdFilter(LAST))),
        NOTES => Some((
            SiteRow::Notes(LogIndex(u64::MIN), u32::MIN),
            SiteRow::Notes(LogIndex(u64::MAX), u32::MAX),
        )),
        _ => None,
    }
}

fn put_row(bytes: &mut BytesMut, row: SiteRow) {
    match row {
        SiteRow::Site => {}
        SiteRow::Hot(chunk) => {
            bytes.put_u8(chunk);
        }
        SiteRow::Rows(hour) | SiteRow::Page(hour) => {
            put_hour(bytes, hour);
        }
        SiteRow::DayPage(start, dimension) | SiteRow::MonthPage(start, dimension) => {
            put_hour(bytes, start);
            bytes.put_u32(dimension);
        }
        SiteRow::Ids(hour, index) => {
            put_hour(bytes, hour);
            bytes.put_u64(index.0);
        }
        SiteRow::IdFilter(hour) => put_hour(bytes, hour),
        SiteRow::Notes(index, number) => {
            bytes.put_u64(index.0);
            bytes.put_u32(number);
        }
    }
}

fn put_hour(bytes: &mut BytesMut, hour: HourStart) {
    bytes.put_u64(hour.0 as u64 ^ SIGN);
}

fn take_key(bytes: &mut &[u8]) -> Option<GroupKey> {
    let kind = bytes.try_get_u8().ok()?;
    if kind == GROUP {
        return Some(GroupKey::Group(Bytes::copy_from_slice(std::mem::take(
            bytes,
        ))));
    }
    let site = SiteGeneration {
        site: SiteId(bytes.try_get_u64().ok()?),
        generation: Generation(bytes.try_get_u32().ok()?),
    };
    Some(GroupKey::Site(site, take_row(kind, bytes)?))
}

fn take_row(kind: u8, bytes: &mut &[u8]) -> Option<SiteRow> {
    Some(match kind {
        SITE => SiteRow::Site,
        HOT => SiteRow::Hot(bytes.try_get_u8().ok()?),
        ROWS => SiteRow::Rows(take_hour(bytes)?),
        PAGE => SiteRow::Page(take_hour(bytes)?),
        DAY_PAGE => SiteRow::DayPage(take_hour(bytes)?, bytes.try_get_u32().ok()?),
        MONTH_PAGE => SiteRow::MonthPage(take_hour(bytes)?, bytes.try_get_u32().ok()?),
        IDS => SiteRow::Ids(take_hour(bytes)?, LogIndex(bytes.try_get_u64().ok()?)),
        ID_FILTER => SiteRow::IdFilter(take_hour(bytes)?),
        NOTES => SiteRow::Notes(
            LogIndex(bytes.try_get_u64().ok()?),
            bytes.try_get_u32().ok()?,
        ),
        _ => return None,
    })
}

fn take_hour(bytes: &mut &[u8]) -> Option<HourStart> {
    bytes
        .try_get_u64()
        .ok()
        .map(|flipped| HourStart((flipped ^ SIGN) as i64))
}
