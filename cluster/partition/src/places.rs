//! Which partitions are on this node, and how they come and go while it runs.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use ringtail_proto::GroupId;
use ringtail_raft::{Group, RaftError, RaftNode};

use crate::{PartitionError, Partitions, SiteMachine, replica::Replica};

/// Which partitions are here.
pub(crate) struct Places<M: SiteMachine> {
    pub(crate) replicas: BTreeMap<GroupId, Place<M>>,
    /// The node stops: nothing is opened any more.
    pub(crate) is_stopping: bool,
}

pub(crate) enum Place<M: SiteMachine> {
    Open(Arc<Replica<M>>),
    /// It is opened or closed right now.
    Changing,
}

impl<M: SiteMachine> Default for Places<M> {
    fn default() -> Self {
        Self {
            replicas: BTreeMap::new(),
            is_stopping: false,
        }
    }
}

impl<M: SiteMachine> Partitions<M> {
    /// Opens one more partition: reads its floor, replays its log, starts its duties. One that has neither waits for its
    /// group to send it something.
    ///
    /// # Errors
    /// [`PartitionError::Changing`] when it is opened or closed right now; others as [`Self::open`].
    pub async fn open_replica(
        &self,
        raft: &RaftNode,
        group: GroupId,
    ) -> Result<Group, PartitionError> {
        {
            let mut places = self.places.write();
            if places.is_stopping {
                return Err(PartitionError::Stopping(group));
            }
            match places.replicas.entry(group) {
                btree_map::Entry::Vacant(place) => place.insert(Place::Changing),
                btree_map::Entry::Occupied(place) => match place.get() {
                    Place::Open(replica) => return Ok(replica.raft.clone()),
                    Place::Changing => return Err(PartitionError::Changing(group)),
                },
            };
            self.node.set_replicas(places.replicas.len());
        }
        let mut change = Change::new(self, group);
        let machine = self.machine.clone();
        let opening = Replica::open(raft, group, machine, &self.seams, &self.options, &self.node);
        let replica = opening.await?;
        if !change.open(&replica) {
            drop(replica.stop_rounds());
            replica.partition.close().await;
            return Err(PartitionError::Stopping(group));
        }
        tracing::info!(%group, "aggregate: the partition is open");
        Ok(replica.raft.clone())
    }

    /// Ends one partition: its duties, then its group through `close_group`, then its actors; what it has not written
    /// yet is written before, unless its rows are to be deleted: then they are removed at the end. Questions are refused
    /// from the beginning. Let it come to its end: given up half-way it may leave the group running.
    ///
    /// # Errors
    /// [`PartitionError::NotHere`] when it is not open. After another error it is closed all the same; rows that could
    /// not be removed are removed by opening and closing it again.
    pub async fn close_replica(
        &self,
        group: GroupId,
        is_deleted: bool,
        close_group: impl Future<Output = Result<(), RaftError>>,
    ) -> Result<(), PartitionError> {
        let replica = self.begin_closing(group)?;
        let _change = Change::new(self, group);
        if let Some(rounds) = replica.stop_rounds()
            && let Err(error) = rounds.await
        {
            tracing::error!(%group, %error, "checkpoint: the duties of a partition failed");
        }
        let written = match is_deleted {
            true => Ok(()),
            false => replica.duties.run_once(true).await.map(drop),
        };
        let closed = close_group.await;
        replica.partition.close().await;
        if is_deleted {
            replica.remove_rows().await?;
        }
        tracing::info!(%group, is_deleted, "aggregate: the partition is closed");
        closed?;
        written
    }

    fn begin_closing(&self, group: GroupId) -> Result<Arc<Replica<M>>, PartitionError> {
        let mut places = self.places.write();
        let Some(place) = places.replicas.get_mut(&group) else {
            return Err(PartitionError::NotHere(group));
        };
        match std::mem::replace(place, Place::Changing) {
            Place::Open(replica) => Ok(replica),
            Place::Changing => Err(PartitionError::Changing(group)),
        }
    }

    pub(crate) fn replica(&self, group: GroupId) -> Result<Arc<Replica<M>>, PartitionError> {
        match self.places.read().replicas.get(&group) {
            Some(Place::Open(replica)) => Ok(replica.clone()),
            Some(Place::Changing) | None => Err(PartitionError::NotHere(group)),
        }
    }

    pub(crate) fn replicas(&self) -> Vec<Arc<Replica<M>>> {
        let places = self.places.read();
        let open = places.replicas.values().filter_map(|place| match place {
            Place::Open(replica) => Some(replica.clone()),
            Place::Changing => None,
        });
        open.collect()
    }
}

/// A partition that is opened or closed. However that ends, its place is free again, unless it is open then.
struct Change<'a, M: SiteMachine> {
    partitions: &'a Partitions<M>,
    group: GroupId,
    is_open: bool,
}

impl<'a, M: SiteMachine> Change<'a, M> {
    const fn new(partitions: &'a Partitions<M>, group: GroupId) -> Self {
        Self {
            partitions,
            group,
            is_open: false,
        }
    }

    /// False when the node stops meanwhile.
    fn open(&mut self, replica: &Arc<Replica<M>>) -> bool {
        let mut places = self.partitions.places.write();
        self.is_open = !places.is_stopping;
        if self.is_open {
            let place = Place::Open(replica.clone());
            places.replicas.insert(self.group, place);
        }
        self.is_open
    }
}

impl<M: SiteMachine> Drop for Change<'_, M> {
    fn drop(&mut self) {
        if self.is_open {
            return;
        }
        let mut places = self.partitions.places.write();
        places.replicas.remove(&self.group);
        self.partitions.node.set_replicas(places.replicas.len());
    }
}
