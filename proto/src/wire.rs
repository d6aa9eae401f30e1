//! The gRPC messages and services: `ringtail.v1` for clients, `ringtail.peer.v1` between nodes, and the descriptor set
//! for reflection.

/// Descriptor set of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Messages and services of `ringtail.v1`.
pub mod v1 {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::unwrap_used,
        clippy::indexing_slicing
    )]
    tonic::include_proto!("ringtail.v1");
}

/// Messages and services of `ringtail.peer.v1`: between nodes of one ring only.
pub mod peer {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::unwrap_used,
        clippy::indexing_slicing
    )]
    tonic::include_proto!("ringtail.peer.v1");
}
