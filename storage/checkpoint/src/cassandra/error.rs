//! What can go wrong with the servers, and what it means for a write.

use std::time::Duration;

use ringtail_proto::ErrorKind;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, PagerExecutionError, PrepareError, RequestAttemptError,
};
use uuid::Uuid;

use crate::StoreError;

/// Why ScyllaDB or Cassandra cannot be used as asked.
///
/// A write that failed with [`Self::is_outage`] may be applied in part, and more of it may be later; its site row is not
/// acknowledged. Writing it again, or writing a later version, is always right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// Options that no server can be asked for.
    #[error("options of the mirror are refused: {message}")]
    BadOptions {
        /// What is wrong with them.
        message: String,
    },
    /// No server was reached.
    #[error("no server is reached at {nodes}: {message}")]
    Unreachable {
        /// The servers that were tried.
        nodes: String,
        /// The last failure.
        message: String,
    },
    /// The servers do not know the user, or want one.
    #[error("servers refuse the user {user:?}: {message}")]
    NotAuthenticated {
        /// The user, empty when none was given.
        user: String,
        /// What the server said.
        message: String,
    },
    /// The user lacks a right.
    #[error("the user {user:?} has no permission: {message}")]
    NoPermission {
        /// The user, empty when none was given.
        user: String,
        /// What the server said.
        message: String,
    },
    /// No server is in the data centre that is to be asked.
    #[error("no server is in data centre {datacenter:?}, there are {known:?}")]
    UnknownDatacenter {
        /// The one of the options.
        datacenter: String,
        /// Those that the servers are in.
        known: Vec<String>,
    },
    /// The keyspace does not exist.
    #[error("keyspace {keyspace} does not exist; `ringtail store init` makes it")]
    NoKeyspace {
        /// Its name.
        keyspace: String,
    },
    /// The keyspace exists, some of our tables do not.
    #[error("keyspace {keyspace} has no tables {missing:?}; `ringtail store init` makes them")]
    NoTables {
        /// The keyspace.
        keyspace: String,
        /// The tables.
        missing: Vec<String>,
    },
    /// The tables exist, but no cluster has taken them.
    #[error("keyspace {keyspace} belongs to no cluster yet; `ringtail store init` takes it")]
    NotInitialized {
        /// The keyspace.
        keyspace: String,
    },
    /// The tables are those of an older version.
    #[error("tables of keyspace {keyspace} have schema {found}, this binary needs {known}")]
    OldSchema {
        /// The keyspace.
        keyspace: String,
        /// The schema found.
        found: i32,
        /// The schema of this binary.
        known: i32,
    },
    /// The tables are those of a newer version.
    #[error("tables of keyspace {keyspace} have schema {found}, this binary knows up to {known}")]
    NewerSchema {
        /// The keyspace.
        keyspace: String,
        /// The schema found.
        found: i32,
        /// The newest schema that this binary knows.
        known: i32,
    },
    /// The keyspace is another cluster's.
    #[error("keyspace {keyspace} belongs to cluster {found}, this is {own}")]
    OtherCluster {
        /// The keyspace.
        keyspace: String,
        /// The cluster that has it.
        found: Uuid,
        /// This cluster.
        own: Uuid,
    },
    /// The servers do not answer, or not in time. What was written may be applied, or will be.
    #[error("servers do not answer: {message}")]
    NoAnswer {
        /// The last failure.
        message: String,
    },
    /// After failures no request is sent for a while.
    #[error("servers are not asked for {} ms after failures: {message}", retry_after.as_millis())]
    Paused {
        /// When it is worth asking again.
        retry_after: Duration,
        /// The last failure.
        message: String,
    },
    /// The servers refuse what is asked; asking again does not help.
    #[error("servers refuse the request: {message}")]
    Refused {
        /// What they said.
        message: String,
    },
    /// A write that cannot be one; nothing was sent.
    #[error("write is refused: {message}")]
    BadWrite {
        /// What is wrong with it.
        message: String,
    },
    /// A value that is not whole or not what was written.
    #[error("row {key} of version {version} is damaged: {message}")]
    Damaged {
        /// The row's key, in hex.
        key: String,
        /// The version.
        version: i64,
        /// What was found.
        message: String,
    },
    /// The pin is so old that versions below it may be gone.
    #[error("pin is {} s old, its versions were kept for {} s", age.as_secs(), age_max.as_secs())]
    PinExpired {
        /// Its age.
        age: Duration,
        /// The age that it may have.
        age_max: Duration,
    },
}

