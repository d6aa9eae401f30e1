//! Timings and limits of a node's groups.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use ringtail_proto::NodeId;

use crate::error::RaftError;

/// Timings and limits of a node's groups. The defaults are those that RAFT measurements of failover and idle cost chose.
#[derive(Clone, Debug)]
pub struct RaftOptions {
    /// This node; never the id of a node that lost its disk.
    pub node: NodeId,
    /// How often this node tells the members of all groups it leads that it lives. Default 200 ms.
    pub heartbeat_interval: Duration,
    /// A follower stands for election after a silence between this and the next. Default 600 ms.
    pub election_timeout_min: Duration,
    /// Default 800 ms.
    pub election_timeout_max: Duration,
    /// Largest command, in bytes. Default 16 MiB.
    pub command_bytes_max: usize,
    /// Proposals of one group between acceptance and reply; further ones wait. Default 1,024.
    pub group_proposals_max: usize,
    /// Bytes of the proposals of all groups between acceptance and reply; further ones wait. One group may take a
    /// quarter of it. The metadata's group has a quarter of its own beside it. Default 64 MiB.
    pub node_proposal_bytes_max: usize,
    /// The planted fault: see `openraft_config`.
    #[cfg(feature = "planted-bugs")]
    leader_restore: bool,
}

impl RaftOptions {
    /// With the fault that RAFT measurements found to lose what was acknowledged.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn with_leader_restore(self) -> Self {
        Self {
            leader_restore: true,
            ..self
        }
    }

    /// The defaults for this node.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            heartbeat_interval: Duration::from_millis(200),
            election_timeout_min: Duration::from_millis(600),
            election_timeout_max: Duration::from_millis(800),
            command_bytes_max: 16 << 20,
            group_proposals_max: 1024,
            node_proposal_bytes_max: 64 << 20,
            #[cfg(feature = "planted-bugs")]
            leader_restore: false,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), RaftError> {
        let invalid = |option, reason: &str| RaftError::InvalidOption {
            option,
            reason: reason.to_owned(),
        };
        if self.group_proposals_max == 0 {
            return Err(invalid("group_proposals_max", "it is zero"));
        }
        if self.command_bytes_max == 0 {
            return Err(invalid("command_bytes_max", "it is zero"));
        }
        if self.node_proposal_bytes_max < self.command_bytes_max {
            let reason = "it is below command_bytes_max";
            return Err(invalid("node_proposal_bytes_max", reason));
        }
        if u32::try_from(self.node_proposal_bytes_max).is_err() {
            return Err(invalid("node_proposal_bytes_max", "it is over 4 GiB"));
        }
        if self.heartbeat_interval.is_zero() {
            return Err(invalid("heartbeat_interval", "it is zero"));
        }
        Ok(())
    }

    /// Bytes of one group's proposals: at least one command fits, whatever the node's limit.
    pub(crate) fn group_proposal_bytes_max(&self) -> usize {
        (self.node_proposal_bytes_max / 4).max(self.command_bytes_max)
    }

    /// How long an append may take, and the base of the groups' ticks, which are most of what an idle node costs: longer
    /// is calmer, and it has to stay below the shortest election timeout.
    fn append_timeout(&self) -> Duration {
        self.election_timeout_min * 29 / 30
    }

    pub(crate) fn openraft_config(&self) -> Result<Arc<Config>, RaftError> {
        let config = Config {
            cluster_name: "ringtail".to_owned(),
            // A restored leader reuses log ids whose entries its followers hold with other content: measured loss.
            enable_leader_restore: Some(false),
            enable_pre_vote: Some(true),
            // One timer per node sends the heartbeats of all groups together; see `heartbeat`.
            enable_heartbeat: false,
            heartbeat_interval: milliseconds(self.append_timeout()),
            election_timeout_min: milliseconds(self.election_timeout_min),
            election_timeout_max: milliseconds(self.election_timeout_max),
            // A snapshot is built when a floor is raised, and the log is purged up to it at once.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            purge_batch_size: 1,
            install_snapshot_timeout: 10_000,
            api_channel_size: Some(4096),
            backoff: "50ms 50ms 50ms".to_owned(),
            ..Config::default()
        };
        #[cfg(feature = "planted-bugs")]
        let config = Config {
            enable_leader_restore: Some(self.leader_restore),
            ..config
        };
        let config = config
            .validate()
            .map_err(|error| RaftError::InvalidOption {
                option: "election_timeout",
                reason: error.to_string(),
            })?;
        Ok(Arc::new(config))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_are_never_restored_without_an_election() {
        let config = RaftOptions::new(NodeId(1))
            .openraft_config()
            .expect("valid");
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.enable_pre_vote, Some(true));
        assert!(!config.enable_heartbeat);
    }

    #[test]
    fn limits_that_cannot_work_are_refused() {
        let check = |change: fn(&mut RaftOptions), expect: &str| {
            let mut options = RaftOptions::new(NodeId(1));
            change(&mut options);
            let error = options
                .validate()
                .and_then(|()| options.openraft_config().map(drop));
            let error = error.expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(
            |options| options.group_proposals_max = 0,
            "group_proposals_max",
        );
        check(|options| options.command_bytes_max = 0, "command_bytes_max");
        check(
            |options| options.command_bytes_max = options.node_proposal_bytes_max + 1,
            "node_proposal_bytes_max",
        );
        check(
            |options| options.node_proposal_bytes_max = 5 << 30,
            "over 4 GiB",
        );
        check(
            |options| options.heartbeat_interval = Duration::ZERO,
            "heartbeat_interval",
        );
        check(
            |options| options.election_timeout_max = options.election_timeout_min,
            "election_timeout",
        );
    }
}
