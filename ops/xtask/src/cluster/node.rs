//! One node of a development ring as a child process.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Ends its child when it starts: then not even our own violent end leaves a node behind.
const SETPRIV: &str = "/usr/bin/setpriv";

/// Where a node answers.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) http: String,
    pub(super) grpc: String,
    pub(super) peer: String,
}

impl Addresses {
    /// Where the node with this data directory answered last.
    pub(super) fn of(data: &Path) -> anyhow::Result<Self> {
        let file = data.join("addresses.json");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Self::read(&text).with_context(|| file.display().to_string())
    }

    fn read(text: &str) -> anyhow::Result<Self> {
        let document: Value = serde_json::from_str(text)?;
        let address = |name: &str| {
            let address = document.get(name).and_then(Value::as_str);
            address
                .map(str::to_owned)
                .with_context(|| format!("no {name} in {text}"))
        };
        Ok(Self {
            http: address("http")?,
            grpc: address("grpc")?,
            peer: address("peer")?,
        })
    }
}

/// A child; killed when it is dropped without a stop.
pub(super) struct Node {
    child: Child,
    data: PathBuf,
    stdout: Option<ChildStdout>,
    addresses: Option<Addresses>,
}

impl Node {
    /// Starts the process; it answers after [`Self::until_ready`].
    pub(super) fn spawn(
        binary: &mut Command,
        data: &Path,
        addresses: Option<&Addresses>,
        more: &[String],
    ) -> anyhow::Result<Self> {
        let any = || "127.0.0.1:0".to_owned();
        let [http, grpc, peer] = match addresses {
            Some(known) => [known.http.clone(), known.grpc.clone(), known.peer.clone()],
            None => [any(), any(), any()],
        };
        let mut command = if Path::new(SETPRIV).exists() {
            let mut command = Command::new(SETPRIV);
            command
                .args(["--pdeathsig", "TERM"])
                .arg(binary.get_program());
            command
        } else {
            Command::new(binary.get_program())
        };
        if let Some(folder) = binary.get_current_dir() {
            command.current_dir(folder);
        }
        let data = std::path::absolute(data)?;
        let mut child = command
            .args(["serve", "--http", &http, "--grpc", &grpc, "--peer", &peer])
            .arg("--data-dir")
            .arg(&data)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A group of its own: the terminal's ctrl-C is for us, who stop the nodes in order.
            .process_group(0)
            .spawn()
            .context("cannot start a node")?;
        let stdout = child.stdout.take();
        Ok(Self {
            child,
            data,
            stdout,
            addresses: None,
        })
    }

    /// Waits for the line of readiness.
    pub(super) async fn until_ready(&mut self) -> anyhow::Result<()> {
        let stdout = self.stdout.take().context("a node gets ready once")?;
        // The pipe stays open in here until the line is there; afterwards the node writes nothing more to it.
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = line.await??;
        if line.is_empty() {
            // It has said why on stderr.
            bail!("the node ended before it was ready: {}", self.child.wait()?);
        }
        self.addresses = Some(Addresses::read(&line)?);
        Ok(())
    }

    /// Where its data is.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// The file with the admin token; the first node of a ring has one.
    pub(super) fn token_file(&self) -> PathBuf {
        self.data.join("admin.token")
    }

    /// Where it answers.
    pub(super) fn addresses(&self) -> anyhow::Result<&Addresses> {
        self.addresses.as_ref().context("the node is not ready")
    }

    /// An error when it has ended.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself: {status}", self.data.display());
        }
        Ok(())
    }

    /// Asks the node to drain and waits for it.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_none() {
            let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            kill_process(pid.context("a child has an id")?, Signal::TERM)?;
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("it ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Does nothing after a stop; an error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_readiness_names_three_addresses() {
        let line = r#"{"http":"127.0.0.1:1","grpc":"127.0.0.1:2","peer":"127.0.0.1:3","pid":4}"#;
        let read = Addresses::read(line).expect("three addresses");
        assert_eq!(
            [&*read.http, &*read.grpc, &*read.peer],
            ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
        );
        assert!(Addresses::read(r#"{"http":"127.0.0.1:1"}"#).is_err());
    }
}
