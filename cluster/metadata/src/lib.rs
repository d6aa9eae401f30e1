//! Group 0: what the ring knows about itself, its sites, goals, keys and nodes, and who changed what, when and why.
//!
//! Place in the flow: beside it. *collect* and *enrich* ask the [`Directory`] for sites and keys, *route* for groups;
//! administration goes through [`Metadata::execute`], a Raft log entry for every change. Time and randomness enter with
//! the command; apply uses neither.
//!
//! Every node has a copy. [`Metadata::execute`] works on each: where the leader of group 0 is another node, the command
//! goes there in one hop ([`LeaderLink`]), and the answer comes when the own copy shows it. Nodes join by
//! [`JoinToken`]; where groups are and should be is a [`GroupPlacement`] each, and [`reconcile`] takes them there.
//!
//! It deliberately does not know partitions: what apply of events depends on is handed out as
//! [`SettingsPush`] and enters a partition's own log through whoever calls [`Metadata::settle`] afterwards.

mod ask;
mod audit;
mod cluster;
mod command;
mod consensus;
mod decide;
mod decide_places;
mod decide_ring;
mod directory;
mod domain;
mod error;
mod group_placement;
mod join_token;
mod key;
mod leader_link;
mod machine;
mod membership;
mod metadata;
mod node;
mod placement_map;
pub mod reconcile;
mod ring_link;
mod ring_state;
mod rows;
mod settings;
mod sharded;
mod site;
mod site_past;
mod snapshot;
mod validate;
mod versioned;
pub mod zone;

pub use audit::AuditRecord;
pub use cluster::{Cluster, ClusterId, Limits};
pub use command::{Command, Entry, Outcome};
pub use consensus::{Consensus, Written};
pub use decide_ring::{JOIN_TOKEN_MS_MAX, JOIN_TOKENS_MAX, LEFT_NODES_MAX};
pub use directory::Directory;
pub use domain::{DOMAIN_BYTES_MAX, Domain};
pub use error::MetadataError;
pub use group_placement::GroupPlacement;
pub use join_token::{JoinAttempt, JoinSecret, JoinToken, JoinTokenId, JoinTokenUse};
pub use key::{Key, KeyId, KeyRefusal, Scope, Secret, SecretHash};
pub use leader_link::{LeaderLink, LinkError};
pub use machine::MetadataMachine;
pub use membership::{Description, NewNode};
pub use metadata::{Actor, DEADLINE, ENTRY_BYTES_MAX, Metadata, NewKey, Seams};
pub use node::{Node, NodeAddresses, NodeState, PeerReach};
pub use placement_map::{METADATA_GROUP, PlacementMap};
pub use ring_link::RingLink;
pub use ringtail_raft::Channels;
pub use settings::{SettingsPush, settings_of};
pub use site::{Goal, GoalCondition, GoalId, OptionsChange, Site, SiteOptions};
pub use site_past::{
    GenerationRecord, NextGeneration, REPROCESS_LABEL_BYTES_MAX, RULES_BYTES_MAX, SitePast,
};
pub use validate::{
    ADDRESS_BYTES_MAX, ALLOWED_ORIGINS_MAX, ALLOWED_QUERY_PARAMETERS_MAX, CONDITION_BYTES_MAX,
    GROUPS_MAX, HOUSEKEEPING_ROWS_MAX, NAME_BYTES_MAX, PROPERTY_KEYS_MAX, REASON_BYTES_MAX,
    REPLICAS_MAX, VISIT_TIMEOUT_MINUTES_MAX, ZONE_BYTES_MAX,
};
pub use versioned::FORMAT_VERSION;
