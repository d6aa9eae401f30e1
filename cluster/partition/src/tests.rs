//! The partition over a small machine that adds numbers, on a log in memory that outlives its processes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod adding_machine;
mod archive;
mod bad_snapshots;
mod crashes;
mod duties;
mod generations;
mod lives;
mod logged;
mod mirroring;
mod poison;
mod sites;
mod snapshots;
mod world;
