//! Exit codes, and the error that carries one to the end of the process.

use std::{fmt, process::ExitCode};

/// Why the process ends; the number is part of the command line's contract (`ops/docs/operations.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed that has no code of its own.
    Failure = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No answer from the server.
    Unreachable = 3,
    /// The server refused the request.
    Refused = 4,
    /// The data directory cannot be used: damaged, newer, another cluster's, or in use.
    DataDirectory = 5,
    /// An address cannot be bound.
    Address = 6,
    /// The disk failed while the node was serving.
    Disk = 7,
    /// A file named on the command line cannot be read.
    Input = 8,
}

/// An error with the exit code that it leads to and a message of one line.
#[derive(Debug)]
pub(crate) struct ExitError {
    /// The code.
    pub exit: Exit,
    /// What went wrong, with the values.
    pub message: String,
}

impl ExitError {
    /// An error that ends the process with this code.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        let message = message.to_string().replace('\n', " ");
        Self { exit, message }
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ExitError {}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
