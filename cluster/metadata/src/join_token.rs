//! Tokens that let a node into the ring, each once.

use std::{fmt, str::FromStr};

use ringtail_proto::{NodeId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{MetadataError, SecretHash, key::hex_of};

/// Id of a join token; never used again, safe to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JoinTokenId(pub u64);

impl fmt::Display for JoinTokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Chosen by a node for one join: asking again with the same gives the same node, if the answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JoinAttempt(pub [u8; 16]);

/// A token; the secret itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Its id.
    pub id: JoinTokenId,
    /// What it is for, in the words of who made it.
    pub name: String,
    /// BLAKE3 of the secret.
    pub secret_hash: SecretHash,
    /// When it was made.
    pub created: UnixMillis,
    /// From when on it is refused.
    pub expires: UnixMillis,
    /// Who joined with it; none while it is good.
    pub used: Option<JoinTokenUse>,
}

impl JoinToken {
    /// True when a node may still join with it.
    #[must_use]
    pub fn is_good(&self, now: UnixMillis) -> bool {
        self.used.is_none() && now < self.expires
    }
}

/// What a token was spent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenUse {
    /// When.
    pub at: UnixMillis,
    /// By whom.
    pub attempt: JoinAttempt,
    /// The node that it made.
    pub node: NodeId,
}

/// What an operator carries to the new node: `<id>.<64 hex digits>`, shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinSecret {
    /// The token.
    pub token: JoinTokenId,
    secret: String,
}

impl JoinSecret {
    /// Longer texts are refused before they are hashed.
    pub const BYTES_MAX: usize = 128;

    pub(crate) fn secret_of(random: [u8; 32]) -> String {
        hex_of(&random)
    }

    pub(crate) const fn new(token: JoinTokenId, secret: String) -> Self {
        Self { token, secret }
    }

    /// What the ring knows of the secret.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.secret)
    }

    /// The text itself, for the one who asked for it.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}.{}", self.token, self.secret)
    }
}

impl FromStr for JoinSecret {
    type Err = MetadataError;

    fn from_str(text: &str) -> Result<Self, MetadataError> {
        let invalid = || MetadataError::invalid("join token", "it does not read `id.secret`");
        let text = text.trim();
        if text.len() > Self::BYTES_MAX {
            return Err(invalid());
        }
        let (token, secret) = text.split_once('.').ok_or_else(invalid)?;
        let token = token.parse().map(JoinTokenId).map_err(|_| invalid())?;
        if secret.is_empty() {
            return Err(invalid());
        }
        Ok(Self::new(token, secret.to_owned()))
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JoinSecret({}.…)", self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_was_shown_and_hides_in_debug_output() {
        let secret = JoinSecret::new(JoinTokenId(7), JoinSecret::secret_of([0xab; 32]));
        assert_eq!(secret.expose(), format!("7.{}", "ab".repeat(32)));
        assert_eq!(
            format!(" {}\n", secret.expose()).parse(),
            Ok(secret.clone())
        );
        assert_eq!(format!("{secret:?}"), "JoinSecret(7.…)");
        assert_eq!(secret.hash(), SecretHash::of(&"ab".repeat(32)));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in [
            "",
            "7",
            "7.",
            ".ab",
            "x.ab",
            "-1.ab",
            &format!("1.{}", "a".repeat(200)),
        ] {
            assert!(text.parse::<JoinSecret>().is_err(), "{text:?}");
        }
    }
}
