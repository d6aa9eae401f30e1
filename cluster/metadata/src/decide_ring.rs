//! The rules for nodes and tokens.

use std::sync::Arc;

use ringtail_proto::{NodeId, UnixMillis};

use crate::{
    Description, JoinAttempt, JoinToken, JoinTokenId, JoinTokenUse, MetadataError, Node,
    NodeAddresses, NodeState, Outcome, PeerReach, SecretHash,
    decide::{Change, Decision, Rules, reaches},
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
            return self.join_again(&token, used, joiner);
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

    /// The answer to the first try may have been lost, and the node may be elsewhere by now. Once it was heard from, the
    /// answer was not lost: whoever asks then has copied the token and the attempt.
    fn join_again(
        &self,
        token: &JoinToken,
        used: JoinTokenUse,
        joiner: Joiner,
    ) -> Result<Decision, MetadataError> {
        let node = self.directory.node(used.node);
        let waiting = node.filter(|node| node.state == NodeState::Joining);
        let Some(waiting) = waiting.filter(|_| used.attempt == joiner.attempt) else {
            return Err(MetadataError::JoinTokenUsed {
                token: token.id,
                node: used.node,
            });
        };
        let described = self.describe_node(waiting.id, joiner.description)?;
        Ok(Decision {
            outcome: Outcome::Node(waiting.id),
            ..described
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

    /// The ring's row with `more` node ids given out.
    fn with_last_node(&self, more: u64) -> RingState {
        let mut ring = self.directory.ring_state();
        let nodes = self.directory.nodes();
        let greatest = nodes.last().map_or(0, |node| node.id.0);
        ring.last_node = ring.last_node.max(greatest) + more;
        ring
    }

    pub(crate) fn member(&self, id: NodeId) -> Result<Node, MetadataError> {
        match self.directory.node(id) {
            None => Err(MetadataError::UnknownNode { node: id }),
            Some(node) if !node.is_member() => Err(MetadataError::NodeLeft { node: id }),
            Some(node) => Ok(Node::clone(&node)),
        }
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
            for addresses in [&description.addresses, &other.addresses] {
                can_be_called(addresses)?;
            }
            if description.addresses.shares_peer_with(&other.addresses) {
                return Err(MetadataError::AddressTaken {
                    address: other.addresses.peer.clone(),
                    node: other.id,
                });
            }
        }
        Ok(())
    }
}

/// A node of several has to be found by the others.
fn can_be_called(addresses: &NodeAddresses) -> Result<(), MetadataError> {
    if addresses.peer_reach() == PeerReach::Nowhere {
        let address = addresses.peer.clone();
        return Err(MetadataError::AddressUnreachable { address });
    }
    Ok(())
}
