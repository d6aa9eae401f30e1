//! The table `events`: a stored event becomes a row, and a row an event again.

pub(crate) mod columns;
pub(crate) mod rows;
pub(crate) mod slice_builder;
pub(crate) mod verdict;
pub(crate) mod writer;
