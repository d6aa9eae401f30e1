//! The tables that events point into.

use bytes::Bytes;
use ringtail_proto::stored::{Acquisition, Client, EventBatch, Place};

/// A batch's tables with the rows that rules added behind them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchTables<'a> {
    batch: &'a EventBatch,
    more_texts: &'a [Bytes],
    more_acquisitions: &'a [Acquisition],
}

impl<'a> BatchTables<'a> {
    pub(crate) const fn new(
        batch: &'a EventBatch,
        more_texts: &'a [Bytes],
        more_acquisitions: &'a [Acquisition],
    ) -> Self {
        Self {
            batch,
            more_texts,
            more_acquisitions,
        }
    }

    pub(crate) const fn of(batch: &'a EventBatch) -> Self {
        Self::new(batch, &[], &[])
    }

    pub(crate) fn text(&self, position: u32) -> Option<&'a Bytes> {
        row(&self.batch.texts, self.more_texts, position)
    }

    pub(crate) fn client(&self, position: u32) -> Option<&'a Client> {
        self.batch.clients.get(position as usize)
    }

    pub(crate) fn place(&self, position: u32) -> Option<&'a Place> {
        self.batch.places.get(position as usize)
    }

    pub(crate) fn acquisition(&self, position: u32) -> Option<&'a Acquisition> {
        row(&self.batch.acquisitions, self.more_acquisitions, position)
    }

    pub(crate) const fn clients(&self) -> usize {
        self.batch.clients.len()
    }

    pub(crate) const fn places(&self) -> usize {
        self.batch.places.len()
    }

    pub(crate) const fn acquisitions(&self) -> usize {
        self.batch.acquisitions.len() + self.more_acquisitions.len()
    }
}

fn row<'a, T>(rows: &'a [T], more: &'a [T], position: u32) -> Option<&'a T> {
    let position = position as usize;
    match position.checked_sub(rows.len()) {
        None => rows.get(position),
        Some(behind) => more.get(behind),
    }
}
