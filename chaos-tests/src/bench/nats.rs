//! The same figures of NATS JetStream: three real servers on loopback and a stream with three replicas on disk.
//!
//! Runs only by name: `cargo xtask bench nats_stream nats_kill`. The server is the one that `RINGTAIL_NATS_SERVER` names,
//! else `nats-server` of the path. Debian 12's (2.9) cannot sync each message, which is then said and left out.

pub(super) mod kill;
pub(super) mod stream;

mod connection;
mod load;
mod servers;
