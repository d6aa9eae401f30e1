//! A real node in a temporary folder, and words to talk to it.

#![allow(dead_code, clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A running node; it ends with this value.
pub(crate) struct Node {
    child: Child,
    pub(crate) data: tempfile::TempDir,
    pub(crate) http: String,
    pub(crate) grpc: String,
    client: reqwest::Client,
}

impl Node {
    /// Starts a node and waits until it is ready.
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringtail"))
            .args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data.path())
            .env("RINGTAIL_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| format!("http://{}", ready[name].as_str().unwrap());
        Self {
            child,
            http: address("http"),
            grpc: address("grpc"),
            data,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
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

    /// A path in the node's data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
