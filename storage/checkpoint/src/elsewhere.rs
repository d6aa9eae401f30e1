//! Hour pages whose values rest elsewhere.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use ringtail_proto::{RowReadError, SiteGeneration, SiteRow};
use xxhash_rust::xxh3::xxh3_128;

/// No page begins with it: pages begin with their version.
const MARK: u8 = 0xff;
const BYTES: usize = 1 + 8 + 16;

/// What stands in the place of a page that rests elsewhere: which bytes it has there. So whatever is read from there is
/// the page or an error, never another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stub {
    bytes: u64,
    hash: u128,
}

impl Stub {
    /// The one for a page.
    #[must_use]
    pub fn of(page: &[u8]) -> Self {
        Self {
            bytes: page.len() as u64,
            hash: xxh3_128(page),
        }
    }

    /// As it rests in the page's row.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut value = BytesMut::with_capacity(BYTES);
        value.put_u8(MARK);
        value.put_u64(self.bytes);
        value.put_u128(self.hash);
        value.freeze()
    }

    /// Reads what a row holds; none when it holds a page.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (mark, rest) = value.split_first()?;
        let (bytes, hash) = rest.split_first_chunk::<8>()?;
        let hash = <[u8; 16]>::try_from(hash).ok()?;
        (*mark == MARK).then(|| Self {
            bytes: u64::from_be_bytes(*bytes),
            hash: u128::from_be_bytes(hash),
        })
    }

    /// True for the page that it stands for.
    #[must_use]
    pub fn is_of(self, page: &[u8]) -> bool {
        self == Self::of(page)
    }
}

/// Gives pages that rest elsewhere. Calls block, for as long as it takes to ask there.
pub trait Elsewhere: Send + Sync {
    /// The pages of a site in these rows, in their order.
    ///
    /// # Errors
    /// When one of them is not to be had now; the message says of which days it is.
    fn fetch(
        &self,
        site: SiteGeneration,
        pages: &[(SiteRow, Stub)],
    ) -> Result<Vec<Bytes>, RowReadError>;
}

/// How a reader deals with stubs.
#[derive(Clone)]
pub(crate) enum Resolving {
    /// It gives them as they are.
    Not,
    /// It gives the pages that they stand for; where there is nobody to ask, an error.
    From(Option<Arc<dyn Elsewhere>>),
}

impl Resolving {
    /// The values of rows, with pages in the place of stubs.
    pub(crate) fn resolve(
        &self,
        site: SiteGeneration,
        rows: &mut [(SiteRow, Bytes)],
    ) -> Result<(), RowReadError> {
        let Self::From(elsewhere) = self else {
            return Ok(());
        };
        let stub = |(row, value): &(SiteRow, Bytes)| match row {
            SiteRow::Page(_) => Stub::decode(value).map(|stub| (*row, stub)),
            _ => None,
        };
        let wanted: Vec<(SiteRow, Stub)> = rows.iter().filter_map(stub).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let Some(elsewhere) = elsewhere else {
            return Err(RowReadError {
                message: "older pages rest in a mirror, and this node has none".to_owned(),
            });
        };
        let mut pages = elsewhere.fetch(site, &wanted)?.into_iter();
        for place in rows.iter_mut() {
            if let Some((row, stub)) = stub(place) {
                let page = pages.next().filter(|page| stub.is_of(page));
                place.1 = page.ok_or_else(|| RowReadError {
                    message: format!("{row:?} is not what was put elsewhere"),
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_is_known_by_its_mark_and_stands_for_one_page_only() {
        let stub = Stub::of(b"page");
        assert_eq!(Stub::decode(&stub.encode()), Some(stub));
        assert!(stub.is_of(b"page") && !stub.is_of(b"Page"));
        for other in [&b""[..], b"\x01page", b"\xff", &[0xff; 26]] {
            assert_eq!(Stub::decode(other), None, "{other:?}");
        }
    }
}
