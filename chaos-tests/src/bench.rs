//! Figures of speed. Each is measured on the real binary, beside a raw probe of the same machine in the same run.

mod ack_latency;
mod apply;
mod cold_build;
mod dashboard_query;
mod echo;
mod figure;
mod grpc_stream;
mod history;
mod hot_hour;
mod http_beacon;
mod idle;
mod import;
mod load;
mod log;
mod many_sites;
mod nats;
mod probe;
mod ring;
mod stand;
mod visible_latency;
mod volume;

use std::{future::Future, pin::Pin};

pub use echo::serve as serve_echo;
pub use figure::{Figure, Goal};
use nats::{kill as nats_kill, power as nats_power, stream as nats_stream};
use ring::{
    ack as ring_ack, idle as ring_idle, kill as ring_kill, moving as ring_move,
    power as ring_power, roll as ring_roll, stream as ring_stream,
};

type Measuring = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Figure>>>>>;

/// A measurement by its name.
pub struct Measurement {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// False for those that take long and run only when asked for by name.
    pub is_default: bool,
    /// Runs it.
    pub measure: fn() -> Measuring,
}

macro_rules! measurement {
    ($name:ident, $is_default:literal) => {
        Measurement {
            name: stringify!($name),
            is_default: $is_default,
            measure: || Box::pin($name::measure()),
        }
    };
}

/// All measurements, in the order in which they run.
pub const MEASUREMENTS: [Measurement; 23] = [
    measurement!(idle, true),
    measurement!(http_beacon, true),
    measurement!(grpc_stream, true),
    measurement!(apply, true),
    measurement!(log, true),
    measurement!(ack_latency, true),
    measurement!(visible_latency, true),
    measurement!(import, true),
    measurement!(dashboard_query, true),
    measurement!(hot_hour, true),
    measurement!(many_sites, true),
    measurement!(history, true),
    measurement!(ring_idle, true),
    measurement!(ring_stream, true),
    measurement!(ring_ack, true),
    measurement!(ring_kill, true),
    measurement!(ring_roll, true),
    measurement!(ring_move, true),
    measurement!(ring_power, false),
    measurement!(nats_stream, false),
    measurement!(nats_kill, false),
    measurement!(nats_power, false),
    measurement!(cold_build, false),
];
