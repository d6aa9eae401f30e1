//! The node: wires every crate into one process, serves HTTP and gRPC, and speaks the command line.
//!
//! Place in the flow: the composition root. It knows every part and owns no rule of the product: collecting and
//! enriching are the gateway's, counting is analytics', reports are query's.

mod api_error;
mod cli;
mod collecting;
mod config;
mod data_directory;
mod disk_watch;
mod duties;
mod exit;
mod file_limit;
mod frontend;
mod grpc;
mod health;
mod http;
mod import_position;
#[cfg(feature = "planted-bugs")]
mod planted_bugs;
mod reading;
mod ring;
mod serve;
mod services;
mod settings_pusher;
mod shutdown;
mod telemetry;
mod wiring;

pub use cli::run;

#[cfg(not(feature = "planted-bugs"))]
type SiteMachine = ringtail_aggregator::Aggregator;
#[cfg(feature = "planted-bugs")]
type SiteMachine = planted_bugs::ForgetfulAggregator;
type Hosting = ringtail_hosting::Hosting<SiteMachine>;
type Partitions = ringtail_partition::Partitions<SiteMachine>;
type ViewAt = ringtail_partition::ViewAt<SiteMachine>;
