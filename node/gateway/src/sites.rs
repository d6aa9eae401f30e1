//! What the gateway asks of the metadata: sites by domain, keys by secret.

use std::sync::Arc;

use ringtail_proto::{SiteId, UnixMillis};

use crate::SiteRules;

/// Answers from memory, for every request.
pub trait Sites: Send + Sync + 'static {
    /// The site of this domain, which may be in any case.
    fn rules(&self, domain: &str) -> Option<Arc<SiteRules>>;

    /// What a secret permits.
    ///
    /// # Errors
    /// Why the secret is refused, for the client to read.
    fn key(&self, secret: &str, now: UnixMillis) -> Result<KeyGrant, String>;
}

/// What a key permits about events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyGrant {
    /// True for write and admin keys.
    pub may_write: bool,
    /// The only site it reaches; none for every site.
    pub site: Option<SiteId>,
}

impl KeyGrant {
    /// True when the key may write events of this site.
    #[must_use]
    pub fn permits_writing(self, site: SiteId) -> bool {
        self.may_write && self.site.is_none_or(|only| only == site)
    }
}
