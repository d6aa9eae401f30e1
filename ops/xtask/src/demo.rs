//! `cargo xtask demo`: a node with the numbers of a real web server's access log.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    build,
    run::{command, read},
    workspace::Workspace,
};

/// The site whose log it is: so its own pages are no referrers.
const SITE: &str = "semicomplete.com";
const LOG: &str = "ops/sample/access.log.gz";
/// The days that the log covers, both included.
const DAYS: [&str; 2] = ["2015-05-17", "2015-05-20"];

/// Builds, serves, imports; serves on until ctrl-C unless `once`.
pub(crate) fn demo(workspace: &Workspace, data_dir: &Path, once: bool) -> anyhow::Result<()> {
    build::front_ends(workspace)?;
    let binary = build::binary(workspace, false)?;
    // From here on ctrl-C reaches us as a message, not as an end: the node gets time to drain.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut node = Node::start(workspace, &binary, data_dir)?;
    let outcome = import(workspace, &binary, data_dir).and_then(|()| {
        if once {
            Ok(())
        } else {
            runtime.block_on(node.serve_until_asked())
        }
    });
    let stopped = node.stop();
    outcome.and(stopped)
}

struct Node {
    child: Child,
    http: String,
}

impl Node {
    fn start(workspace: &Workspace, binary: &Path, data_dir: &Path) -> anyhow::Result<Self> {
        let mut child = command(&workspace.root, binary, &["serve", "--data-dir"])
            .arg(data_dir)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        match ready.get("http").and_then(Value::as_str) {
            Some(http) => Ok(Self {
                http: format!("http://{http}"),
                child,
            }),
            // It has said why on stderr.
            None => bail!("the node ended before it was ready: {}", child.wait()?),
        }
    }

    async fn serve_until_asked(&mut self) -> anyhow::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        println!(
            "Dashboard: {}/{SITE}\nStop with ctrl-C; the data stays.",
            self.http
        );
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = tokio::time::sleep(std::time::Duration::from_millis(250)) => {}
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the node ended by itself: {status}");
            }
        }
    }

    /// Asks the node to drain and waits for it.
    fn stop(mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_none() {
            let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            kill_process(pid.context("a child has an id")?, Signal::TERM)?;
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the node ended with {status}");
        }
        Ok(())
    }
}

fn import(workspace: &Workspace, binary: &Path, data_dir: &Path) -> anyhow::Result<()> {
    let client = |arguments: &[&str]| {
        let mut client: Command = command(&workspace.root, binary, arguments);
        client.arg("--json").arg("--data-dir").arg(data_dir);
        client
    };
    let sites: Value = serde_json::from_str(&read(&mut client(&["site", "list"]))?)?;
    if !mentions(&sites, SITE) {
        read(&mut client(&["site", "add", SITE, "--timezone", "UTC"]))?;
    }
    // Inherits stderr: that is where the progress bar moves.
    let counted =
        read(client(&["import", "access-log", "--site", SITE, LOG]).stderr(Stdio::inherit()))?;
    println!("\nImported {LOG}: {}", counted.trim());
    let query = serde_json::json!({
        "site_id": SITE,
        "date_range": DAYS,
        "metrics": ["visitors", "visits", "pageviews", "bounce_rate", "visit_duration"],
    });
    let answer = read(&mut client(&["query", "--body", &query.to_string()]))?;
    print_numbers(&serde_json::from_str(&answer)?)
}

fn mentions(document: &Value, domain: &str) -> bool {
    match document {
        Value::Array(items) => items.iter().any(|item| mentions(item, domain)),
        Value::Object(fields) => {
            fields.get("domain").and_then(Value::as_str) == Some(domain)
                || fields.values().any(|field| mentions(field, domain))
        }
        _ => false,
    }
}

fn print_numbers(answer: &Value) -> anyhow::Result<()> {
    let names = answer.pointer("/query/metrics").and_then(Value::as_array);
    let values = answer
        .pointer("/results/0/metrics")
        .and_then(Value::as_array);
    let (Some(names), Some(values)) = (names, values) else {
        bail!("the report has no numbers: {answer}");
    };
    for (name, value) in names.iter().zip(values) {
        println!("{:>16}  {value}", name.as_str().unwrap_or_default());
    }
    Ok(())
}
