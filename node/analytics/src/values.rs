//! The dictionary behind rows: texts and attribute groups, each known by its position.

use std::sync::Arc;

use ringtail_proto::{Acquisition, Client, Place, Text};

use crate::ValueId;

const CHUNK_BITS: u32 = 7;
const CHUNK_LEN: usize = 1 << CHUNK_BITS;

/// An append-only list in shared chunks: a clone costs one reference per chunk, and an append to a list that was
/// cloned copies at most one chunk.
#[derive(Debug)]
pub(crate) struct Chunked<T> {
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Clone for Chunked<T> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            len: self.len,
        }
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Clone> Chunked<T> {
    pub(crate) fn get(&self, position: ValueId) -> Option<&T> {
        self.chunks
            .get((position >> CHUNK_BITS) as usize)?
            .get(position as usize % CHUNK_LEN)
    }

    pub(crate) fn push(&mut self, value: T) -> ValueId {
        if self.len.is_multiple_of(CHUNK_LEN) {
            self.chunks.push(Arc::default());
        }
        let chunk = self.chunks.last_mut().expect("a chunk was just pushed");
        Arc::make_mut(chunk).push(value);
        self.len += 1;
        (self.len - 1) as ValueId
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

/// Texts and attribute groups of one set of rows; a cheap handle.
///
/// Raw user agents and raw referrers are empty here: they belong to events, not to what is counted.
#[derive(Clone, Debug, Default)]
pub struct Values {
    pub(crate) texts: Chunked<Text>,
    pub(crate) clients: Chunked<Client>,
    pub(crate) places: Chunked<Place>,
    pub(crate) acquisitions: Chunked<Acquisition>,
}

impl Values {
    /// The text at a position: of a page, hostname, event name, goal or property value.
    #[must_use]
    pub fn text(&self, value: ValueId) -> Option<&Text> {
        self.texts.get(value)
    }

    /// The client at a position.
    #[must_use]
    pub fn client(&self, value: ValueId) -> Option<&Client> {
        self.clients.get(value)
    }

    /// The place at a position.
    #[must_use]
    pub fn place(&self, value: ValueId) -> Option<&Place> {
        self.places.get(value)
    }

    /// The acquisition at a position.
    #[must_use]
    pub fn acquisition(&self, value: ValueId) -> Option<&Acquisition> {
        self.acquisitions.get(value)
    }
}
