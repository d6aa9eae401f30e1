//! A session with the servers.

use std::sync::Arc;

use scylla::{
    client::{
        execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder,
    },
    frame::types::Consistency,
    policies::load_balancing::DefaultPolicy,
    response::query_result::QueryRowsResult,
    serialize::row::SerializeRow,
    statement::Statement,
};

use super::{
    CassandraOptions, MirrorError,
    error::{of_execution, of_new_session},
};

/// Connects; one attempt. The session then finds its way back by itself whenever the servers were away.
pub(super) async fn connect(options: &CassandraOptions) -> Result<Session, MirrorError> {
    options.check()?;
    let mut policy = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &options.datacenter {
        policy = policy.prefer_datacenter(datacenter.clone());
    }
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(options.request_timeout))
        .load_balancing_policy(policy.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.nodes)
        .connection_timeout(options.connect_timeout)
        .default_execution_profile_handle(profile.into_handle())
        // For the way to each row's replicas; of other keyspaces there is nothing to know.
        .keyspaces_to_fetch([&options.keyspace]);
    if let Some((user, password)) = &options.login {
        builder = builder.user(user, password);
    }
    let connected = builder.build().await;
    let session =
        connected.map_err(|error| of_new_session(error, &options.nodes, user(options)))?;
    check_datacenter(&session, options)?;
    Ok(session)
}

/// The user's name for messages.
pub(super) fn user(options: &CassandraOptions) -> &str {
    options.login.as_ref().map_or("", |(user, _)| user.as_str())
}

/// With a data centre that does not exist every request would find no server.
fn check_datacenter(session: &Session, options: &CassandraOptions) -> Result<(), MirrorError> {
    let Some(datacenter) = &options.datacenter else {
        return Ok(());
    };
    let state = session.get_cluster_state();
    let mut known: Vec<String> = state
        .get_nodes_info()
        .iter()
        .filter_map(|node: &Arc<_>| node.datacenter.clone())
        .collect();
    known.sort();
    known.dedup();
    match known.contains(datacenter) {
        true => Ok(()),
        false => Err(MirrorError::UnknownDatacenter {
            datacenter: datacenter.clone(),
            known,
        }),
    }
}

/// Asks once, without preparing: for what is asked once in a process.
pub(super) async fn ask(
    session: &Session,
    options: &CassandraOptions,
    text: &str,
    values: impl SerializeRow,
) -> Result<Option<QueryRowsResult>, MirrorError> {
    let mut statement = Statement::new(text);
    statement.set_is_idempotent(true);
    let answer = session.query_unpaged(statement, values).await;
    let answer = answer.map_err(|error| of_execution(error, user(options)))?;
    Ok(answer.into_rows_result().ok())
}

/// The error for an answer of another shape than its question.
pub(super) fn odd_answer(error: impl std::fmt::Display) -> MirrorError {
    MirrorError::Refused {
        message: format!("an answer cannot be read: {error}"),
    }
}
