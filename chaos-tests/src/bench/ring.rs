//! Figures of a ring of real processes on loopback.

pub(super) mod ack;
pub(super) mod idle;
pub(super) mod kill;
pub(super) mod moving;
pub(super) mod power;
pub(super) mod roll;
pub(super) mod stream;

mod beacons;
mod paced;
mod stand;
