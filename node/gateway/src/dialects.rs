//! Collect: the formats in which events arrive, one file each. A dialect understands; it decides nothing.

pub(crate) mod access_log;
pub(crate) mod collector;
pub(crate) mod events;
pub(crate) mod fields;
pub(crate) mod pixel;
pub(crate) mod plausible;
