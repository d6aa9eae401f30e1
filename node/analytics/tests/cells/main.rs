//! Cells keep their promises: they fold the same however rows are split, merge in any order, and survive their bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod fold;
mod pages;
mod roll_up;
mod sample;
mod uniques;
