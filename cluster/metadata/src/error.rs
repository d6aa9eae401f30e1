//! Why a command was not carried out.

use ringtail_proto::{ErrorKind, GroupId, NodeId, SiteId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{ClusterId, Domain, GoalId, JoinTokenId, KeyId, NodeState};

/// Why a command was not carried out. A refusal by the state travels back in the reply of the log entry and stays in the
/// audit log: the order of the variants is stored, only append to them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MetadataError {
    /// The domain belongs to a site, as its name or as an alias.
    #[error("domain {domain} belongs to site {site} already")]
    SiteExists {
        /// The domain.
        domain: Domain,
        /// Its site.
        site: SiteId,
    },
    /// No site has this id.
    #[error("there is no site {site}")]
    UnknownSite {
        /// The id.
        site: SiteId,
    },
    /// Not a host name.
    #[error("domain {domain:?} is not valid: {reason}")]
    InvalidDomain {
        /// What was given, cut to 253 characters.
        domain: String,
        /// What is wrong.
        reason: String,
    },
    /// Not a name of the IANA time zone database.
    #[error("time zone {timezone:?} is not in the IANA database")]
    InvalidTimezone {
        /// What was given, cut to 100 characters.
        timezone: String,
    },
    /// A field of the command is not valid.
    #[error("{field} is not valid: {reason}")]
    InvalidField {
        /// The field.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// The ring has as many sites as it may.
    #[error("there are {max} sites already, the most there may be")]
    TooManySites {
        /// The limit.
        max: u32,
    },
    /// The site has as many aliases as it may.
    #[error("site {site} may have {max} aliases at most")]
    TooManyAliases {
        /// The site.
        site: SiteId,
        /// The limit.
        max: u32,
    },
    /// The site has as many goals as it may.
    #[error("site {site} has {max} goals already, the most there may be")]
    TooManyGoals {
        /// The site.
        site: SiteId,
        /// The limit.
        max: u32,
    },
    /// The ring has as many keys as it may.
    #[error("there are {max} keys already, the most there may be; revoke one first")]
    TooManyKeys {
        /// The limit.
        max: u32,
    },
    /// The ring has as many nodes as it may.
    #[error("there are {max} nodes already, the most there may be")]
    TooManyNodes {
        /// The limit.
        max: u32,
    },
    /// The site has a goal of this name or with this condition.
    #[error("goal {goal} has this name or this condition already")]
    GoalExists {
        /// The goal that is there.
        goal: GoalId,
    },
    /// The site has no goal of this id.
    #[error("site {site} has no goal {goal}")]
    UnknownGoal {
        /// The site.
        site: SiteId,
        /// The id.
        goal: GoalId,
    },
    /// A key with this secret is there.
    #[error("key {key} has this secret already")]
    KeyExists {
        /// The key that is there.
        key: KeyId,
    },
    /// No key has this id.
    #[error("there is no key {key}")]
    UnknownKey {
        /// The id.
        key: KeyId,
    },
    /// The node is not registered and the command does not register it.
    #[error("there is no node {node}")]
    UnknownNode {
        /// The id.
        node: NodeId,
    },
    /// Nothing may be added before the ring is made.
    #[error("the ring is not initialised")]
    NotInitialised,
    /// The ring has been made, under this id.
    #[error("the ring is initialised as {cluster} already")]
    AlreadyInitialised {
        /// Its id.
        cluster: ClusterId,
    },
    /// The group has no leader now, or the node stops; nothing was written.
    #[error("the metadata cannot be changed now: {message}")]
    Unavailable {
        /// What the group said.
        message: String,
    },
    /// The disk is full; nothing was written.
    #[error("the metadata cannot be changed now: {message}")]
    StorageFull {
        /// What the group said.
        message: String,
    },
    /// The command may still be carried out.
    #[error("whether the command is carried out is unknown: {message}")]
    InDoubt {
        /// What the group said.
        message: String,
    },
    /// A row, a command or a reply that this binary cannot read.
    #[error("{what} cannot be read: {message}")]
    Unreadable {
        /// The row or the entry.
        what: String,
        /// What is wrong.
        message: String,
    },
    /// The store failed.
    #[error("the metadata store failed: {message}")]
    Storage {
        /// What the store said.
        message: String,
    },
    /// No token has this id and this secret, or it was revoked.
    #[error("join token {token} is unknown")]
    UnknownJoinToken {
        /// The id.
        token: JoinTokenId,
    },
    /// The token lasts no longer.
    #[error("join token {token} has expired")]
    JoinTokenExpired {
        /// The token.
        token: JoinTokenId,
        /// When.
        expires: UnixMillis,
    },
    /// A node joined with the token before.
    #[error("join token {token} was used by node {node}")]
    JoinTokenUsed {
        /// The token.
        token: JoinTokenId,
        /// That node.
        node: NodeId,
    },
    /// The ring has as many good tokens as it may.
    #[error("there are {max} join tokens already, the most there may be; revoke one first")]
    TooManyJoinTokens {
        /// The limit.
        max: u32,
    },
    /// Another node of the ring answers there.
    #[error("address {address} belongs to node {node}")]
    AddressTaken {
        /// The address.
        address: String,
        /// Its node.
        node: NodeId,
    },
    /// The binary is older than the ring.
    #[error("the binary knows features up to {level}, the ring needs {needed}")]
    FeatureLevelTooLow {
        /// What the binary knows.
        level: u32,
        /// What the ring needs.
        needed: u32,
    },
    /// The gate would shut a node of the ring out.
    #[error("node {node} knows features up to {level} only")]
    FeatureGateTooHigh {
        /// A node that knows less.
        node: NodeId,
        /// What it knows.
        level: u32,
    },
    /// The node is gone for good.
    #[error("node {node} has left the ring")]
    NodeLeft {
        /// The node.
        node: NodeId,
    },
    /// There is no way from one state to the other.
    #[error("node {node} is {from}, it cannot become {to}")]
    NodeStateUnreachable {
        /// The node.
        node: NodeId,
        /// What it is.
        from: NodeState,
        /// What it should become.
        to: NodeState,
    },
    /// Nobody would be left to hold anything.
    #[error("node {node} is the last active one")]
    LastActiveNode {
        /// The node.
        node: NodeId,
    },
    /// The node has replicas that have to move first.
    #[error("node {node} still holds {groups} groups, group {first} among them; drain it first")]
    NodeHoldsGroups {
        /// The node.
        node: NodeId,
        /// How many.
        groups: u32,
        /// One of them.
        first: GroupId,
    },
    /// Without the node, a group could never again agree on anything.
    #[error(
        "without node {node}, {remaining} of {voters} voters of group {group} would be left, fewer than a majority"
    )]
    QuorumLost {
        /// The node.
        node: NodeId,
        /// A group that needs it.
        group: GroupId,
        /// Voters that would be left.
        remaining: u32,
        /// Voters of the group.
        voters: u32,
    },
    /// Nobody but its leader knows who votes in the group by now.
    #[error(
        "group {group} was sent elsewhere on its way and may need node {node}; wait until it has arrived"
    )]
    GroupDiverted {
        /// The node.
        node: NodeId,
        /// The group.
        group: GroupId,
    },
    /// More replicas than there are nodes for them.
    #[error("{replicas} replicas need as many active nodes, there are {nodes}")]
    TooFewNodes {
        /// What was asked for.
        replicas: u32,
        /// Active nodes.
        nodes: u32,
    },
    /// No group has this id.
    #[error("there is no group {group}")]
    UnknownGroup {
        /// The id.
        group: GroupId,
    },
    /// Groups go to active nodes only.
    #[error("node {node} is {state}, groups are not sent there")]
    NodeNotActive {
        /// The node.
        node: NodeId,
        /// What it is.
        state: NodeState,
    },
    /// The group has been sent elsewhere since.
    #[error("group {group} is on its move {revision} by now")]
    MoveOutdated {
        /// The group.
        group: GroupId,
        /// Its present move.
        revision: u64,
    },
    /// A node of the ring may not know the command yet.
    #[error(
        "the command needs feature level {needed} on all nodes, the ring is at {gate}: upgrade all nodes first"
    )]
    FeatureNotReady {
        /// What the command needs.
        needed: u32,
        /// What is sure.
        gate: u32,
    },
    /// It says where to listen, not where to call.
    #[error(
        "peer address {address} tells no other node where to call: that node needs peer_advertised"
    )]
    AddressUnreachable {
        /// What was said.
        address: String,
    },
    /// The site has a next generation already.
    #[error(
        "site {site} is being reprocessed into generation {generation} already; switch to it or cancel it first"
    )]
    AlreadyReprocessed {
        /// The site.
        site: SiteId,
        /// Its next generation.
        generation: u32,
    },
    /// The site has no next generation.
    #[error("site {site} is not being reprocessed")]
    NotReprocessed {
        /// The site.
        site: SiteId,
    },
    /// The site's next generation is another one, or there is none.
    #[error("generation {generation} is not the next one of site {site}")]
    UnknownGeneration {
        /// The site.
        site: SiteId,
        /// The number that was given.
        generation: u32,
    },
    /// There is nothing to go back to.
    #[error("site {site} has no former generation")]
    NoFormerGeneration {
        /// The site.
        site: SiteId,
    },
}

