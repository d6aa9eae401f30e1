//! Single steps on the tables, each retried as a whole.

use std::{collections::BTreeSet, time::Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use ringtail_proto::{GroupId, SiteGeneration};
use scylla::statement::{
    batch::{Batch, BatchType},
    prepared::PreparedStatement,
};
use uuid::Uuid;

use super::{
    MirrorError,
    error::{of_execution, of_pager},
    gathering::{Gathering, Piece, first_of, join},
    link::{Connection, Link},
    partition::{Partition, site_of},
    session::odd_answer,
};

/// A batch is one mutation of one partition: whole or not at all, so it is small enough for every server's limits.
const BATCH_BYTES_MAX: usize = 256 << 10;
const BATCH_ROWS_MAX: usize = 100;

/// One chunk of one version of one row.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) partition: Partition,
    pub(super) key: Bytes,
    pub(super) version: i64,
    pub(super) chunk: i32,
    pub(super) value: Bytes,
}

type PutValues = (Uuid, i32, i64, i32, i64, Bytes, i64, i32, Bytes, i64);

impl Cell {
    fn values(self) -> PutValues {
        let (incarnation, group, site, generation, bucket) = self.partition.columns();
        (
            incarnation,
            group,
            site,
            generation,
            bucket,
            self.key,
            self.version,
            self.chunk,
            self.value,
            self.version,
        )
    }
}

impl Link {
    /// Writes cells, several batches at a time; in no order.
    pub(super) async fn put_all(&self, cells: Vec<Cell>) -> Result<(), MirrorError> {
        let batches = batches_of(cells);
        futures::stream::iter(batches)
            .map(Ok)
            .try_for_each_concurrent(self.options.concurrency_max.max(1), |batch| {
                self.put_batch(batch)
            })
            .await
    }

    /// Writes cells of one partition: all or none.
    async fn put_batch(&self, cells: Vec<Cell>) -> Result<(), MirrorError> {
        let started = Instant::now();
        let rows = cells.len() as u64;
        let bytes: usize = cells.iter().map(|cell| cell.value.len()).sum();
        let values: Vec<PutValues> = cells.into_iter().map(Cell::values).collect();
        self.call(
            |Connection {
                 session,
                 statements,
             }| {
                let values = values.clone();
                async move {
                    let answer = match <[PutValues; 1]>::try_from(values) {
                        // Ten values are bound as a tuple; alone they need no batch around them.
                        Ok([values]) => session.execute_unpaged(&statements.put, values).await,
                        Err(values) => {
                            let mut batch = Batch::new(BatchType::Unlogged);
                            batch.set_is_idempotent(true);
                            for _ in &values {
                                batch.append_statement(statements.put.clone());
                            }
                            session.batch(&batch, values).await
                        }
                    };
                    answer
                        .map(drop)
                        .map_err(|error| of_execution(error, self.user()))
                }
            },
        )
        .await?;
        metrics::counter!("ringtail_mirror_written_rows_total").increment(rows);
        metrics::counter!("ringtail_mirror_written_bytes_total").increment(bytes as u64);
        metrics::histogram!("ringtail_mirror_write_seconds").record(started.elapsed());
        Ok(())
    }

    /// The newest version of a row at or below one, some left out: its number, and its value unless the row was removed
    /// by it.
    pub(super) async fn newest(
        &self,
        partition: Partition,
        key: &Bytes,
        mut version_max: i64,
        left_out: &[i64],
    ) -> Result<Option<(i64, Option<Bytes>)>, MirrorError> {
        let started = Instant::now();
        let (incarnation, group, site, generation, bucket) = partition.columns();
        let place = |version: i64| {
            let key = key.clone();
            (incarnation, group, site, generation, bucket, key, version)
        };
        let (version, chunk, value) = loop {
            let rows: Vec<(i64, i32, Bytes)> =
                self.rows(|at| &at.newest, place(version_max)).await?;
            match rows.into_iter().next() {
                Some((version, ..)) if left_out.contains(&version) => version_max = version - 1,
                Some(found) => break found,
                None => return Ok(None),
            }
        };
        let first = first_of(key, version, chunk, value)?;
        let Some(first) = first.value else {
            return Ok(Some((version, None)));
        };
        let mut rest = Vec::new();
        if first.is_part() {
            rest = self.rows(|at| &at.rest, place(version)).await?;
        }
        let value = join(key, version, first, &rest)?;
        metrics::histogram!("ringtail_mirror_read_seconds").record(started.elapsed());
        metrics::counter!("ringtail_mirror_read_bytes_total").increment(value.len() as u64);
        Ok(Some((version, Some(value))))
    }

