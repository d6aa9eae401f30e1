//! Keys: who may read, write or administer.

use std::fmt;

use ringtail_proto::{SiteId, UnixMillis};
use serde::{Deserialize, Serialize};

/// Id of a key; never used again, safe to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u64);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// How far a key reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Reports.
    Read,
    /// Events with fields that only a server may set.
    Write,
    /// Everything.
    Admin,
}

impl Scope {
    /// The name in commands, answers and secrets.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin]
            .into_iter()
            .find(|scope| scope.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A key; the secret itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Where it may do so; none for every site.
    pub site: Option<SiteId>,
    /// BLAKE3 of the secret.
    pub secret_hash: SecretHash,
    /// When it was made.
    pub created: UnixMillis,
    /// From when on it is refused; none when it lasts.
    pub expires: Option<UnixMillis>,
    /// When it was last accepted, to the minute after a restart; none when never.
    pub last_used: Option<UnixMillis>,
    /// Refused for good.
    pub is_revoked: bool,
}

impl Key {
    /// True when the key lasts no longer.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// True when the key may do `needed` at `site`; none asks for all sites.
    #[must_use]
    pub fn permits(&self, needed: Scope, site: Option<SiteId>) -> bool {
        let reaches_scope = self.scope == needed || self.scope == Scope::Admin;
        let reaches_site = self.site.is_none() || (site.is_some() && self.site == site);
        reaches_scope && reaches_site
    }
}

/// Why a secret is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// No key has this secret.
    #[error("the key is unknown")]
    Unknown,
    /// The key was revoked.
    #[error("key {0} is revoked")]
    Revoked(KeyId),
    /// The key lasts no longer.
    #[error("key {0} has expired")]
    Expired(KeyId),
}

/// BLAKE3 of a secret. Looking it up in a hash table tells an attacker nothing about the secret's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// The hash of what a client sent.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(*blake3::hash(secret.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "SecretHash({}…)",
            hex_of(self.0.get(..4).unwrap_or_default())
        )
    }
}

/// The secret of a key, shown once: `rt_<scope>_<64 hex digits>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Longer ones are refused before they are hashed.
    pub const BYTES_MAX: usize = 256;

    /// A new secret from 256 random bits.
    #[must_use]
    pub fn new(scope: Scope, random: [u8; 32]) -> Self {
        Self(format!("rt_{scope}_{}", hex_of(&random)))
    }

    /// A secret read from where it was put down.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret itself, for the one who asked for it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

pub(crate) fn hex_of(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes whatever is written to it");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_names_its_scope_and_hides_in_debug_output() {
        let secret = Secret::new(Scope::Write, [0xab; 32]);
        assert_eq!(secret.expose(), format!("rt_write_{}", "ab".repeat(32)));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(
            Secret::from_text(&format!("{}\n", secret.expose())).hash(),
            secret.hash()
        );
    }

    #[test]
    fn a_key_reaches_its_scope_at_its_site_and_no_further() {
        let key = |scope, site| Key {
            id: KeyId(1),
            name: String::new(),
            scope,
            site,
            secret_hash: SecretHash([0; 32]),
            created: UnixMillis(0),
            expires: None,
            last_used: None,
            is_revoked: false,
        };
        let (here, there) = (Some(SiteId(1)), Some(SiteId(2)));
        let check = |key: &Key, needed, site, expect| {
            assert_eq!(
                key.permits(needed, site),
                expect,
                "{key:?} {needed} {site:?}"
            );
        };
        let reader = key(Scope::Read, here);
        check(&reader, Scope::Read, here, true);
        check(&reader, Scope::Read, there, false);
        check(&reader, Scope::Read, None, false);
        check(&reader, Scope::Write, here, false);
        check(&reader, Scope::Admin, here, false);
        let writer = key(Scope::Write, None);
        check(&writer, Scope::Write, there, true);
        check(&writer, Scope::Read, there, false);
        let admin = key(Scope::Admin, None);
        check(&admin, Scope::Read, here, true);
        check(&admin, Scope::Admin, None, true);
        let site_admin = key(Scope::Admin, here);
        check(&site_admin, Scope::Write, here, true);
        check(&site_admin, Scope::Admin, None, false);
    }
}
