//! Where log lines and metrics go.

use std::io::{self, IsTerminal as _};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, ExitError};

/// Log lines go to stderr; `RINGTAIL_LOG` says which, as `info` or `ringtail_partition=debug,warn`.
pub(crate) fn start_logging() -> Result<(), ExitError> {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var("RINGTAIL_LOG")
        .from_env()
        .map_err(|error| ExitError::new(Exit::Usage, format!("RINGTAIL_LOG: {error}")))?
        .add_directive(quiet("openraft=error"))
        .add_directive(quiet("fjall=warn"))
        .add_directive(quiet("lsm_tree=warn"))
        .add_directive(quiet("actix_server=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_target(true)
        .try_init()
        .map_err(|error| ExitError::new(Exit::Failure, error))
}

/// Metrics are kept in memory and rendered when they are scraped.
pub(crate) fn start_metrics() -> Result<PrometheusHandle, ExitError> {
    PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| ExitError::new(Exit::Failure, error))
}

fn quiet(directive: &str) -> tracing_subscriber::filter::Directive {
    directive.parse().expect("the directives above are valid")
}
