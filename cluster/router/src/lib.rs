//! From a site to the replicated log of its group: budgets, batching, stamps, answers.
//!
//! Place in the flow: *route*, and the leader's side of *replicate*. Gateways submit events of one site; one batcher
//! actor for each group gathers submissions into entries while earlier entries are on their way, and hands each
//! submission its two answers: committed (on disk at a quorum) and applied (a verdict for each event).
//!
//! It deliberately knows neither what an event means nor how a log replicates: [`ReplicatedLog`] is the seam to the
//! latter, [`Clock`] the one to time. It keeps nothing on disk, and there is no promise before `committed` answers.

mod batcher;
mod budget;
mod clock;
mod error;
mod gate;
mod line;
mod options;
mod queue;
mod replicated_log;
mod router;
mod stage_metrics;
mod submission;
mod weight;

pub use clock::{Clock, SystemClock};
pub use error::RouteError;
pub use gate::IngestGate;
pub use options::RouterOptions;
pub use replicated_log::{Proposed, RaftLog, ReplicatedLog};
pub use router::{GroupRoute, Router, Spawning};
pub use submission::{CommandSubmission, Submission};
