//! Keyspace, tables and the row that says whose they are.

use std::collections::BTreeSet;

use scylla::{client::session::Session, response::query_result::QueryRowsResult};
use uuid::Uuid;

use super::{
    CassandraOptions, MirrorError, Replication,
    session::{ask, connect, odd_answer},
};

/// The schema that this binary makes and reads.
pub const SCHEMA_VERSION: i32 = 1;

/// The name of the one row of `clusters` that counts.
const MARKER: &str = "ringtail";

/// Tables by name, with their columns. Values are compressed already; most rows are written a few times and then read for
/// years, which is what levels are for.
const TABLES: [(&str, &str); 5] = [
    (
        "clusters",
        "(name text, cluster uuid, schema_version int, PRIMARY KEY ((name), cluster))",
    ),
    (
        "row_versions",
        "(incarnation uuid, group_id int, site bigint, generation int, bucket bigint, row_key blob, version bigint, chunk int, value blob, \
         PRIMARY KEY ((incarnation, group_id, site, generation, bucket), row_key, version, chunk)) \
         WITH CLUSTERING ORDER BY (row_key ASC, version DESC, chunk ASC) \
         AND compaction = {'class': 'LeveledCompactionStrategy'}",
    ),
    (
        "sites",
        "(incarnation uuid, group_id int, site bigint, generation int, \
         PRIMARY KEY ((incarnation, group_id), site, generation))",
    ),
    (
        "buckets",
        "(incarnation uuid, group_id int, site bigint, generation int, bucket bigint, \
         PRIMARY KEY ((incarnation, group_id, site, generation), bucket))",
    ),
    (
        "row_sets",
        "(cluster uuid, group_id int, incarnation uuid, number bigint, \
         PRIMARY KEY ((cluster, group_id), incarnation))",
    ),
];

/// Makes keyspace and tables where they are missing and takes them for a cluster. What is there already is left as it is;
/// so it can be repeated, and an operator may have made the keyspace.
///
/// # Errors
/// [`MirrorError::OtherCluster`] when another cluster has the keyspace, and all that keeps servers from doing it.
pub async fn init(
    options: &CassandraOptions,
    replication: &Replication,
    cluster: Uuid,
) -> Result<(), MirrorError> {
    let replication = replication.cql()?;
    let session = connect(options).await?;
    let keyspace = &options.keyspace;
    if !has_keyspace(&session, options).await? {
        let tablets = tablets(&session, options, &replication).await?;
        let text = format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}{tablets}"
        );
        ask(&session, options, &text, ()).await?;
    }
    let missing = missing_tables(&session, options).await?;
    for (name, columns) in TABLES.iter().filter(|(name, _)| missing.contains(name)) {
        let text = format!("CREATE TABLE IF NOT EXISTS {keyspace}.{name} {columns}");
        ask(&session, options, &text, ()).await?;
    }
    take(&session, options, cluster).await
}

/// Whether this cluster can use what is there.
pub(super) async fn check(
    session: &Session,
    options: &CassandraOptions,
    cluster: Uuid,
) -> Result<(), MirrorError> {
    let keyspace = || options.keyspace.clone();
    if !has_keyspace(session, options).await? {
        return Err(MirrorError::NoKeyspace {
            keyspace: keyspace(),
        });
    }
    let missing = missing_tables(session, options).await?;
    if !missing.is_empty() {
        return Err(MirrorError::NoTables {
            keyspace: keyspace(),
            missing: missing.into_iter().map(str::to_owned).collect(),
        });
    }
    let markers = markers(session, options).await?;
    if markers.is_empty() {
        return Err(MirrorError::NotInitialized {
            keyspace: keyspace(),
        });
    }
    check_markers(options, cluster, &markers)?;
    check_right_to_write(session, options).await
}

fn check_markers(
    options: &CassandraOptions,
    cluster: Uuid,
    markers: &[(Uuid, i32)],
) -> Result<(), MirrorError> {
    let keyspace = options.keyspace.clone();
    for &(found, schema) in markers {
        let (found_schema, known) = (schema, SCHEMA_VERSION);
        if found != cluster {
            return Err(MirrorError::OtherCluster {
                keyspace,
                found,
                own: cluster,
            });
        }
        if found_schema != known {
            let found = found_schema;
            return Err(match found < known {
                true => MirrorError::OldSchema {
                    keyspace,
                    found,
                    known,
                },
                false => MirrorError::NewerSchema {
                    keyspace,
                    found,
                    known,
                },
            });
        }
    }
    Ok(())
}

