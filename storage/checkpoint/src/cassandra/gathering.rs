//! Rows put together from the cells that the servers give.

use bytes::Bytes;

use super::{
    MirrorError,
    cells::{self, First, FirstChunk, damaged},
};

/// A piece of a partition as of one version.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Keys and values, ascending.
    pub(super) rows: Vec<(Bytes, Bytes)>,
    /// The last key that was looked at when there may be more.
    pub(super) last: Option<Bytes>,
}

/// Puts rows together from cells that come by key, version descending, chunk.
pub(super) struct Gathering<'pin> {
    version_max: i64,
    left_out: &'pin [i64],
    rows: Vec<(Bytes, Bytes)>,
    pub(super) bytes: usize,
    /// The row at hand, and its newest version at or below the pin once it came.
    current: Option<(Bytes, Option<Current>)>,
}

struct Current {
    version: i64,
    first: Option<FirstChunk>,
    rest: Vec<(i32, Bytes)>,
}

impl<'pin> Gathering<'pin> {
    pub(super) const fn new(version_max: i64, left_out: &'pin [i64]) -> Self {
        Self {
            version_max,
            left_out,
            rows: Vec::new(),
            bytes: 0,
            current: None,
        }
    }

    pub(super) fn is_new_row(&self, key: &Bytes) -> bool {
        self.current
            .as_ref()
            .is_none_or(|(current, _)| current != key)
    }

    pub(super) fn take(
        &mut self,
        key: Bytes,
        version: i64,
        chunk: i32,
        value: Bytes,
    ) -> Result<(), MirrorError> {
        if self.is_new_row(&key) {
            self.close_row()?;
            self.current = Some((key.clone(), None));
        }
        let Some((_, row)) = &mut self.current else {
            return Ok(());
        };
        match row {
            None if version <= self.version_max && !self.left_out.contains(&version) => {
                *row = Some(Current {
                    version,
                    first: first_of(&key, version, chunk, value)?.value,
                    rest: Vec::new(),
                });
            }
            Some(current) if current.version == version => {
                self.bytes += value.len();
                current.rest.push((chunk, value));
            }
            // Above the pin, left out, or superseded.
            _ => {}
        }
        Ok(())
    }

    fn close_row(&mut self) -> Result<(), MirrorError> {
        let Some((key, Some(current))) = self.current.take() else {
            return Ok(());
        };
        if let Some(first) = current.first {
            let value = join(&key, current.version, first, &current.rest)?;
            self.bytes += key.len() + value.len();
            self.rows.push((key, value));
        }
        Ok(())
    }

    pub(super) fn finish(mut self, is_cut: bool) -> Result<Piece, MirrorError> {
        let last = self.current.as_ref().map(|(key, _)| key.clone());
        self.close_row()?;
        Ok(Piece {
            rows: self.rows,
            last: last.filter(|_| is_cut),
        })
    }
}

pub(super) fn first_of(
    key: &[u8],
    version: i64,
    chunk: i32,
    value: Bytes,
) -> Result<First, MirrorError> {
    if chunk != 0 {
        let message = format!("it begins with chunk {chunk}");
        return Err(damaged(key, version, message));
    }
    cells::read_first(value).map_err(|message| damaged(key, version, message))
}

pub(super) fn join(
    key: &[u8],
    version: i64,
    first: FirstChunk,
    rest: &[(i32, Bytes)],
) -> Result<Bytes, MirrorError> {
    let joined = first.join(rest);
    joined.map_err(|message| damaged(key, version, message))
}
