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
mod frontend;
mod grpc;
mod health;
mod http;
mod import_position;
mod serve;
mod services;
mod settings_pusher;
mod shutdown;
mod telemetry;
mod wiring;

pub use cli::run;

type Partitions = ringtail_partition::Partitions<ringtail_aggregator::Aggregator>;
type SiteView = <ringtail_aggregator::Aggregator as ringtail_partition::SiteMachine>::View;
