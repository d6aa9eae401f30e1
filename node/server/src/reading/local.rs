//! Reading from the replicas of this node.

use std::{sync::Arc, time::Duration};

use ringtail_metadata::Directory;
use ringtail_proto::{ErrorKind, GroupId, LogIndex, NodeId, SiteGeneration, SiteId};
use ringtail_query::Seen;
use ringtail_raft::{Group, RaftError, RaftNode};
use tokio::time::timeout;

use super::{Freshness, Merging, Reading};
use crate::{Partitions, ViewAt, api_error::ApiError};

/// A replica that has not heard its leader for so long may have been left behind.
const CONTACT_AGE_MAX: Duration = Duration::from_secs(1);
/// How long a replica is waited for that knows of entries it has not applied; then another one is faster.
const CATCH_UP_WAIT_MAX: Duration = Duration::from_millis(500);

/// A session that has seen so many entries more than the replica knows of is not waited for.
const AHEAD_ENTRIES_MAX: u64 = 10_000;

/// Reads from the replicas of this node.
#[derive(Clone)]
pub(crate) struct LocalReplicas {
    node: NodeId,
    directory: Arc<Directory>,
    partitions: Arc<Partitions>,
    raft: Arc<RaftNode>,
}

impl LocalReplicas {
    pub(crate) fn new(
        node: NodeId,
        directory: Arc<Directory>,
        partitions: Arc<Partitions>,
        raft: Arc<RaftNode>,
    ) -> Self {
        Self {
            node,
            directory,
            partitions,
            raft,
        }
    }

    /// This node.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// The partition of a site.
    pub(crate) fn group_of(&self, site: SiteId) -> GroupId {
        self.partitions.slots().group_of(site)
    }

    /// The state of a site.
    pub(crate) async fn view(
        &self,
        site: SiteId,
        freshness: Freshness,
    ) -> Result<Reading, ApiError> {
        let (group, is_fresh) = self.in_touch(site, freshness)?;
        self.catch_up(&group, LogIndex(0)).await?;
        let at = self.partitions.view(self.serving(site)).await?;
        Ok(Reading { at, is_fresh })
    }

    /// The generation of a site that queries read.
    fn serving(&self, site: SiteId) -> SiteGeneration {
        self.directory.serving(site)
    }

    /// The state of a site's generation that includes what was seen.
    pub(crate) async fn view_including(
        &self,
        generation: SiteGeneration,
        seen: Seen,
        freshness: Freshness,
        merging: Merging,
    ) -> Result<Reading, ApiError> {
        let site = generation.site;
        let (group, is_fresh) = self.in_touch(site, freshness)?;
        self.catch_up(&group, seen.index).await?;
        let mut at = self.partitions.view(generation).await?;
        if !Seen::of(at.index, &at.view).includes(seen) {
            if merging == Merging::Never {
                return Err(behind(&group, "has late events to merge first"));
            }
            metrics::counter!("ringtail_query_session_checkpoints_total").increment(1);
            self.partitions.checkpoint_site(site).await?;
            at = self.partitions.view(generation).await?;
        }
        if !Seen::of(at.index, &at.view).includes(seen) {
            return Err(behind(&group, "has not seen what the session has seen"));
        }
        Ok(Reading { at, is_fresh })
    }

    /// The site's group, and whether its replica here is in touch with it.
    fn in_touch(&self, site: SiteId, freshness: Freshness) -> Result<(Group, bool), ApiError> {
        let group = self.group(site)?;
        let contact = group.contact_age();
        let is_fresh = contact.is_some_and(|age| age <= CONTACT_AGE_MAX);
        if !is_fresh && freshness == Freshness::InTouch {
            return Err(behind(&group, "has not heard its leader for a second"));
        }
        Ok((group, is_fresh))
    }

    /// The state of a site that includes everything that was acknowledged before this call. Only the partition's leader
    /// can tell.
    pub(crate) async fn view_of_leader(&self, site: SiteId) -> Result<ViewAt, ApiError> {
        let group = self.group(site)?;
        group.read_index().await.map_err(unavailable)?;
        Ok(self.partitions.view(self.serving(site)).await?)
    }

    /// Brings late events into the numbers, all those up to what was seen.
    pub(crate) async fn merge_late(&self, site: SiteId, seen: Seen) -> Result<(), ApiError> {
        let group = self.group(site)?;
        self.catch_up(&group, seen.index).await?;
        self.partitions.checkpoint_site(site).await?;
        Ok(())
    }

    /// True when this node has a replica of the site's partition.
    pub(crate) fn holds(&self, site: SiteId) -> bool {
        self.group(site).is_ok()
    }

    fn group(&self, site: SiteId) -> Result<Group, ApiError> {
        Ok(self.partitions.group(self.group_of(site))?)
    }

    /// Who leads a group, as its replica here knows; none without one.
    pub(crate) fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.raft.group(group)?.leader()
    }

    /// Waits until everything is applied that the replica knows to be committed, and the entry that was asked for.
    async fn catch_up(&self, group: &Group, index: LogIndex) -> Result<(), ApiError> {
        let committed = group.committed().map(|position| position.index);
        let known = committed.unwrap_or_default().0;
        if index.0.saturating_sub(known) > AHEAD_ENTRIES_MAX {
            return Err(behind(group, "does not know what the session has seen"));
        }
        let target = committed.max(Some(index)).filter(|index| index.0 > 0);
        let mut applied = group.watch_applied();
        let reached = applied.wait_for(|applied| applied.map(|position| position.index) >= target);
        match timeout(CATCH_UP_WAIT_MAX, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(behind(group, "is closed")),
            Err(_elapsed) => Err(behind(group, "is behind its log")),
        }
    }
}

fn behind(group: &Group, how: &str) -> ApiError {
    let message = format!("the replica of partition {} on this node {how}", group.id());
    ApiError::new(ErrorKind::Unavailable, message)
}

fn unavailable(error: RaftError) -> ApiError {
    ApiError::new(ErrorKind::Unavailable, error)
}
