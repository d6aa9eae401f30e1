//! `cargo xtask cluster`: a ring of nodes on loopback, for development.

mod node;
mod ring_api;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{
    build, children,
    run::{command, read},
    workspace::Workspace,
};
use node::{Addresses, Node};

/// More nodes than this on one machine teach nothing.
const NODES_MAX: usize = 9;
/// Longer than the first forming of a ring, also on a busy machine.
const SETTLED_AFTER_MAX: Duration = Duration::from_secs(180);
/// Between two looks at the ring.
const LOOK: Duration = Duration::from_millis(250);

/// Builds, starts or restarts a ring, serves until it is asked to stop.
pub(crate) fn cluster(
    workspace: &Workspace,
    nodes: usize,
    data_dir: &Path,
    once: bool,
) -> anyhow::Result<()> {
    ensure!(
        (1..=NODES_MAX).contains(&nodes),
        "a ring on one machine has 1 to {NODES_MAX} nodes, not {nodes}"
    );
    build::front_ends(workspace)?;
    let binary = build::binary(workspace, false)?;
    fs::create_dir_all(data_dir).with_context(|| data_dir.display().to_string())?;
    children::adopt_orphans()?;
    // From here on ctrl-C reaches us as a message, not as an end: the nodes get time to drain, one after the other.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut ring = Ring {
        binary,
        folder: data_dir.to_owned(),
        nodes: Vec::new(),
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            served = ring.form_and_serve(workspace, nodes, once) => served,
            asked = asked_to_stop() => asked,
        }
    });
    let stopped = ring.stop();
    outcome.and(stopped).and(children::none_left_behind())
}

/// Ends when somebody wants the ring to end.
async fn asked_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

struct Ring {
    binary: PathBuf,
    folder: PathBuf,
    nodes: Vec<Node>,
}

impl Ring {
    async fn form_and_serve(
        &mut self,
        workspace: &Workspace,
        nodes: usize,
        once: bool,
    ) -> anyhow::Result<()> {
        self.start_known(workspace, nodes).await?;
        while self.nodes.len() < nodes {
            self.join_one(workspace).await?;
        }
        let members = self.nodes.len();
        eprintln!("{members} nodes are up; waiting until every group has its replicas …");
        self.until_settled(members).await?;
        self.print();
        if once {
            return Ok(());
        }
        loop {
            tokio::time::sleep(LOOK).await;
            for node in &mut self.nodes {
                node.check_alive()?;
            }
        }
    }

    fn data_of(&self, number: usize) -> PathBuf {
        self.folder.join(format!("node{number}"))
    }

    /// Starts the nodes of an earlier ring, all at once and where they were: alone none of them has a majority.
    async fn start_known(&mut self, workspace: &Workspace, nodes: usize) -> anyhow::Result<()> {
        for number in 1..=NODES_MAX {
            let data = self.data_of(number);
            if !data.join("addresses.json").exists() {
                break;
            }
            let addresses = Addresses::of(&data)?;
            let mut start = command(&workspace.root, &self.binary, &[]);
            self.nodes
                .push(Node::spawn(&mut start, &data, Some(&addresses), &[])?);
        }
        ensure!(
            self.nodes.is_empty() || self.nodes.len() <= nodes,
            "{} holds a ring of {}; ask for so many or more, or take another folder",
            self.folder.display(),
            self.nodes.len()
        );
        for node in &mut self.nodes {
            node.until_ready().await?;
        }
        Ok(())
    }

    async fn join_one(&mut self, workspace: &Workspace) -> anyhow::Result<()> {
        let data = self.data_of(self.nodes.len() + 1);
        let mut joining = Vec::new();
        if let Some(first) = self.nodes.first() {
            let mut create = command(&workspace.root, &self.binary, &["token", "create"]);
            let token = read(create.arg("--data-dir").arg(first.data()))?;
            let peer = first.addresses()?.peer.clone();
            joining = vec![
                "--join".to_owned(),
                peer,
                "--token".to_owned(),
                token.trim().to_owned(),
            ];
        }
        let mut start = command(&workspace.root, &self.binary, &[]);
        let mut node = Node::spawn(&mut start, &data, None, &joining)?;
        let ready = node.until_ready().await;
        // Also one that failed is ended with the others.
        self.nodes.push(node);
        ready
    }

    /// Waits until each group has a leader and as many voters as the ring can give it, and nothing is on its way.
    async fn until_settled(&self, members: usize) -> anyhow::Result<()> {
        let first = self.nodes.first().context("a ring has a node")?;
        let token = fs::read_to_string(first.token_file())?;
        let address = &first.addresses()?.http;
        // The largest odd number of nodes, at most three.
        let voters = members.min(3).div_ceil(2) * 2 - 1;
        let started = Instant::now();
        loop {
            let ring = ring_api::ring(address, token.trim()).await;
            match ring {
                Ok(ring) if ring_api::is_settled(&ring, members, voters) => return Ok(()),
                Ok(ring) if started.elapsed() > SETTLED_AFTER_MAX => {
                    let plan = ring.pointer("/plan/text").and_then(Value::as_str);
                    bail!("the ring is not settled: {}", plan.unwrap_or_default());
                }
                Err(error) if started.elapsed() > SETTLED_AFTER_MAX => return Err(error),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    fn print(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            if let Ok(addresses) = node.addresses() {
                println!(
                    "node {}: http://{}  grpc {}  peer {}",
                    number + 1,
                    addresses.http,
                    addresses.grpc,
                    addresses.peer
                );
            }
        }
        if let Some(first) = self.nodes.first() {
            println!("admin token: {}", first.token_file().display());
        }
        println!("Stop with ctrl-C; the data stays.");
    }

    /// Stops one after the other, so that each hands its groups over to the others.
    fn stop(self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for (number, node) in self.nodes.into_iter().enumerate() {
            eprintln!("node {} stops", number + 1);
            let stopped = node.stop().with_context(|| format!("node {}", number + 1));
            outcome = outcome.and(stopped);
        }
        outcome
    }
}
