//! What a site's actor is asked.

use std::{marker::PhantomData, sync::Arc};

use actix::Message;
use ringtail_checkpoint::SiteReader;
use ringtail_proto::{LogIndex, RowWrite, UnixMillis};

use crate::{SiteError, SiteMachine, entry::Slice};

/// Applies slices in order; answers one code for each event.
#[derive(Clone)]
pub(crate) struct Apply {
    /// Shared, so that it can be sent again to a new actor when this one has ended.
    pub(crate) slices: Arc<[Slice]>,
}

impl Message for Apply {
    type Result = Result<Vec<u8>, SiteError>;
}

/// Takes a handle for a query together with the rows of the same moment.
pub(crate) struct View<M>(PhantomData<fn() -> M>);

impl<M> View<M> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M: SiteMachine> Message for View<M> {
    type Result = Result<ViewAt<M>, SiteError>;
}

/// A handle on a site's state, and its rows as of the same moment.
pub struct ViewAt<M: SiteMachine> {
    /// The state in memory.
    pub view: M::View,
    /// Everything else.
    pub reader: SiteReader,
    /// All entries of the partition up to here are included.
    pub index: LogIndex,
    /// The highest stamp up to there.
    pub stamp: UnixMillis,
}

/// Writes a dirty state.
pub(crate) struct Checkpoint;

impl Message for Checkpoint {
    type Result = Result<Written, SiteError>;
}

/// What a checkpoint wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows put or removed; 0 when the site was clean.
    pub rows: usize,
    /// Bytes of values.
    pub value_bytes: u64,
    /// Pages are among the rows, so days or months may want rolling up.
    pub has_pages: bool,
}

impl Written {
    /// Takes another one into account.
    pub(crate) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.value_bytes += other.value_bytes;
        self.has_pages |= other.has_pages;
    }
}

/// Asks for the rows that background work starts from, and their revision.
pub(crate) struct BeginRollUp;

impl Message for BeginRollUp {
    type Result = Result<(SiteReader, u64), SiteError>;
}

/// Writes what background work gave, unless the rows have changed since; answers whether it did.
pub(crate) struct FinishRollUp {
    pub(crate) revision: u64,
    pub(crate) writes: Vec<RowWrite>,
}

impl Message for FinishRollUp {
    type Result = Result<bool, SiteError>;
}

/// Ends the actor when the site is clean and was not used after this time; answers whether it did.
pub(crate) struct Rest {
    pub(crate) used_at_ms_max: u64,
}

impl Message for Rest {
    type Result = bool;
}

/// Asks for the canonical hash.
pub(crate) struct Hash;

impl Message for Hash {
    type Result = Result<HashAt, SiteError>;
}

/// A canonical hash, and the index of the last entry of the site that it includes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashAt {
    pub(crate) hash: [u8; 32],
    pub(crate) index: LogIndex,
}
