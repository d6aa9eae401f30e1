//! Who the nodes of a ring are to each other, and the connections between them.
//!
//! Every node has a certificate of the ring's own authority that names ring and node; a connection is made only when
//! both ends have one, and each end knows by it which node the other is. One connection to each node carries everything
//! that the two have to say.
//!
//! Place in the flow: under *route*, *replicate* and *query*, whenever they leave the node. It deliberately does not know
//! what is said, nor who should be in the ring: it is told addresses, and gives a channel for each node.
//!
//! Promises:
//! - Nobody without a certificate of this ring is heard, except by the one service that admits new nodes.
//! - Whoever connects and says nothing keeps nobody else out.
//! - A node is called by its id: whoever answers at its address with another certificate is not connected to.

mod error;
mod handshakes;
mod identity;
mod listener;
mod peer_stream;
mod peers;
mod tls;

pub use error::PeerError;
pub use identity::{NodeCredentials, PeerIdentity, RingAuthority};
pub use listener::{PeerListener, caller};
pub use peer_stream::{PeerInfo, PeerStream};
pub use peers::{PeerState, Peers, admission_channel, connect_raw};
