//! The commands of group 0 as its log keeps them.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{NodeId, SiteId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Domain, GoalCondition, GoalId, KeyId, Limits, MetadataError, NodeAddresses,
    OptionsChange, Scope, SecretHash,
    versioned::{decode, encode},
};

/// One entry of the metadata log: a command with who, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who asked for it.
    pub who: String,
    /// The proposing node's clock.
    pub at: UnixMillis,
    /// The reason given, or empty.
    pub why: String,
    /// What to do.
    pub command: Command,
}

impl Entry {
    /// The bytes of the log entry: version byte, then postcard.
    #[must_use]
    pub fn to_log(&self) -> Bytes {
        encode(self)
    }

    /// Reads what [`Self::to_log`] wrote.
    ///
    /// # Errors
    /// [`MetadataError::Unreadable`] when it is empty, newer than this binary, or not an entry.
    pub fn from_log(bytes: &[u8]) -> Result<Self, MetadataError> {
        decode("metadata entry", bytes)
    }
}

/// A change of the metadata. The order of the variants and of their fields is the stored format: only append
/// variants; a changed one needs a new version. Randomness is drawn before, by the proposer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes the ring; the first command of a new one.
    InitCluster {
        /// Random id.
        cluster: ClusterId,
        /// Number of partition groups.
        groups: u32,
        /// Bounds.
        limits: Limits,
    },
    /// Changes the bounds; what is above a new bound stays, but does not grow.
    SetLimits {
        /// Bounds.
        limits: Limits,
    },
    /// Adds a node or changes where it answers.
    RegisterNode {
        /// Its id.
        node: NodeId,
        /// Where it answers.
        addresses: NodeAddresses,
    },
    /// Adds a site.
    AddSite {
        /// Its name.
        domain: Domain,
        /// IANA name of its zone.
        timezone: Arc<str>,
        /// Random key of its unique-visitor hashes.
        sketch_key: u64,
    },
    /// Gives a site another name; the former one stays as an alias.
    RenameSite {
        /// The site.
        site: SiteId,
        /// Its new name.
        domain: Domain,
    },
    /// Replaces a site's other names.
    SetAliases {
        /// The site.
        site: SiteId,
        /// All other names from now on.
        aliases: Vec<Domain>,
    },
    /// Pauses a site or lets it go on.
    PauseSite {
        /// The site.
        site: SiteId,
        /// True pauses.
        is_paused: bool,
    },
    /// Changes options of a site.
    SetSiteOptions {
        /// The site.
        site: SiteId,
        /// What changes.
        change: OptionsChange,
    },
    /// Adds a goal; it counts from now on.
    AddGoal {
        /// The site.
        site: SiteId,
        /// The name shown.
        name: String,
        /// What reaches it.
        condition: GoalCondition,
    },
    /// Removes a goal.
    RemoveGoal {
        /// The site.
        site: SiteId,
        /// The goal.
        goal: GoalId,
    },
    /// Adds a key.
    AddKey {
        /// What its owner calls it.
        name: String,
        /// What it may do.
        scope: Scope,
        /// Where; none for every site.
        site: Option<SiteId>,
        /// BLAKE3 of its secret.
        secret_hash: SecretHash,
        /// From when on it is refused.
        expires: Option<UnixMillis>,
    },
    /// Refuses a key from now on.
    RevokeKey {
        /// The key.
        key: KeyId,
    },
    /// Notes when keys were last used.
    TouchKeys {
        /// Keys and times.
        used: Vec<(KeyId, UnixMillis)>,
    },
    /// Notes which settings the partitions' logs hold.
    SettleSites {
        /// Sites and the revision that is in their partition's log.
        settled: Vec<(SiteId, u64)>,
    },
}

impl Command {
    /// True when the command is the node's own housekeeping, which the audit log leaves out.
    #[must_use]
    pub const fn is_housekeeping(&self) -> bool {
        matches!(self, Self::TouchKeys { .. } | Self::SettleSites { .. })
    }
}

/// What the audit log says about a command.
impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InitCluster {
                cluster, groups, ..
            } => {
                write!(formatter, "init cluster {cluster} with {groups} groups")
            }
            Self::SetLimits { limits } => write!(formatter, "set limits to {limits:?}"),
            Self::RegisterNode { node, addresses } => write!(
                formatter,
                "register node {node} at http {} and grpc {}",
                addresses.http, addresses.grpc
            ),
            Self::AddSite {
                domain, timezone, ..
            } => {
                write!(formatter, "add site {domain} in {timezone}")
            }
            Self::RenameSite { site, domain } => {
                write!(formatter, "rename site {site} to {domain}")
            }
            Self::SetAliases { site, aliases } => {
                write!(formatter, "set aliases of site {site} to {aliases:?}")
            }
            Self::PauseSite {
                site,
                is_paused: true,
            } => write!(formatter, "pause site {site}"),
            Self::PauseSite {
                site,
                is_paused: false,
            } => write!(formatter, "resume site {site}"),
            Self::SetSiteOptions { site, change } => {
                write!(formatter, "set options of site {site}: {change:?}")
            }
            Self::AddGoal {
                site,
                name,
                condition,
            } => {
                write!(formatter, "add goal {name:?} to site {site}: {condition:?}")
            }
            Self::RemoveGoal { site, goal } => {
                write!(formatter, "remove goal {goal} of site {site}")
            }
            Self::AddKey {
                name,
                scope,
                site: Some(site),
                ..
            } => {
                write!(formatter, "add {scope} key {name:?} for site {site}")
            }
            Self::AddKey {
                name,
                scope,
                site: None,
                ..
            } => {
                write!(formatter, "add {scope} key {name:?} for all sites")
            }
            Self::RevokeKey { key } => write!(formatter, "revoke key {key}"),
            Self::TouchKeys { used } => {
                write!(formatter, "note the last use of {} keys", used.len())
            }
            Self::SettleSites { settled } => {
                write!(formatter, "note the settings of {} sites", settled.len())
            }
        }
    }
}

/// What a command made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing that has an id.
    Done,
    /// A site was added or changed.
    Site(SiteId),
    /// A goal was added.
    Goal(GoalId),
    /// A key was added or revoked.
    Key(KeyId),
}

impl Outcome {
    /// Reads the machine's reply to an entry.
    ///
    /// # Errors
    /// Why the command was refused, or [`MetadataError::Unreadable`] for what is no reply.
    pub fn from_reply(reply: &[u8]) -> Result<Self, MetadataError> {
        decode::<Result<Self, MetadataError>>("metadata reply", reply)?
    }
}
