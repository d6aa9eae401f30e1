//! Which failures of a store pass by themselves, and how long we wait for that.

use std::{future::Future, io, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::error::ArchiveError;

/// The first pause; each further one is twice as long.
const PAUSE_MS_MIN: u64 = 50;
const PAUSE_MS_MAX: u64 = 5_000;

/// How patient we are with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// No attempt begins later than this after the first.
    pub(crate) retry_ms_max: u64,
    /// An attempt that takes longer failed.
    pub(crate) attempt_ms_max: u64,
}

/// Tries until it works, until the failure is one that stays, or until patience ends.
pub(crate) async fn with_retries<T, Attempt>(
    patience: Patience,
    doing: &'static str,
    path: &str,
    attempt: impl Fn() -> Attempt,
) -> Result<T, ArchiveError>
where
    Attempt: Future<Output = object_store::Result<T>>,
{
    let started = Instant::now();
    let mut pause_ms = PAUSE_MS_MIN;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let outcome = timeout(Duration::from_millis(patience.attempt_ms_max), attempt()).await;
        let message = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => match lasting(doing, path, &error) {
                Some(error) => return Err(error),
                None => error.to_string(),
            },
            Err(_) => format!("no answer within {} ms", patience.attempt_ms_max),
        };
        let waited = started.elapsed() + Duration::from_millis(pause_ms);
        if waited > Duration::from_millis(patience.retry_ms_max) {
            return Err(ArchiveError::Unavailable {
                doing,
                path: path.to_owned(),
                attempts,
                message,
            });
        }
        tracing::debug!(doing, path, attempts, %message, "object store failed, trying again");
        sleep(Duration::from_millis(pause_ms)).await;
        pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
    }
}

/// The error of a failure that another attempt would meet again.
fn lasting(doing: &'static str, path: &str, error: &object_store::Error) -> Option<ArchiveError> {
    use object_store::Error;
    let path = path.to_owned();
    let message = error.to_string();
    match error {
        Error::NotFound { .. } if doing != "write" => Some(ArchiveError::Missing { path }),
        Error::NotFound { .. }
        | Error::InvalidPath { .. }
        | Error::NotSupported { .. }
        | Error::AlreadyExists { .. }
        | Error::Precondition { .. }
        | Error::NotModified { .. }
        | Error::NotImplemented { .. }
        | Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::UnknownConfigurationKey { .. } => Some(ArchiveError::Refused {
            doing,
            path,
            message,
        }),
        _ => match io_error(error)?.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some(ArchiveError::Full { path, message })
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some(ArchiveError::Refused {
                    doing,
                    path,
                    message,
                })
            }
            _ => None,
        },
    }
}

/// What the system said, when it was the system.
fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => Some(error),
        None => io_error(error.source()?),
    }
}
