//! The canonical hashes of a partition's sites at one index.

use std::{collections::BTreeMap, collections::BTreeSet, ops::ControlFlow, sync::Arc};

use ringtail_checkpoint::{GroupKey, StoreError};
use ringtail_proto::{LogIndex, SiteGeneration, SiteRow};
use ringtail_raft::spawn_blocking;

use crate::{
    PartitionError, SiteMachine,
    partition::Partition,
    site_actor::{Hash, Rest},
};

/// The canonical hashes of a partition's sites at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteHashes {
    /// The last entry that every hash includes.
    pub index: LogIndex,
    /// All sites that have rows or state.
    pub sites: BTreeMap<SiteGeneration, [u8; 32]>,
    /// Generations that are not complete on this replica, and may be on others.
    pub building: BTreeSet<SiteGeneration>,
}

impl SiteHashes {
    /// The sites whose hashes two replicas at the same index do not share, though both have to.
    #[must_use]
    pub fn differing(&self, other: &Self) -> BTreeSet<SiteGeneration> {
        let named = self.sites.keys().chain(other.sites.keys());
        let is_building =
            |site: &SiteGeneration| self.building.contains(site) || other.building.contains(site);
        let differing = named
            .filter(|site| !is_building(site) && self.sites.get(*site) != other.sites.get(*site));
        differing.copied().collect()
    }
}

impl<M: SiteMachine> Partition<M> {
    /// Hashes all sites while nothing is applied. Sites that have no actor get one for that long.
    pub(crate) async fn site_hashes(self: &Arc<Self>) -> Result<SiteHashes, PartitionError> {
        let _entrance = self.enter().await?;
        let _still = self.applying.lock().await;
        self.check_whole()?;
        let applied = self
            .applied()
            .0
            .ok_or(PartitionError::NotWhole(self.group))?;
        let index = applied.index;
        let mut hashes = SiteHashes {
            index,
            sites: BTreeMap::new(),
            building: {
                let progress = self.progress.lock();
                progress.unbuilt().map(|(site, _)| site).collect()
            },
        };
        for site in self.all_sites().await? {
            let was_active = self.active_address(site).is_some();
            let hash = self.ask(site, || Hash).await?;
            let hash = hash.map_err(|error| self.site_error(site, error))?;
            if hash.index > index {
                // Its rows came with a snapshot or outlived a restart; the log has not come that far again.
                return Err(PartitionError::Behind {
                    group: self.group,
                    applied: index,
                    site,
                    index: hash.index,
                });
            }
            hashes.sites.insert(site, hash.hash);
            if !was_active {
                self.let_go(site).await;
            }
        }
        Ok(hashes)
    }

    async fn all_sites(&self) -> Result<BTreeSet<SiteGeneration>, PartitionError> {
        let rows = self.rows();
        let stored = spawn_blocking(move || {
            let mut sites = BTreeSet::new();
            let first = GroupKey::Site(SiteGeneration::MIN, SiteRow::Site);
            let last = GroupKey::Site(SiteGeneration::MAX, SiteRow::Site);
            let visit = &mut |key, _| {
                if let GroupKey::Site(site, _) = key {
                    sites.insert(site);
                }
                ControlFlow::Continue(())
            };
            rows.snapshot().range(&first, &last, visit)?;
            Ok::<_, StoreError>(sites)
        });
        let stored = stored.await;
        let mut sites = stored.map_err(|_| PartitionError::Stopping(self.group))??;
        sites.extend(self.sites.readings().into_iter().map(|(site, _)| site));
        // What is still being built, or has ended, differs between replicas.
        let feeds = self.feeds();
        sites.retain(|site| feeds.contains(*site));
        Ok(sites)
    }

    async fn let_go(&self, site: SiteGeneration) {
        let Some(address) = self.active_address(site) else {
            return;
        };
        let rest = Rest {
            used_at_ms_max: u64::MAX,
        };
        if matches!(address.send(rest).await, Ok(true)) {
            self.sites.forget(site, &address);
        }
    }
}

#[cfg(test)]
mod tests {
    use ringtail_proto::{Generation, SiteId};

    use super::*;

    const fn of(generation: u32) -> SiteGeneration {
        SiteGeneration {
            site: SiteId(7),
            generation: Generation(generation),
        }
    }

    fn hashes(sites: &[(u32, u8)], building: &[u32]) -> SiteHashes {
        SiteHashes {
            index: LogIndex(9),
            sites: sites
                .iter()
                .map(|(generation, hash)| (of(*generation), [*hash; 32]))
                .collect(),
            building: building.iter().copied().map(of).collect(),
        }
    }

    #[test]
    fn what_one_replica_still_builds_is_not_compared_and_all_else_is() {
        let check = |left: SiteHashes, right: SiteHashes, expect: &[u32]| {
            let expect: BTreeSet<_> = expect.iter().copied().map(of).collect();
            assert_eq!(left.differing(&right), expect);
            assert_eq!(right.differing(&left), expect);
        };
        check(hashes(&[(0, 1), (1, 2)], &[]), hashes(&[(0, 1)], &[1]), &[]);
        check(hashes(&[(0, 1), (1, 2)], &[]), hashes(&[(0, 1)], &[]), &[1]);
        check(hashes(&[(0, 1)], &[]), hashes(&[(0, 3)], &[1]), &[0]);
    }
}
