//! The commands of group 0 as its log keeps them.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{GroupId, NodeId, SiteId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Domain, GoalCondition, GoalId, JoinAttempt, JoinTokenId, KeyId, Limits,
    MetadataError, NodeAddresses, NodeState, OptionsChange, Scope, SecretHash, node,
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
    /// Adds the first node of a ring or changes where it answers, except to its peers.
    RegisterNode {
        /// Its id.
        node: NodeId,
        /// Where it answers; the peer address is not part of the stored form.
        #[serde(with = "node::alone")]
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
    /// Makes a token that lets one node join.
    CreateJoinToken {
        /// What it is for.
        name: String,
        /// BLAKE3 of its secret.
        secret_hash: SecretHash,
        /// From when on it is refused.
        expires: UnixMillis,
    },
    /// Forgets a token.
    RevokeJoinToken {
        /// The token.
        token: JoinTokenId,
    },
    /// Spends a token and makes a node.
    JoinNode {
        /// The token.
        token: JoinTokenId,
        /// BLAKE3 of the secret that the node showed.
        secret_hash: SecretHash,
        /// Chosen by the node.
        attempt: JoinAttempt,
        /// Where it will answer.
        addresses: NodeAddresses,
        /// Where it stands.
        zone: String,
        /// The newest feature that its binary knows.
        feature_level: u32,
    },
    /// What a node says of itself when it starts.
    DescribeNode {
        /// The node.
        node: NodeId,
        /// Where it answers.
        addresses: NodeAddresses,
        /// Where it stands.
        zone: String,
        /// The newest feature that its binary knows.
        feature_level: u32,
    },
    /// Takes a node in, lets it go, or counts it as gone.
    SetNodeState {
        /// The node.
        node: NodeId,
        /// What it may do from now on.
        state: NodeState,
        /// Counts it as gone although it holds replicas, where the others can do without.
        is_forced: bool,
    },
    /// Sets the most replicas of a group.
    SetReplicationFactor {
        /// 1, 3 or 5.
        replicas_max: u8,
    },
    /// Raises what every binary of the ring has to know.
    RaiseFeatureGate {
        /// At most what the oldest binary of the ring knows.
        level: u32,
    },
    /// Sends a group to other nodes.
    MoveGroup {
        /// The group.
        group: GroupId,
        /// Its voters to be, the preferred leader first.
        target: Vec<NodeId>,
    },
    /// Notes that a group has arrived.
    SettleGroup {
        /// The group.
        group: GroupId,
        /// The move that has ended.
        revision: u64,
        /// Its voters.
        voters: Vec<NodeId>,
    },
    /// Derives another generation of a site from its past.
    Reprocess {
        /// The site.
        site: SiteId,
        /// The rules, as the partition's log carries them.
        rules: Vec<u8>,
        /// What the rules are called, for people.
        label: String,
    },
    /// Halts the building of a site's next generation or lets it go on.
    PauseReprocess {
        /// The site.
        site: SiteId,
        /// True halts it.
        is_paused: bool,
    },
    /// Gives up a site's next generation.
    CancelReprocess {
        /// The site.
        site: SiteId,
        /// The next generation's number.
        generation: u32,
    },
    /// Makes queries read a site's next generation, or its former one again; the present one becomes the former.
    SwitchGeneration {
        /// The site.
        site: SiteId,
        /// That generation's number.
        generation: u32,
    },
    /// Gives up a site's former generation.
    AcceptGeneration {
        /// The site.
        site: SiteId,
        /// The former generation's number.
        former: u32,
    },
}

impl Command {
    /// True when the command is the node's own housekeeping, which the audit log leaves out.
    #[must_use]
    pub const fn is_housekeeping(&self) -> bool {
        matches!(
            self,
            Self::TouchKeys { .. } | Self::SettleSites { .. } | Self::SettleGroup { .. }
        )
    }

