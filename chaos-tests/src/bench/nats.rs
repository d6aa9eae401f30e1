//! The same figures of NATS JetStream: three real servers on loopback and a stream with three replicas on disk.
//!
//! Run only by name: `cargo xtask bench nats_stream nats_kill nats_power`. The server is the one that
//! `RINGTAIL_NATS_SERVER` names, which `cargo xtask` sets, else `nats-server` of the path. Debian 12's (2.9) does not know
//! `sync_interval`, so with it the figures that sync each message are left out.

pub(super) mod kill;
pub(super) mod power;
pub(super) mod stream;

mod connection;
mod load;
mod servers;
