//! What an operator may set about collecting.

use serde::{Deserialize, Serialize};

use crate::{Rate, TrustedProxies};

/// Limits and trust of the collecting interfaces. Every field has a default that is safe on the open internet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// Networks whose `X-Forwarded-For` counts. Default: none.
    pub trusted_proxies: TrustedProxies,
    /// What one site may send. Default: 50,000 events/s.
    pub site_rate: Rate,
    /// What one address without a write key may send. Default: 5,000 events/s.
    pub address_rate: Rate,
    /// Events of one site that were dropped as robots or foreign origins and are stored for repair.
    /// Default: 600 a minute.
    pub stored_drops_rate: Rate,
    /// Largest body of a single event, inflated. Default: 1 MB.
    pub event_body_bytes_max: usize,
    /// Largest body of a batch, inflated. Default: 4 MB.
    pub batch_body_bytes_max: usize,
    /// How much larger than its compressed form a body may grow. Default: 200 times.
    pub inflate_ratio_max: usize,
    /// How long a client may take to send a body. Default: 15 s.
    pub body_read_ms_max: u64,
    /// Events in one request. Default: 1,000.
    pub batch_events_max: usize,
    /// Unacknowledged batches of one gRPC stream. Default: 64.
    pub stream_batches_max: usize,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            trusted_proxies: TrustedProxies::default(),
            site_rate: Rate::per_second(50_000),
            address_rate: Rate::per_second(5_000),
            stored_drops_rate: Rate {
                events: 600,
                period_ms: 60_000,
                burst_events: 600,
            },
            event_body_bytes_max: 1_000_000,
            batch_body_bytes_max: 4_000_000,
            inflate_ratio_max: 200,
            body_read_ms_max: 15_000,
            batch_events_max: 1_000,
            stream_batches_max: 64,
        }
    }
}
