//! This node as one of several: who the others are, what they ask of it, and what it hosts.

mod addresses;
mod admission;
mod credentials;
mod handover;
mod health;
mod hosting;
mod join;
mod leadership;
mod peer_server;
mod ring_service;
mod salts;

pub(crate) use addresses::follow_addresses;
pub(crate) use admission::Admission;
pub(crate) use credentials::{credentials, fingerprint};
pub(crate) use handover::Handover;
pub(crate) use health::PeerHealth;
pub(crate) use hosting::{Hosting, hosted_by, log_of, never_moved};
pub(crate) use join::{JoinOptions, join};
pub(crate) use leadership::RouteLeadership;
pub(crate) use peer_server::{PeerServer, for_nodes};
pub(crate) use ring_service::RingService;
pub(crate) use salts::SaltsFollower;

/// What this binary knows of the ring's features; a ring uses what all of its nodes know.
pub(crate) const FEATURE_LEVEL: u32 = 1;