impl MetadataError {
    /// The kind that interfaces answer with.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::SiteExists { .. }
            | Self::GoalExists { .. }
            | Self::KeyExists { .. }
            | Self::AlreadyInitialised { .. }
            | Self::AddressTaken { .. }
            | Self::FeatureLevelTooLow { .. }
            | Self::FeatureGateTooHigh { .. }
            | Self::NodeLeft { .. }
            | Self::NodeStateUnreachable { .. }
            | Self::LastActiveNode { .. }
            | Self::NodeHoldsGroups { .. }
            | Self::QuorumLost { .. }
            | Self::GroupDiverted { .. }
            | Self::TooFewNodes { .. }
            | Self::NodeNotActive { .. }
            | Self::MoveOutdated { .. }
            | Self::FeatureNotReady { .. }
            | Self::AlreadyReprocessed { .. }
            | Self::NotReprocessed { .. }
            | Self::UnknownGeneration { .. }
            | Self::NoFormerGeneration { .. }
            | Self::AddressUnreachable { .. } => ErrorKind::Conflict,
            Self::UnknownJoinToken { .. }
            | Self::JoinTokenExpired { .. }
            | Self::JoinTokenUsed { .. } => ErrorKind::Unauthenticated,
            Self::UnknownSite { .. }
            | Self::UnknownGoal { .. }
            | Self::UnknownKey { .. }
            | Self::UnknownGroup { .. }
            | Self::UnknownNode { .. } => ErrorKind::NotFound,
            Self::InvalidDomain { .. }
            | Self::InvalidTimezone { .. }
            | Self::InvalidField { .. } => ErrorKind::InvalidRequest,
            Self::TooManySites { .. }
            | Self::TooManyAliases { .. }
            | Self::TooManyGoals { .. }
            | Self::TooManyKeys { .. }
            | Self::TooManyJoinTokens { .. }
            | Self::TooManyNodes { .. } => ErrorKind::TooLarge,
            Self::NotInitialised | Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::StorageFull { .. } => ErrorKind::StorageFull,
            Self::InDoubt { .. } => ErrorKind::InDoubt,
            Self::Unreadable { .. } | Self::Storage { .. } => ErrorKind::Internal,
        }
    }

    /// True when the command may still be carried out although it failed.
    #[must_use]
    pub const fn may_still_commit(&self) -> bool {
        matches!(self, Self::InDoubt { .. })
    }

    pub(crate) fn invalid(field: &str, reason: impl Into<String>) -> Self {
        Self::InvalidField {
            field: field.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unreadable(what: impl Into<String>, message: impl ToString) -> Self {
        Self::Unreadable {
            what: what.into(),
            message: message.to_string(),
        }
    }

    pub(crate) fn storage(error: impl ToString) -> Self {
        Self::Storage {
            message: error.to_string(),
        }
    }
}
