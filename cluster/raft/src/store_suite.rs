//! openraft's own suite, run over the log store and the machine adapter.

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{AnyError, OptionalSend, RaftSnapshotBuilder, StorageError};
use ringtail_log::{FaultDisk, LogOptions, SegmentLog};
use ringtail_proto::GroupId;

use crate::log_store::LogStore;
use crate::machine::{Committed, Floor, Machine, MachineError};
use crate::machine_adapter::MachineAdapter;
use crate::snapshot::{SnapshotData, SnapshotSink, SnapshotSource};
use crate::types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

struct NoMachine;

#[async_trait]
impl Machine for NoMachine {
    async fn floor(&self) -> Result<Floor, MachineError> {
        Ok(Floor::default())
    }

    async fn apply(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        Ok(vec![Bytes::new(); entries.len()])
    }

    async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError> {
        Err(MachineError::new("it has no rows"))
    }

    async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError> {
        Err(MachineError::new("it keeps no rows"))
    }
}

fn no_rows() -> SnapshotData {
    SnapshotData::Here(Arc::new(NoMachine))
}

/// A snapshot of whatever there is, even nothing: the suite purges logs that were never applied.
struct SuiteSnapshot(SnapshotMeta);

impl RaftSnapshotBuilder<TypeConfig> for SuiteSnapshot {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        Ok(Snapshot {
            meta: self.0.clone(),
            snapshot: no_rows(),
        })
    }
}

/// The adapter of a machine that is durable as soon as it has applied, and that can take over another's state: what
/// the suite expects of any state machine.
struct DurableAdapter {
    adapter: MachineAdapter,
    installed: Option<SnapshotMeta>,
}

impl RaftStateMachine<TypeConfig> for DurableAdapter {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SuiteSnapshot;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        if let Some(meta) = &self.installed {
            return Ok((meta.last_log_id, meta.last_membership.clone()));
        }
        self.adapter.applied_state().await
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        self.adapter.apply(entries).await
    }

    async fn get_snapshot_builder(&mut self) -> SuiteSnapshot {
        let mut state = self.adapter.state().lock();
        if let Some(applied) = state.applied() {
            state.raise_floor(applied);
        }
        SuiteSnapshot(state.floor_meta().unwrap_or_default())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, _: SnapshotData) -> io::Result<()> {
        self.installed = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if let Some(meta) = &self.installed {
            let meta = meta.clone();
            let snapshot = no_rows();
            return Ok(Some(Snapshot { meta, snapshot }));
        }
        self.adapter.get_current_snapshot().await
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, DurableAdapter, Arc<SegmentLog>> for Builder {
    async fn build(
        &self,
    ) -> Result<(Arc<SegmentLog>, LogStore, DurableAdapter), StorageError<TypeConfig>> {
        let disk = Arc::new(FaultDisk::new());
        let (log, _) = SegmentLog::open(disk, Path::new("/log"), LogOptions::default())
            .map_err(|error| StorageError::read(AnyError::new(&error)))?;
        let group = GroupId(7);
        let adapter = MachineAdapter::open(log.group(group), Arc::new(NoMachine), None)
            .await
            .expect("it has no floor to fail on");
        let store = LogStore::new(log.group(group));
        let machine = DurableAdapter {
            adapter,
            installed: None,
        };
        Ok((log, store, machine))
    }
}

#[tokio::test]
async fn log_store_and_adapter_pass_the_suite_of_openraft() {
    if let Err(error) = Suite::test_all(Builder).await {
        panic!("{error}");
    }
}
