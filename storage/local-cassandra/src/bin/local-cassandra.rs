//! Starts a local Cassandra, prints its addresses, runs until ctrl-C. `cargo xtask cassandra` calls it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to its terminal"
)]

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::Parser;
use ringtail_local_cassandra::{LocalCassandra, Options, VERSION};

/// Runs a real Apache Cassandra on loopback until ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// 1 or 3.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Where the nodes keep their data; it stays. Removed at the end when not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The first node's address for CQL; the others' follow it, and the next port is theirs, too.
    #[arg(long, default_value = "127.0.0.1:9042")]
    address: SocketAddr,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let options = Options {
        nodes: arguments.nodes,
        folder: arguments.dir,
        first_address: Some(arguments.address),
        ..Options::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    eprintln!("Cassandra {VERSION} starts …");
    let mut cassandra = LocalCassandra::start(&options)?;
    for address in cassandra.addresses() {
        println!("{address}");
    }
    eprintln!("Stop with ctrl-C.");
    let served = runtime.block_on(serve(&mut cassandra, options.nodes));
    let stopped = cassandra.stop();
    served.and(stopped)
}

async fn serve(cassandra: &mut LocalCassandra, nodes: usize) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
        }
        for number in 0..nodes {
            let node = cassandra.node(number);
            if let Some(status) = node.ended()? {
                bail!(
                    "{} ended by itself: {status}; see {}",
                    node.address(),
                    node.log_file().display()
                );
            }
        }
    }
}
