//! From a site to the replicated log of its group: budgets, batching, stamps, forwarding, retries, spool, answers.
//!
//! Place in the flow: *route*, and the leader's side of *replicate*. Gateways submit events of one site; one batcher
//! actor for each group gathers submissions into entries while earlier entries are on their way, sees each entry to the
//! group's leader, wherever that is and however often it changes, and hands each submission its two answers: committed
//! (on disk at a quorum, or else in the spool) and applied (a verdict for each event).
//!
//! - **One hop.** A leader proposes what another node forwards to it, or refuses; it never forwards it again.
//! - **Same bytes.** An entry is tried again as it is: apply knows events by id, imports by mark, settings by revision.
//! - **No order needed.** State is a function of the set of events, so an entry that is tried again may be overtaken.
//!   Only entries with import marks go one by one.
//! - **Nothing is lost silently.** Whatever is not acknowledged is answered with an error and counted.
//!
//! It deliberately knows neither what an event means nor how a log replicates: [`ReplicatedLog`] is the seam to the
//! latter, [`GroupLeadership`] to who leads, [`LeaderLink`] and [`SpoolLink`] to the other nodes, [`Clock`] to time.

mod batcher;
mod budget;
mod clock;
mod draft;
mod durability;
mod entry;
mod error;
mod gate;
mod lane_state;
mod leadership;
mod line;
mod link;
mod options;
mod queue;
mod replicated_log;
mod retry;
mod router;
mod service;
mod spool;
mod spool_metrics;
mod stage_metrics;
mod submission;
mod waiting;
mod weight;

pub use clock::{Clock, SystemClock};
pub use durability::{Applied, Durability};
pub use error::RouteError;
pub use gate::IngestGate;
pub use leadership::{GroupLeadership, HintedLeadership, Leader, RaftLeadership};
pub use link::{
    Channels, FileFates, LeaderLink, LinkError, NoPeers, PeerNodes, SpoolLink, TonicLink,
};
pub use options::RouterOptions;
pub use replicated_log::{Proposed, RaftLog, ReplicatedLog};
pub use router::{GroupRoute, Router, RouterSeams, Spawning};
pub use service::{Callers, EventsService};
pub use spool::SpoolPlace;
pub use submission::{CommandSubmission, EntrySubmission, Submission};
