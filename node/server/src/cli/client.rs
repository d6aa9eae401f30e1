//! The command line's HTTP client.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::ServerArguments;
use crate::{
    data_directory,
    exit::{Exit, ExitError},
};

/// Talks to one server.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// Finds the server and the token: flags first, then the data directory.
    pub(super) fn connect(arguments: &ServerArguments) -> Result<Self, ExitError> {
        let directory = arguments
            .data_dir
            .clone()
            .or_else(|| default_directory(arguments));
        let base = match (&arguments.server, &directory) {
            (Some(server), _) => server.trim_end_matches('/').to_owned(),
            (None, Some(directory)) => address_of(directory)?,
            (None, None) => "http://127.0.0.1:8080".to_owned(),
        };
        let token = match (&arguments.token, &directory) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(directory)) => data_directory::read_token(directory)
                .map_err(|error| ExitError::new(Exit::DataDirectory, error))?,
            (None, None) => None,
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| ExitError::new(Exit::Failure, error))?;
        Ok(Self { http, base, token })
    }

    /// Asks for a document.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ExitError> {
        self.send(Method::GET, path, None).await
    }

    /// Sends a document, and reads the answer.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ExitError> {
        let body = (body.to_string().into_bytes(), "application/json");
        self.send(Method::POST, path, Some(body)).await
    }

    /// Changes a document.
    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Value, ExitError> {
        let body = (body.to_string().into_bytes(), "application/json");
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// Removes a document.
    pub(super) async fn delete(&self, path: &str) -> Result<Value, ExitError> {
        self.send(Method::DELETE, path, None).await
    }

    /// Sends bytes, and reads the answer.
    pub(super) async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Result<Value, ExitError> {
        let body = (body, "application/octet-stream");
        self.send(Method::POST, path, Some(body)).await
    }

    /// Writes to stdout what comes, as it comes. A last line that tells of an error is one.
    pub(super) async fn stream(&self, path: &str) -> Result<(), ExitError> {
        let mut request = self.http.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let sent = request.send().await;
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if !status.is_success() {
            let bytes = response.bytes().await;
            let bytes = bytes.map_err(|error| self.unreachable(&error))?;
            return Err(refusal(status, &bytes));
        }
        let mut out = std::io::stdout().lock();
        let mut lines = LastLine::default();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| self.unreachable(&error))?
        {
            let written = out.write_all(&piece).and_then(|()| out.flush());
            // Whoever reads has gone.
            if written.is_err() {
                return Ok(());
            }
            lines.take(&piece);
        }
        lines.error().map_or(Ok(()), |message| {
            Err(ExitError::new(Exit::Failure, message))
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(Vec<u8>, &str)>,
    ) -> Result<Value, ExitError> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some((bytes, content_type)) = body {
            request = request.header("content-type", content_type).body(bytes);
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| {
                let message = format!("the answer of {} is not JSON: {error}", self.base);
                ExitError::new(Exit::Failure, message)
            });
        }
        Err(refusal(status, &bytes))
    }

    fn unreachable(&self, error: &reqwest::Error) -> ExitError {
        let reason = if error.is_connect() {
            "nothing listens there, or it does not answer".to_owned()
        } else {
            error.to_string()
        };
        ExitError::new(
            Exit::Unreachable,
            format!("no answer from {}: {reason}", self.base),
        )
    }
}

/// The last line of what comes piece by piece.
#[derive(Default)]
struct LastLine {
    /// The last one that has ended.
    ended: Vec<u8>,
    open: Vec<u8>,
}

impl LastLine {
    fn take(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.open.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.ended = std::mem::take(&mut self.open);
            }
        }
    }

    /// What it says has gone wrong.
    fn error(&self) -> Option<String> {
        let line: Value = serde_json::from_slice(&self.ended).ok()?;
        Some(line.get("error")?.as_str()?.to_owned())
    }
}

/// Makes text safe as one segment of a path or one value of a query.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn default_directory(arguments: &ServerArguments) -> Option<PathBuf> {
    let is_named = arguments.server.is_some() || arguments.token.is_some();
    let directory = crate::config::Config::default().data_directory;
    (!is_named && directory.is_dir()).then_some(directory)
}

fn address_of(directory: &Path) -> Result<String, ExitError> {
    let addresses = data_directory::read_addresses(directory)
        .map_err(|error| ExitError::new(Exit::DataDirectory, error))?;
    match addresses {
        Some(addresses) => Ok(format!("http://{}", addresses.http)),
        None => Err(ExitError::new(
            Exit::DataDirectory,
            format!("no node has served from {} yet", directory.display()),
        )),
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> ExitError {
    let message = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| Some(value.get("error")?.as_str()?.to_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(300).collect());
    let exit = if status.is_client_error() {
        Exit::Refused
    } else {
        Exit::Failure
    };
    ExitError::new(exit, format!("{message} ({})", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_plain_letters_is_encoded() {
        assert_eq!(encoded("a b/ü.com?"), "a%20b%2F%C3%BC.com%3F");
    }

    #[test]
    fn a_stream_has_failed_when_its_last_line_says_so() {
        for (pieces, expect) in [
            (&["{\"cursor\":\"00\"}\n"][..], None),
            (&["{\"error\":\"early\"}\n{\"cursor\":\"00\"}\n"], None),
            (
                &["{\"name\":\"a\"}\n{\"err", "or\":\"gone\"}", "\n"],
                Some("gone"),
            ),
            (&["{\"error\":\"cut"], None),
            (&[], None),
        ] {
            let mut lines = LastLine::default();
            for piece in pieces {
                lines.take(piece.as_bytes());
            }
            assert_eq!(lines.error().as_deref(), expect, "{pieces:?}");
        }
    }

    #[test]
    fn a_refusal_carries_the_servers_words() {
        let error = refusal(StatusCode::CONFLICT, br#"{"error":"site exists"}"#);
        assert_eq!(error.exit, Exit::Refused);
        assert_eq!(error.message, "site exists (409)");
        let error = refusal(StatusCode::BAD_GATEWAY, b"upstream");
        assert_eq!(error.exit, Exit::Failure);
    }
}
