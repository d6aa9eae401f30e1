//! The node: wires every crate into one process, serves HTTP and gRPC, and speaks the command line.
//!
//! Place in the flow: the composition root. It knows every part and owns no rule of the product: collecting and
//! enriching are the gateway's, counting is analytics', reports are query's.

mod api_error;
mod cli;
mod config;
mod data_directory;
mod exit;
mod health;
mod import_position;
mod serve;

pub use cli::run;