impl MirrorError {
    /// True when waiting helps: the servers are away, overloaded or slow.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::Paused { .. }
        )
    }

    /// The kind shown at interfaces.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::Paused { .. } => {
                ErrorKind::Unavailable
            }
            Self::PinExpired { .. } | Self::OtherCluster { .. } => ErrorKind::Conflict,
            Self::BadOptions { .. } | Self::BadWrite { .. } => ErrorKind::InvalidRequest,
            _ => ErrorKind::Internal,
        }
    }

    /// A short name for metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BadOptions { .. } => "bad_options",
            Self::Unreachable { .. } => "unreachable",
            Self::NotAuthenticated { .. } => "not_authenticated",
            Self::NoPermission { .. } => "no_permission",
            Self::UnknownDatacenter { .. } => "unknown_datacenter",
            Self::NoKeyspace { .. } | Self::NoTables { .. } | Self::NotInitialized { .. } => {
                "not_initialized"
            }
            Self::OldSchema { .. } | Self::NewerSchema { .. } => "other_schema",
            Self::OtherCluster { .. } => "other_cluster",
            Self::NoAnswer { .. } => "no_answer",
            Self::Paused { .. } => "paused",
            Self::Refused { .. } => "refused",
            Self::BadWrite { .. } => "bad_write",
            Self::Damaged { .. } => "damaged",
            Self::PinExpired { .. } => "pin_expired",
        }
    }
}

impl From<MirrorError> for StoreError {
    fn from(error: MirrorError) -> Self {
        let message = error.to_string();
        match error {
            MirrorError::Damaged { .. } => Self::Corrupt { message },
            _ => Self::Io { message },
        }
    }
}

/// Answers of the driver, told apart by what they mean.
pub(super) fn of_execution(error: ExecutionError, user: &str) -> MirrorError {
    let message = error.to_string();
    match error {
        ExecutionError::LastAttemptError(error) => of_attempt(&error, message, user),
        ExecutionError::PrepareError(error) => of_prepare(&error, message, user),
        ExecutionError::BadQuery(_) => MirrorError::Refused { message },
        _ => MirrorError::NoAnswer { message },
    }
}

pub(super) fn of_prepare(error: &PrepareError, message: String, user: &str) -> MirrorError {
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } => {
            of_attempt(first_attempt, message, user)
        }
        PrepareError::PreparedStatementIdsMismatch => MirrorError::Refused { message },
        _ => MirrorError::NoAnswer { message },
    }
}

pub(super) fn of_pager(error: &PagerExecutionError, user: &str) -> MirrorError {
    let message = error.to_string();
    match error {
        PagerExecutionError::SerializationError(_) => MirrorError::Refused { message },
        PagerExecutionError::PrepareError(error) => of_prepare(error, message, user),
        // Its details are of no use here: a page that does not come is asked for again.
        _ => MirrorError::NoAnswer { message },
    }
}

/// When no session comes about.
pub(super) fn of_new_session(error: NewSessionError, nodes: &[String], user: &str) -> MirrorError {
    let message = error.to_string();
    if let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
        ConnectionPoolError::Broken {
            last_connection_error: ConnectionError::ConnectionSetupRequestError(error),
            ..
        },
    )) = &error
    {
        let is_refused = matches!(
            error.get_error(),
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, _)
                | ConnectionSetupRequestErrorKind::MissingAuthentication
        );
        if is_refused {
            return MirrorError::NotAuthenticated {
                user: user.to_owned(),
                message,
            };
        }
    }
    MirrorError::Unreachable {
        nodes: nodes.join(", "),
        message,
    }
}

fn of_attempt(error: &RequestAttemptError, message: String, user: &str) -> MirrorError {
    let RequestAttemptError::DbError(error, said) = error else {
        return match error {
            RequestAttemptError::SerializationError(_)
            | RequestAttemptError::CqlRequestSerialization(_) => MirrorError::Refused { message },
            _ => MirrorError::NoAnswer { message },
        };
    };
    match error {
        DbError::Unauthorized => MirrorError::NoPermission {
            user: user.to_owned(),
            message: said.clone(),
        },
        DbError::AuthenticationError => MirrorError::NotAuthenticated {
            user: user.to_owned(),
            message: said.clone(),
        },
        DbError::SyntaxError
        | DbError::Invalid
        | DbError::ConfigError
        | DbError::AlreadyExists { .. } => MirrorError::Refused { message },
        _ => MirrorError::NoAnswer { message },
    }
}
