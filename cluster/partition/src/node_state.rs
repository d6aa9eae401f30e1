//! What all partitions of a node share.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use ringtail_checkpoint::Elsewhere;
use ringtail_ring::SlotTable;

use crate::{PartitionOptions, failure::Failure, pace::Pace};

/// What all partitions of a node share.
pub(crate) struct NodeState {
    /// Which sites belong to which partition.
    pub(crate) slots: SlotTable,
    /// One that has stopped only goes on after a restart.
    pub(crate) failure: Failure,
    /// How fast snapshots leave the node.
    pub(crate) pace: Pace,
    /// Who gives pages that do not rest here.
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
    sites_active_max: usize,
    /// Partitions on this node now.
    replicas: AtomicUsize,
}

impl NodeState {
    pub(crate) fn new(slots: SlotTable, options: &PartitionOptions) -> Self {
        Self {
            slots,
            failure: Failure::default(),
            pace: Pace::new(options.snapshot_bytes_per_second_max),
            elsewhere: OnceLock::new(),
            sites_active_max: options.sites_active_max,
            replicas: AtomicUsize::new(0),
        }
    }

    /// Only the first one counts.
    pub(crate) fn set_elsewhere(&self, elsewhere: Arc<dyn Elsewhere>) {
        let _ = self.elsewhere.set(elsewhere);
    }

    pub(crate) fn elsewhere(&self) -> Option<Arc<dyn Elsewhere>> {
        self.elsewhere.get().cloned()
    }

    pub(crate) fn set_replicas(&self, replicas: usize) {
        self.replicas.store(replicas, Ordering::Relaxed);
    }

    /// Sites that one partition may keep active. The limit is the node's; sites spread evenly over partitions.
    pub(crate) fn sites_active_max(&self) -> usize {
        let replicas = self.replicas.load(Ordering::Relaxed).max(1);
        self.sites_active_max.div_ceil(replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_of_sites_follows_the_number_of_partitions() {
        let options = PartitionOptions {
            sites_active_max: 100,
            ..PartitionOptions::default()
        };
        let slots = SlotTable::even(4).expect("four groups");
        let node = NodeState::new(slots, &options);
        for (replicas, expected) in [(0, 100), (1, 100), (3, 34), (4, 25), (2, 50)] {
            node.set_replicas(replicas);
            assert_eq!(node.sites_active_max(), expected);
        }
    }
}
