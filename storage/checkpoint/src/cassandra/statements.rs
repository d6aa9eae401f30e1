//! What is asked again and again, prepared once.

use scylla::{client::session::Session, statement::prepared::PreparedStatement};

use super::{CassandraOptions, MirrorError, error::of_prepare, session::user};

/// Rows of a page: chunks are up to 256 KiB, and servers make a page in memory.
const PAGE_ROWS: i32 = 64;

const PARTITION: &str =
    "incarnation = ? AND group_id = ? AND site = ? AND generation = ? AND bucket = ?";

/// All are idempotent: each names its rows, versions and timestamps.
pub(super) struct Statements {
    pub(super) put: PreparedStatement,
    /// The first chunk of the newest version at or below one.
    pub(super) newest: PreparedStatement,
    /// The chunks after the first of one version.
    pub(super) rest: PreparedStatement,
    /// All versions and chunks of the rows from one key to another.
    pub(super) range: PreparedStatement,
    /// Keys and versions of a partition.
    pub(super) versions: PreparedStatement,
    /// Versions of a row, once for each chunk.
    pub(super) versions_of: PreparedStatement,
    pub(super) remove_version: PreparedStatement,
    pub(super) remove_below: PreparedStatement,
    pub(super) remove_above: PreparedStatement,
    pub(super) remove_partition: PreparedStatement,
    pub(super) add_site: PreparedStatement,
    pub(super) sites: PreparedStatement,
    pub(super) remove_sites: PreparedStatement,
    pub(super) remove_site: PreparedStatement,
    pub(super) add_bucket: PreparedStatement,
    pub(super) buckets: PreparedStatement,
    pub(super) remove_buckets: PreparedStatement,
    pub(super) put_row_set: PreparedStatement,
    pub(super) row_sets: PreparedStatement,
    pub(super) remove_row_set: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(
        session: &Session,
        options: &CassandraOptions,
    ) -> Result<Self, MirrorError> {
        let keyspace = &options.keyspace;
        let prepare = async |text: String| {
            let prepared = session.prepare(text).await;
            let mut prepared =
                prepared.map_err(|error| of_prepare(&error, error.to_string(), user(options)))?;
            prepared.set_is_idempotent(true);
            prepared.set_page_size(PAGE_ROWS);
            Ok::<_, MirrorError>(prepared)
        };
        let select = async |what: &str, filter: &str| {
            prepare(format!(
                "SELECT {what} FROM {keyspace}.row_versions WHERE {PARTITION}{filter}"
            ))
            .await
        };
        let remove = async |filter: &str| {
            prepare(format!(
                "DELETE FROM {keyspace}.row_versions USING TIMESTAMP ? WHERE {PARTITION}{filter}"
            ))
            .await
        };
        let listed = "incarnation = ? AND group_id = ?";
        Ok(Self {
            put: prepare(format!(
                "INSERT INTO {keyspace}.row_versions \
                 (incarnation, group_id, site, generation, bucket, row_key, version, chunk, value) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            newest: select(
                "version, chunk, value",
                " AND row_key = ? AND version <= ? LIMIT 1",
            )
            .await?,
            rest: select("chunk, value", " AND row_key = ? AND version = ? AND chunk > 0").await?,
            range: select(
                "row_key, version, chunk, value",
                " AND row_key >= ? AND row_key <= ?",
            )
            .await?,
            versions: select("row_key, version", "").await?,
            versions_of: select("version", " AND row_key = ? AND version <= ?").await?,
            remove_version: remove(" AND row_key = ? AND version = ?").await?,
            remove_below: remove(" AND row_key = ? AND version < ?").await?,
            remove_above: remove(" AND row_key = ? AND version > ?").await?,
            remove_partition: remove("").await?,
            add_site: prepare(format!(
                "INSERT INTO {keyspace}.sites (incarnation, group_id, site, generation) VALUES (?, ?, ?, ?)"
            ))
            .await?,
            sites: prepare(format!("SELECT site, generation FROM {keyspace}.sites WHERE {listed}")).await?,
            remove_sites: prepare(format!("DELETE FROM {keyspace}.sites WHERE {listed}")).await?,
            add_bucket: prepare(format!(
                "INSERT INTO {keyspace}.buckets (incarnation, group_id, site, generation, bucket) VALUES (?, ?, ?, ?, ?)"
            ))
            .await?,
            buckets: prepare(format!(
                "SELECT bucket FROM {keyspace}.buckets WHERE {listed} AND site = ? AND generation = ?"
            ))
            .await?,
            remove_site: prepare(format!(
                "DELETE FROM {keyspace}.sites WHERE {listed} AND site = ? AND generation = ?"
            ))
            .await?,
            remove_buckets: prepare(format!(
                "DELETE FROM {keyspace}.buckets WHERE {listed} AND site = ? AND generation = ?"
            ))
            .await?,
            put_row_set: prepare(format!(
                "INSERT INTO {keyspace}.row_sets (cluster, group_id, incarnation, number) VALUES (?, ?, ?, ?)"
            ))
            .await?,
            row_sets: prepare(format!(
                "SELECT incarnation, number FROM {keyspace}.row_sets WHERE cluster = ? AND group_id = ?"
            ))
            .await?,
            remove_row_set: prepare(format!(
                "DELETE FROM {keyspace}.row_sets WHERE cluster = ? AND group_id = ? AND incarnation = ?"
            ))
            .await?,
        })
    }
}