    /// The versions of a row up to one.
    pub(super) async fn versions_of(
        &self,
        partition: Partition,
        key: &Bytes,
        version_max: i64,
    ) -> Result<BTreeSet<i64>, MirrorError> {
        let (incarnation, group, site, generation, bucket) = partition.columns();
        let values = (
            incarnation,
            group,
            site,
            generation,
            bucket,
            key.clone(),
            version_max,
        );
        let rows: Vec<(i64,)> = self.rows(|at| &at.versions_of, values).await?;
        Ok(rows.into_iter().map(|(version,)| version).collect())
    }

    /// Removes one version of a row, for ever.
    pub(super) async fn remove_version(
        &self,
        partition: Partition,
        key: &Bytes,
        version: i64,
    ) -> Result<(), MirrorError> {
        let (incarnation, group, site, generation, bucket) = partition.columns();
        // At an equal timestamp the removal wins.
        let values = (
            version,
            incarnation,
            group,
            site,
            generation,
            bucket,
            key.clone(),
            version,
        );
        self.run(|at| &at.remove_version, values).await
    }

    /// The rows `from..=to` of a partition as of one version, some left out; as many as `bytes_max` bytes hold, at least
    /// one.
    pub(super) async fn piece(
        &self,
        partition: Partition,
        from: &Bytes,
        to: &Bytes,
        (version_max, left_out): (i64, &[i64]),
        bytes_max: usize,
    ) -> Result<Piece, MirrorError> {
        let (incarnation, group, site, generation, bucket) = partition.columns();
        let values = (
            incarnation,
            group,
            site,
            generation,
            bucket,
            from.clone(),
            to.clone(),
        );
        self.call(
            |Connection {
                 session,
                 statements,
             }| {
                let values = values.clone();
                async move {
                    let pager = session.execute_iter(statements.range.clone(), values).await;
                    let pager = pager.map_err(|error| of_pager(&error, self.user()))?;
                    let mut cells = pager
                        .rows_stream::<(Bytes, i64, i32, Bytes)>()
                        .map_err(odd_answer)?;
                    let mut gathering = Gathering::new(version_max, left_out);
                    while let Some(cell) = cells.next().await {
                        let (key, version, chunk, value) =
                            cell.map_err(|error| no_answer(&error))?;
                        if gathering.is_new_row(&key) && gathering.bytes > bytes_max {
                            return gathering.finish(true);
                        }
                        gathering.take(key, version, chunk, value)?;
                    }
                    gathering.finish(false)
                }
            },
        )
        .await
    }

    /// Keys and versions of a partition.
    pub(super) async fn versions(
        &self,
        partition: Partition,
    ) -> Result<Vec<(Bytes, i64)>, MirrorError> {
        let (incarnation, group, site, generation, bucket) = partition.columns();
        let values = (incarnation, group, site, generation, bucket);
        let mut rows: Vec<(Bytes, i64)> = self.rows(|at| &at.versions, values).await?;
        // One for each chunk.
        rows.dedup();
        Ok(rows)
    }

    /// Removes the versions of a row below one, and what may yet be written of them.
    pub(super) async fn remove_below(
        &self,
        partition: Partition,
        key: &Bytes,
        version: i64,
    ) -> Result<(), MirrorError> {
        let (incarnation, group, site, generation, bucket) = partition.columns();
        // A version is its own timestamp: this one covers all that it removes, now and later, and none that stays.
        let timestamp = version - 1;
        let values = (
            timestamp,
            incarnation,
            group,
            site,
            generation,
            bucket,
            key.clone(),
            version,
        );
        self.run(|at| &at.remove_below, values).await
    }

    /// Removes the versions of a row above one, up to the newest that there is.
    pub(super) async fn remove_above(
        &self,
        partition: Partition,
        key: &Bytes,
        version: i64,
        newest: i64,
    ) -> Result<(), MirrorError> {
        let (incarnation, group, site, generation, bucket) = partition.columns();
        let values = (
            newest,
            incarnation,
            group,
            site,
            generation,
            bucket,
            key.clone(),
            version,
        );
        self.run(|at| &at.remove_above, values).await
    }

