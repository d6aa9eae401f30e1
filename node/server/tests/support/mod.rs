//! A real node in a temporary folder, and words to talk to it.

#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing)]

pub(crate) mod ring;

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// `ringtail serve` on ports of its own; of a flag that is named twice the last one counts.
fn serve(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtail"));
    command.args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]);
    if !arguments.contains(&"--peer") {
        command.args(["--peer", "127.0.0.1:0"]);
    }
    let log = std::env::var("RINGTAIL_LOG").unwrap_or("warn".to_owned());
    command
        .arg("--data-dir")
        .arg(data)
        .args(arguments)
        .env("RINGTAIL_LOG", log);
    command
}

/// Starts a node that must not start; what it says on stderr.
pub(crate) fn refused_start(arguments: &[&str]) -> String {
    refused_start_in(&tempfile::tempdir().unwrap(), arguments)
}

/// The same, in this directory.
pub(crate) fn refused_start_in(data: &tempfile::TempDir, arguments: &[&str]) -> String {
    let output = serve(data.path(), arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts a node and kills it as soon as its directory holds a file.
pub(crate) fn killed_once_it_is(
    data: tempfile::TempDir,
    arguments: &[&str],
    file: &str,
) -> tempfile::TempDir {
    let mut child = serve(data.path(), arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !data.path().join(file).exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    data
}

/// A running node; it ends with this value.
pub(crate) struct Node {
    child: Child,
    pub(crate) data: tempfile::TempDir,
    pub(crate) http: String,
    pub(crate) grpc: String,
    pub(crate) peer: String,
    client: reqwest::Client,
}

impl Node {
    /// Starts a node and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &[])
    }

    /// Starts a node that joins this one's ring.
    pub(crate) fn start_joining(&self) -> Self {
        self.start_joining_with(&[])
    }

    /// The same, with an environment of its own.
    pub(crate) fn start_joining_with(&self, environment: &[(&str, &str)]) -> Self {
        let made = self.cli(&["token", "create"]);
        let token = String::from_utf8(made.stdout).unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let join = ["--join", &self.peer, "--token", token.trim()];
        Self::start_with(tempfile::tempdir().unwrap(), &join, environment)
    }

    /// Starts a node on this directory; what else it is told comes last.
    pub(crate) fn start_in(data: tempfile::TempDir, arguments: &[&str]) -> Self {
        Self::start_with(data, arguments, &[])
    }

    /// Starts a node on this directory, with arguments and environment of its own.
    pub(crate) fn start_with(
        data: tempfile::TempDir,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = serve(data.path(), arguments);
        command.envs(environment.iter().copied());
        Self::run(command, data)
    }

    /// Starts a node whose stderr goes to a file.
    pub(crate) fn start_logged() -> (Self, tempfile::NamedTempFile) {
        Self::start_logged_at("warn")
    }

    /// The same, with everything from this level on.
    pub(crate) fn start_logged_at(level: &str) -> (Self, tempfile::NamedTempFile) {
        let data = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut command = serve(data.path(), &[]);
        command.env("RINGTAIL_LOG", level);
        command.stderr(file.reopen().unwrap());
        (Self::run(command, data), file)
    }

    fn run(mut command: Command, data: tempfile::TempDir) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self {
            child,
            http: format!("http://{}", address("http")),
            grpc: format!("http://{}", address("grpc")),
            peer: address("peer"),
            data,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// The process stands still until [`Self::go_on`].
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// The process goes on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// The process is asked to end; see [`Self::terminate`] for one that is waited for.
    pub(crate) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// True until the process has ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill_process(pid.unwrap(), signal).unwrap();
    }

    /// The process ends without a word; its directory stays.
    pub(crate) fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.data, tempfile::tempdir().unwrap())
    }

    /// The process is asked to end, and does so in order; its directory stays.
    pub(crate) async fn terminate(mut self) -> tempfile::TempDir {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        assert!(status.success(), "{status}");
        std::mem::replace(&mut self.data, tempfile::tempdir().unwrap())
    }

    /// The admin token.
    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.data.path().join("admin.token")).unwrap()
    }

    /// A request; the answer's status and its JSON (or its text).
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.http))
            .header("content-type", "application/json")
            .body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// A request of the administrator that succeeds.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let token = self.token();
        let (status, answer) = self
            .send(method, path, Some(&token), body.to_string())
            .await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// The first row's metrics of a report.
    pub(crate) async fn metrics(&self, query: Value) -> Value {
        let report = self.admin(Method::POST, "/api/v2/query", query).await;
        report["results"][0]["metrics"].clone()
    }

    /// Runs the command line against this node.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ringtail"))
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data.path())
            .output()
            .unwrap()
    }

    /// Runs the command line against this node with a token of another one.
    pub(crate) fn cli_as(&self, token: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ringtail"))
            .args(arguments)
            .args(["--server", &self.http])
            .env("RINGTAIL_TOKEN", token.trim())
            .output()
            .unwrap()
    }

    /// A path in the node's data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that was killed before is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
