//! The rules for nodes, tokens and the places of groups.

use std::sync::Arc;

use ringtail_proto::{GroupId, NodeId, UnixMillis};

use crate::{
    Description, GroupPlacement, JoinAttempt, JoinToken, JoinTokenId, JoinTokenUse, METADATA_GROUP,
    MetadataError, Node, NodeAddresses, NodeState, Outcome, SecretHash,
    decide::{Change, Decision, Rules, reaches},
    group_placement::set_of,
    reconcile::METADATA_VOTERS_MAX,
    ring_state::RingState,
};

/// Tokens of a ring; used and expired ones give way to new ones. It decides over commands: all binaries of a ring have
/// the same.
pub const JOIN_TOKENS_MAX: u32 = 256;

/// How long a token may last.
pub const JOIN_TOKEN_MS_MAX: i64 = 31 * 24 * 3_600_000;

/// Nodes that left and are still listed; the oldest give way.
pub const LEFT_NODES_MAX: usize = 256;

/// What a node asks for when it joins.
pub(crate) struct Joiner {
    pub(crate) token: JoinTokenId,
    pub(crate) secret_hash: SecretHash,
    pub(crate) attempt: JoinAttempt,
    pub(crate) description: Description,
}

impl Rules<'_> {
    /// The way of the first node, which needs no token.
    pub(crate) fn register_node(
        &self,
        id: NodeId,
        addresses: NodeAddresses,
    ) -> Result<Decision, MetadataError> {
        let max = self.limits()?.nodes_max;
        let node = match self.directory.node(id) {
            Some(node) if !node.is_member() => return Err(MetadataError::NodeLeft { node: id }),
            Some(node) => {
                let peer = node.addresses.peer.clone();
                let addresses = NodeAddresses { peer, ..addresses };
                if node.addresses == addresses {
                    return Decision::unchanged(Outcome::Done);
                }
                Node {
                    addresses,
                    ..Node::clone(&node)
                }
            }
            None if reaches(self.directory.member_count(), max) => {
                return Err(MetadataError::TooManyNodes { max });
            }
            None => Node {
                id,
                joined: self.at,
                addresses: NodeAddresses {
                    peer: String::new(),
                    ..addresses
                },
                zone: String::new(),
                state: NodeState::Active,
                feature_level: 0,
            },
        };
        Decision::node(node)
    }

    pub(crate) fn describe_node(
        &self,
        id: NodeId,
        description: Description,
    ) -> Result<Decision, MetadataError> {
        let node = self.member(id)?;
        self.description_fits(&description, Some(id))?;
        let described = Node {
            addresses: description.addresses,
            zone: description.zone,
            feature_level: description.feature_level,
            ..node.clone()
        };
        if described == node {
            return Decision::unchanged(Outcome::Done);
        }
        Decision::node(described)
    }

    pub(crate) fn create_join_token(
        &self,
        name: String,
        secret_hash: SecretHash,
        expires: UnixMillis,
    ) -> Result<Decision, MetadataError> {
        self.cluster()?;
        if expires <= self.at {
            return Err(MetadataError::invalid("expires", "it is in the past"));
        }
        if expires.0.saturating_sub(self.at.0) > JOIN_TOKEN_MS_MAX {
            return Err(MetadataError::invalid(
                "expires",
                "it is more than 31 days ahead",
            ));
        }
        let tokens = self.directory.join_tokens();
        let mut changes = Vec::new();
        if reaches(tokens.len(), JOIN_TOKENS_MAX) {
            let Some(spent) = tokens.iter().find(|token| !token.is_good(self.at)) else {
                let max = JOIN_TOKENS_MAX;
                return Err(MetadataError::TooManyJoinTokens { max });
            };
            changes.push(Change::ForgetToken(spent.id));
        }
        let mut ring = self.directory.ring_state();
        ring.last_token += 1;
        let id = JoinTokenId(ring.last_token);
        changes.push(Change::Ring(ring));
        changes.push(Change::Token(Arc::new(JoinToken {
            id,
            name,
            secret_hash,
            created: self.at,
            expires,
            used: None,
        })));
        Ok(Decision {
            outcome: Outcome::JoinToken(id),
            changes,
        })
    }

    pub(crate) fn revoke_join_token(&self, token: JoinTokenId) -> Result<Decision, MetadataError> {
        match self.directory.join_token(token) {
            Some(_) => Decision::change(Outcome::Done, Change::ForgetToken(token)),
            None => Err(MetadataError::UnknownJoinToken { token }),
        }
    }

    pub(crate) fn join_node(&self, joiner: Joiner) -> Result<Decision, MetadataError> {
        let max = self.limits()?.nodes_max;
        let id = joiner.token;
        let token = self.directory.join_token(id);
        // A wrong secret is answered like a wrong id: whoever guesses learns nothing.
        let token = token
            .filter(|token| token.secret_hash == joiner.secret_hash)
            .ok_or(MetadataError::UnknownJoinToken { token: id })?;
        if let Some(used) = token.used {
            return self.join_again(&token, used, joiner.attempt);
        }
        if !token.is_good(self.at) {
            let expires = token.expires;
            return Err(MetadataError::JoinTokenExpired { token: id, expires });
        }
        if reaches(self.directory.member_count(), max) {
            return Err(MetadataError::TooManyNodes { max });
        }
        self.description_fits(&joiner.description, None)?;
        let ring = self.with_last_node(1);
        let node = Node {
            id: NodeId(ring.last_node),
            joined: self.at,
            addresses: joiner.description.addresses,
            zone: joiner.description.zone,
            state: NodeState::Joining,
            feature_level: joiner.description.feature_level,
        };
        let used = Some(JoinTokenUse {
            at: self.at,
            attempt: joiner.attempt,
            node: node.id,
        });
        let spent = JoinToken {
            used,
            ..JoinToken::clone(&token)
        };
        Ok(Decision {
            outcome: Outcome::Node(node.id),
            changes: vec![
                Change::Ring(ring),
                Change::Token(Arc::new(spent)),
                Change::Node(Arc::new(node)),
            ],
        })
    }

    /// The answer to the first try may have been lost. Once the node was heard from, it was not: whoever asks then has
    /// copied the token and the attempt.
    fn join_again(
        &self,
        token: &JoinToken,
        used: JoinTokenUse,
        attempt: JoinAttempt,
    ) -> Result<Decision, MetadataError> {
        let node = self.directory.node(used.node);
        let is_waiting = node.is_some_and(|node| node.state == NodeState::Joining);
        if is_waiting && used.attempt == attempt {
            return Decision::unchanged(Outcome::Node(used.node));
        }
        Err(MetadataError::JoinTokenUsed {
            token: token.id,
            node: used.node,
        })
    }

    pub(crate) fn set_node_state(
        &self,
        id: NodeId,
        state: NodeState,
        is_forced: bool,
    ) -> Result<Decision, MetadataError> {
        let Some(node) = self.directory.node(id) else {
            return Err(MetadataError::UnknownNode { node: id });
        };
        if node.state == state {
            return Decision::unchanged(Outcome::Done);
        }
        match (node.state, state) {
            (NodeState::Left, _) => return Err(MetadataError::NodeLeft { node: id }),
            (from, NodeState::Joining) | (from @ NodeState::Joining, NodeState::Draining) => {
                return Err(MetadataError::NodeStateUnreachable {
                    node: id,
                    from,
                    to: state,
                });
            }
            (_, NodeState::Active) => {}
            (_, NodeState::Draining | NodeState::Left) => self.is_not_last_active(&node)?,
        }
        if state == NodeState::Left {
            self.can_be_missed(id, is_forced)?;
        }
        let mut decision = Decision::node(Node {
            state,
            ..Node::clone(&node)
        })?;
        if state == NodeState::Left {
            decision.changes.extend(self.oldest_to_forget());
        }
        Ok(decision)
    }

    fn is_not_last_active(&self, node: &Node) -> Result<(), MetadataError> {
        let nodes = self.directory.nodes();
        let others = nodes.iter().filter(|other| other.id != node.id);
        if others.clone().any(|other| other.is_active()) {
            return Ok(());
        }
        Err(MetadataError::LastActiveNode { node: node.id })
    }

    /// Nothing may be lost with the node: it holds nothing any more, or, when forced, each of its groups keeps a
    /// majority whoever votes in it by now.
    fn can_be_missed(&self, id: NodeId, is_forced: bool) -> Result<(), MetadataError> {
        let placement = self.directory.placement();
        let holds = |group: GroupId, place: &GroupPlacement| match group {
            METADATA_GROUP => place.voters.contains(&id) || place.target.contains(&id),
            _ => place.hosts.contains(&id),
        };
        let held: Vec<_> = placement
            .iter()
            .filter(|(group, place)| holds(**group, place))
            .collect();
        let Some((first, _)) = held.first() else {
            return Ok(());
        };
        for (group, place) in &held {
            self.keeps_majority(id, **group, place)?;
        }
        if is_forced {
            return Ok(());
        }
        Err(MetadataError::NodeHoldsGroups {
            node: id,
            groups: held.len() as u32,
            first: **first,
        })
    }

    /// The voters are those of before a move, or they include the target and perhaps some of before. The worst of the
    /// latter: of those of before only the ones that are gone.
    fn keeps_majority(
        &self,
        leaving: NodeId,
        group: GroupId,
        place: &GroupPlacement,
    ) -> Result<(), MetadataError> {
        if place.is_diverted {
            let node = leaving;
            return Err(MetadataError::GroupDiverted { node, group });
        }
        let is_gone = |id: &NodeId| {
            let node = self.directory.node(*id);
            *id == leaving || node.is_none_or(|node| !node.is_member())
        };
        let target = set_of(&place.target);
        let before = set_of(&place.voters);
        let gone = before.iter().filter(|id| is_gone(id)).copied();
        let worst = target.iter().copied().chain(gone).collect();
        for voters in [before, target, worst] {
            let remaining = voters.iter().filter(|id| !is_gone(id)).count();
            if voters.contains(&leaving) && 2 * remaining <= voters.len() {
                return Err(MetadataError::QuorumLost {
                    node: leaving,
                    group,
                    remaining: remaining as u32,
                    voters: voters.len() as u32,
                });
            }
        }
        Ok(())
    }

    /// Room in the list of nodes that left; ids of forgotten ones stay taken.
    fn oldest_to_forget(&self) -> Vec<Change> {
        let placement = self.directory.placement();
        let nodes = self.directory.nodes();
        let left: Vec<_> = nodes.iter().filter(|node| !node.is_member()).collect();
        if left.len() < LEFT_NODES_MAX {
            return Vec::new();
        }
        let is_named = |id: NodeId| placement.values().any(|place| place.hosts.contains(&id));
        let Some(oldest) = left.iter().find(|node| !is_named(node.id)) else {
            return Vec::new();
        };
        vec![
            Change::Ring(self.with_last_node(0)),
            Change::ForgetNode(oldest.id),
        ]
    }

    pub(crate) fn set_replication_factor(
        &self,
        replicas_max: u8,
    ) -> Result<Decision, MetadataError> {
        self.cluster()?;
        let ring = self.directory.ring_state();
        let nodes = self.directory.nodes();
        let active = nodes.iter().filter(|node| node.is_active()).count();
        if ring.replicas_max == replicas_max {
            return Decision::unchanged(Outcome::Done);
        }
        let is_default = replicas_max == RingState::default().replicas_max;
        // The default grows into by itself; more than that is asked for by someone who should have the nodes.
        if !is_default && usize::from(replicas_max) > active {
            return Err(MetadataError::TooFewNodes {
                replicas: u32::from(replicas_max),
                nodes: active as u32,
            });
        }
        let changed = RingState {
            replicas_max,
            ..ring
        };
        Decision::change(Outcome::Done, Change::Ring(changed))
    }

    pub(crate) fn raise_feature_gate(&self, level: u32) -> Result<Decision, MetadataError> {
        self.cluster()?;
        let ring = self.directory.ring_state();
        let nodes = self.directory.nodes();
        let mut members = nodes.iter().filter(|node| node.is_member());
        if let Some(older) = members.find(|node| node.feature_level < level) {
            return Err(MetadataError::FeatureGateTooHigh {
                node: older.id,
                level: older.feature_level,
            });
        }
        if level <= ring.feature_gate {
            return Decision::unchanged(Outcome::Done);
        }
        let changed = RingState {
            feature_gate: level,
            ..ring
        };
        Decision::change(Outcome::Done, Change::Ring(changed))
    }

    pub(crate) fn move_group(
        &self,
        group: GroupId,
        target: Vec<NodeId>,
    ) -> Result<Decision, MetadataError> {
        let place = self.place(group)?;
        let replicas_max = match group {
            METADATA_GROUP => METADATA_VOTERS_MAX,
            _ => self.directory.replicas_max(),
        };
        if target.len() > replicas_max {
            let reason = format!("{} nodes are more than the ring keeps", target.len());
            return Err(MetadataError::invalid("target", reason));
        }
        for id in &target {
            let node = self.member(*id)?;
            if !node.is_active() {
                return Err(MetadataError::NodeNotActive {
                    node: *id,
                    state: node.state,
                });
            }
        }
        if place.target == target {
            return Decision::unchanged(Outcome::Done);
        }
        Decision::placement(group, place.moved_to(group, target))
    }

    pub(crate) fn settle_group(
        &self,
        group: GroupId,
        revision: u64,
        voters: &[NodeId],
    ) -> Result<Decision, MetadataError> {
        let place = self.place(group)?;
        if place.revision != revision || set_of(voters) != set_of(&place.target) {
            return Err(MetadataError::MoveOutdated {
                group,
                revision: place.revision,
            });
        }
        if place.is_settled(group) {
            return Decision::unchanged(Outcome::Done);
        }
        Decision::placement(group, place.settled())
    }

    /// The ring's row with `more` node ids given out.
    fn with_last_node(&self, more: u64) -> RingState {
        let mut ring = self.directory.ring_state();
        let nodes = self.directory.nodes();
        let greatest = nodes.last().map_or(0, |node| node.id.0);
        ring.last_node = ring.last_node.max(greatest) + more;
        ring
    }

    fn member(&self, id: NodeId) -> Result<Node, MetadataError> {
        match self.directory.node(id) {
            None => Err(MetadataError::UnknownNode { node: id }),
            Some(node) if !node.is_member() => Err(MetadataError::NodeLeft { node: id }),
            Some(node) => Ok(Node::clone(&node)),
        }
    }

    fn place(&self, group: GroupId) -> Result<GroupPlacement, MetadataError> {
        let placement = self.directory.placement();
        let place = placement.get(&group).cloned();
        place.ok_or(MetadataError::UnknownGroup { group })
    }

    /// Not older than the ring, and nobody else lives there.
    fn description_fits(
        &self,
        description: &Description,
        of: Option<NodeId>,
    ) -> Result<(), MetadataError> {
        let (level, needed) = (
            description.feature_level,
            self.directory.ring_state().feature_gate,
        );
        if level < needed {
            return Err(MetadataError::FeatureLevelTooLow { level, needed });
        }
        let nodes = self.directory.nodes();
        let others = nodes
            .iter()
            .filter(|node| node.is_member() && Some(node.id) != of);
        for other in others {
            if let Some(address) = description.addresses.shared_with(&other.addresses) {
                return Err(MetadataError::AddressTaken {
                    address: address.to_owned(),
                    node: other.id,
                });
            }
        }
        Ok(())
    }
}