    /// Removes all versions of all rows of a partition up to one, and what may yet be written of them.
    pub(super) async fn remove_partition(
        &self,
        partition: Partition,
        version_max: i64,
    ) -> Result<(), MirrorError> {
        let (incarnation, group, site, generation, bucket) = partition.columns();
        let values = (version_max, incarnation, group, site, generation, bucket);
        self.run(|at| &at.remove_partition, values).await
    }

    pub(super) async fn add_bucket(&self, partition: Partition) -> Result<(), MirrorError> {
        let (incarnation, group, site, generation, bucket) = partition.columns();
        self.run(
            |at| &at.add_bucket,
            (incarnation, group, site, generation, bucket),
        )
        .await?;
        self.run(|at| &at.add_site, (incarnation, group, site, generation))
            .await
    }

    /// All sites of a group, ascending.
    pub(super) async fn sites(
        &self,
        incarnation: Uuid,
        group: GroupId,
    ) -> Result<Vec<SiteGeneration>, MirrorError> {
        let values = (incarnation, group.0 as i32);
        let rows: Vec<(i64, i32)> = self.rows(|at| &at.sites, values).await?;
        let sites = rows
            .iter()
            .map(|(site, generation)| site_of(*site, *generation));
        let mut sites: Vec<SiteGeneration> = sites.collect();
        sites.sort_unstable();
        Ok(sites)
    }

    /// All buckets of a site, in the order of the rows in them.
    pub(super) async fn buckets(
        &self,
        incarnation: Uuid,
        group: GroupId,
        site: SiteGeneration,
    ) -> Result<Vec<i64>, MirrorError> {
        let site = Partition::in_site(incarnation, group, site, 0);
        let (incarnation, group, site, generation, _) = site.columns();
        let values = (incarnation, group, site, generation);
        let rows: Vec<(i64,)> = self.rows(|at| &at.buckets, values).await?;
        let mut buckets: Vec<i64> = rows.into_iter().map(|(bucket,)| bucket).collect();
        buckets.sort_unstable();
        Ok(buckets)
    }

    /// All rows of an answer, however many pages it has.
    pub(super) async fn rows<R, V>(
        &self,
        statement: impl Fn(&super::statements::Statements) -> &PreparedStatement,
        values: V,
    ) -> Result<Vec<R>, MirrorError>
    where
        R: for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>
            + 'static,
        V: scylla::serialize::row::SerializeRow + Clone,
    {
        self.call(
            |Connection {
                 session,
                 statements,
             }| {
                let prepared = statement(&statements).clone();
                let values = values.clone();
                async move {
                    let pager = session.execute_iter(prepared, values).await;
                    let pager = pager.map_err(|error| of_pager(&error, self.user()))?;
                    let rows = pager.rows_stream::<R>().map_err(odd_answer)?;
                    rows.try_collect::<Vec<R>>()
                        .await
                        .map_err(|error| no_answer(&error))
                }
            },
        )
        .await
    }

    /// Runs a statement that answers nothing.
    pub(super) async fn run<V>(
        &self,
        statement: impl Fn(&super::statements::Statements) -> &PreparedStatement,
        values: V,
    ) -> Result<(), MirrorError>
    where
        V: scylla::serialize::row::SerializeRow + Clone,
    {
        self.call(
            |Connection {
                 session,
                 statements,
             }| {
                let prepared = statement(&statements).clone();
                let values = values.clone();
                async move {
                    let answer = session.execute_unpaged(&prepared, values).await;
                    answer
                        .map(drop)
                        .map_err(|error| of_execution(error, self.user()))
                }
            },
        )
        .await
    }
}

/// Cells by partition, in batches that servers take; a big cell goes alone.
fn batches_of(mut cells: Vec<Cell>) -> Vec<Vec<Cell>> {
    cells.sort_by_key(|cell| cell.partition);
    let mut batches: Vec<Vec<Cell>> = Vec::new();
    let mut bytes = 0;
    for cell in cells {
        let size = cell.key.len() + cell.value.len();
        match batches.last_mut() {
            Some(batch)
                if batch.first().map(|first| first.partition) == Some(cell.partition)
                    && batch.len() < BATCH_ROWS_MAX
                    && bytes + size <= BATCH_BYTES_MAX =>
            {
                bytes += size;
                batch.push(cell);
            }
            _ => {
                bytes = size;
                batches.push(vec![cell]);
            }
        }
    }
    batches
}

/// A page that did not come; it is asked for again.
fn no_answer(error: &impl std::fmt::Display) -> MirrorError {
    MirrorError::NoAnswer {
        message: error.to_string(),
    }
}