    /// What every binary of the ring has to know before the command may enter the log: an older one would stop at it.
    /// A new variant starts with a new level.
    #[must_use]
    pub const fn feature_level(&self) -> u32 {
        match self {
            Self::SetReplicationFactor { .. } => 1,
            Self::Reprocess { .. }
            | Self::PauseReprocess { .. }
            | Self::CancelReprocess { .. }
            | Self::SwitchGeneration { .. }
            | Self::AcceptGeneration { .. } => 2,
            _ => 0,
        }
    }

    /// True when carrying the command out twice is like once, so that one in doubt may simply be sent again.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        match self {
            Self::InitCluster { .. }
            | Self::SetLimits { .. }
            | Self::RegisterNode { .. }
            | Self::SetAliases { .. }
            | Self::PauseSite { .. }
            | Self::RevokeKey { .. }
            | Self::TouchKeys { .. }
            | Self::SettleSites { .. }
            | Self::JoinNode { .. }
            | Self::DescribeNode { .. }
            | Self::SetNodeState { .. }
            | Self::SetReplicationFactor { .. }
            | Self::RaiseFeatureGate { .. }
            | Self::PauseReprocess { .. }
            | Self::CancelReprocess { .. }
            | Self::SwitchGeneration { .. }
            | Self::AcceptGeneration { .. }
            | Self::SettleGroup { .. } => true,
            Self::AddSite { .. }
            | Self::RenameSite { .. }
            | Self::SetSiteOptions { .. }
            | Self::AddGoal { .. }
            | Self::RemoveGoal { .. }
            | Self::AddKey { .. }
            | Self::CreateJoinToken { .. }
            | Self::RevokeJoinToken { .. }
            | Self::Reprocess { .. }
            | Self::MoveGroup { .. } => false,
        }
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
            Self::CreateJoinToken { name, expires, .. } => {
                write!(formatter, "create join token {name:?} until {expires}")
            }
            Self::RevokeJoinToken { token } => write!(formatter, "revoke join token {token}"),
            Self::JoinNode {
                token,
                addresses,
                zone,
                ..
            } => write!(
                formatter,
                "join a node at {} in zone {zone:?} with token {token}",
                addresses.peer
            ),
            Self::DescribeNode {
                node,
                addresses,
                zone,
                feature_level,
            } => write!(
                formatter,
                "node {node} is at http {}, grpc {} and peer {} in zone {zone:?} with features up to {feature_level}",
                addresses.http, addresses.grpc, addresses.peer
            ),
            Self::SetNodeState {
                node,
                state,
                is_forced,
            } => {
                let forced = if *is_forced { ", forced" } else { "" };
                write!(formatter, "set node {node} {state}{forced}")
            }
            Self::SetReplicationFactor { replicas_max } => {
                write!(formatter, "keep up to {replicas_max} replicas of a group")
            }
            Self::RaiseFeatureGate { level } => {
                write!(formatter, "raise the feature gate to {level}")
            }
            Self::MoveGroup { group, target } => {
                write!(formatter, "move group {group} to nodes {}", list(target))
            }
            Self::SettleGroup { group, voters, .. } => {
                write!(formatter, "group {group} is at nodes {}", list(voters))
            }
            Self::Reprocess { site, label, .. } => {
                write!(formatter, "reprocess site {site} under {label:?}")
            }
            Self::PauseReprocess {
                site,
                is_paused: true,
            } => write!(formatter, "pause the reprocessing of site {site}"),
            Self::PauseReprocess {
                site,
                is_paused: false,
            } => write!(formatter, "resume the reprocessing of site {site}"),
            Self::CancelReprocess { site, generation } => {
                write!(formatter, "give up generation {generation} of site {site}")
            }
            Self::SwitchGeneration { site, generation } => {
                write!(formatter, "switch site {site} to generation {generation}")
            }
            Self::AcceptGeneration { site, former } => {
                write!(
                    formatter,
                    "give up the former generation {former} of site {site}"
                )
            }
        }
    }
}

fn list(nodes: &[NodeId]) -> String {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    nodes.join(",")
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
    /// A join token was made.
    JoinToken(JoinTokenId),
    /// A node joined, or had joined with the same attempt.
    Node(NodeId),
    /// A generation of a site was begun.
    Generation(u32),
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
