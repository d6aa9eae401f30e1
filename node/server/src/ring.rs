//! This node as one of several: who the others are, what they ask of it, and what it hosts.

mod addresses;
mod admission;
mod credentials;
mod founding;
mod gauges;
mod handover;
mod health;
mod join;
mod learning;
mod look_service;
mod lost_node;
mod members;
mod peer_server;
mod refusals;
mod ring_service;
mod salts;
mod survey;
mod vitals;

pub(crate) use addresses::{check_advertised, follow_addresses};
pub(crate) use admission::Admission;
pub(crate) use credentials::{credentials, fingerprint};
pub(crate) use founding::found;
pub(crate) use gauges::measure_groups;
pub(crate) use handover::Handover;
pub(crate) use health::PeerHealth;
pub(crate) use join::{JoinOptions, check_same_ring, join};
pub(crate) use learning::learn;
pub(crate) use look_service::LookService;
pub(crate) use members::Members;
pub(crate) use peer_server::PeerServer;
pub(crate) use ring_service::RingService;
pub(crate) use salts::SaltsFollower;
pub(crate) use survey::{Survey, Surveyor};
pub(crate) use vitals::Vitals;

/// What this binary knows of the ring's features; a ring uses what all of its nodes know.
pub(crate) const FEATURE_LEVEL: u32 = 2;