/// Writes the marker unless it is there. Of two clusters that do so at once each finds the other's and steps back: none
/// gets the keyspace, both are told. Conditional writes would do it in one step, but not on all servers of ScyllaDB.
async fn take(
    session: &Session,
    options: &CassandraOptions,
    cluster: Uuid,
) -> Result<(), MirrorError> {
    let found = markers(session, options).await?;
    if !found.is_empty() {
        return check_markers(options, cluster, &found);
    }
    let keyspace = &options.keyspace;
    let text =
        format!("INSERT INTO {keyspace}.clusters (name, cluster, schema_version) VALUES (?, ?, ?)");
    ask(session, options, &text, (MARKER, cluster, SCHEMA_VERSION)).await?;
    let found = markers(session, options).await?;
    let checked = check_markers(options, cluster, &found);
    if checked.is_err() {
        let text = format!("DELETE FROM {keyspace}.clusters WHERE name = ? AND cluster = ?");
        ask(session, options, &text, (MARKER, cluster)).await?;
    }
    checked
}

async fn has_keyspace(session: &Session, options: &CassandraOptions) -> Result<bool, MirrorError> {
    let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let answer = ask(session, options, text, (&options.keyspace,)).await?;
    Ok(answer.is_some_and(|rows| rows.rows_num() > 0))
}

async fn missing_tables(
    session: &Session,
    options: &CassandraOptions,
) -> Result<Vec<&'static str>, MirrorError> {
    let text = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
    let answer = ask(session, options, text, (&options.keyspace,)).await?;
    let rows = all::<(String,)>(answer)?;
    let found: BTreeSet<String> = rows.into_iter().map(|(name,)| name).collect();
    let names = TABLES.iter().map(|(name, _)| *name);
    Ok(names.filter(|name| !found.contains(*name)).collect())
}

async fn markers(
    session: &Session,
    options: &CassandraOptions,
) -> Result<Vec<(Uuid, i32)>, MirrorError> {
    let text = format!(
        "SELECT cluster, schema_version FROM {}.clusters WHERE name = ?",
        options.keyspace
    );
    all(ask(session, options, &text, (MARKER,)).await?)
}

/// Deletes what cannot be there: found out now, not at the first checkpoint.
async fn check_right_to_write(
    session: &Session,
    options: &CassandraOptions,
) -> Result<(), MirrorError> {
    let site = " AND site = 0 AND generation = 0";
    for (table, rest) in [
        ("row_versions", format!("{site} AND bucket = 0")),
        ("buckets", site.to_owned()),
        ("sites", String::new()),
        ("row_sets", String::new()),
    ] {
        let owner = if table == "row_sets" {
            "cluster"
        } else {
            "incarnation"
        };
        let text = format!(
            "DELETE FROM {}.{table} USING TIMESTAMP 0 \
             WHERE {owner} = 00000000-0000-0000-0000-000000000000 AND group_id = -1{rest}",
            options.keyspace
        );
        ask(session, options, &text, ()).await?;
    }
    Ok(())
}

/// ScyllaDB spreads a keyspace by tablets; Cassandra has none and refuses the word.
async fn tablets(
    session: &Session,
    options: &CassandraOptions,
    replication: &str,
) -> Result<&'static str, MirrorError> {
    let text = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'system' \
                AND table_name = 'scylla_local'";
    let answer = ask(session, options, text, ()).await?;
    let is_scylla = answer.is_some_and(|rows| rows.rows_num() > 0);
    Ok(match is_scylla && replication.contains("NetworkTopology") {
        true => " AND tablets = {'enabled': true}",
        false => "",
    })
}

fn all<R>(answer: Option<QueryRowsResult>) -> Result<Vec<R>, MirrorError>
where
    R: for<'frame> scylla::deserialize::row::DeserializeRow<'frame, 'frame>,
{
    let Some(answer) = answer else {
        return Ok(Vec::new());
    };
    let rows = answer.rows::<R>().map_err(odd_answer)?;
    rows.collect::<Result<_, _>>().map_err(odd_answer)
}
