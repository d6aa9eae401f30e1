//! How nodes join, as calls on the handle.

use std::sync::Arc;

use ringtail_proto::{NodeId, UnixMillis};

use crate::{
    Actor, Command, JoinAttempt, JoinSecret, JoinToken, Metadata, MetadataError, Node,
    NodeAddresses, Outcome, SecretHash, decide::Rules, decide_ring::Joiner, metadata::unexpected,
};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Where it answers.
    pub addresses: NodeAddresses,
    /// Where it stands.
    pub zone: String,
    /// The newest feature that its binary knows.
    pub feature_level: u32,
}

/// A node that wants to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNode {
    /// What it was given.
    pub secret: JoinSecret,
    /// Chosen by the node, the same for each try.
    pub attempt: JoinAttempt,
    /// What it says of itself.
    pub description: Description,
}

impl Metadata {
    /// Makes a token for one node, and its secret, which nobody can read again.
    ///
    /// # Errors
    /// See [`Self::execute`].
    pub async fn create_join_token(
        &self,
        name: &str,
        lifetime_ms: u64,
        by: &Actor,
        why: &str,
    ) -> Result<(Arc<JoinToken>, JoinSecret), MetadataError> {
        let secret = JoinSecret::secret_of(self.seams.random());
        let lifetime_ms = i64::try_from(lifetime_ms).unwrap_or(i64::MAX);
        let command = Command::CreateJoinToken {
            name: name.to_owned(),
            secret_hash: SecretHash::of(&secret),
            expires: UnixMillis(self.seams.now().0.saturating_add(lifetime_ms)),
        };
        match self.execute(command, by, why).await? {
            Outcome::JoinToken(token) => {
                let made = self.directory().join_token(token);
                let made = made.ok_or(MetadataError::UnknownJoinToken { token })?;
                Ok((made, JoinSecret::new(token, secret)))
            }
            other => Err(unexpected(other)),
        }
    }

    /// Whether a node would be let in, as far as this node knows: what is refused here need not reach the log.
    ///
    /// # Errors
    /// The refusal.
    pub fn check_join(&self, joiner: &NewNode) -> Result<(), MetadataError> {
        let directory = self.directory();
        let rules = Rules {
            directory: &directory,
            at: self.seams.now(),
        };
        let joiner = Joiner {
            token: joiner.secret.token,
            secret_hash: joiner.secret.hash(),
            attempt: joiner.attempt,
            description: joiner.description.clone(),
        };
        rules.join_node(joiner).map(drop)
    }

    /// Spends a token: the caller is a node of the ring from now on, and joining until it was heard from.
    ///
    /// # Errors
    /// See [`Self::execute`].
    pub async fn join(&self, joiner: NewNode, by: &Actor) -> Result<Arc<Node>, MetadataError> {
        let command = Command::JoinNode {
            token: joiner.secret.token,
            secret_hash: joiner.secret.hash(),
            attempt: joiner.attempt,
            addresses: joiner.description.addresses,
            zone: joiner.description.zone,
            feature_level: joiner.description.feature_level,
        };
        match self.execute(command, by, "join").await? {
            Outcome::Node(node) => self
                .directory()
                .node(node)
                .ok_or(MetadataError::UnknownNode { node }),
            other => Err(unexpected(other)),
        }
    }

    /// Says where a node is and what it knows; each node does so for itself when it starts.
    ///
    /// # Errors
    /// See [`Self::execute`].
    pub async fn describe(
        &self,
        node: NodeId,
        description: Description,
        by: &Actor,
    ) -> Result<(), MetadataError> {
        let command = Command::DescribeNode {
            node,
            addresses: description.addresses,
            zone: description.zone,
            feature_level: description.feature_level,
        };
        self.execute(command, by, "start").await.map(drop)
    }
}
