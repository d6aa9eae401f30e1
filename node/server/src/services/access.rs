//! Who calls, and what they may do.

use std::sync::Arc;

use ringtail_metadata::{Actor, Directory, Key, KeyRefusal, Scope, Site};
use ringtail_proto::{ErrorKind, SiteId};
use ringtail_router::Clock;

use crate::api_error::ApiError;

/// Knows the keys.
#[derive(Clone)]
pub(crate) struct Access {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
}

/// A caller with a key that was accepted when it called.
#[derive(Clone)]
pub(crate) struct Caller {
    key: Arc<Key>,
}

impl Access {
    pub(crate) fn new(directory: Arc<Directory>, clock: Arc<dyn Clock>) -> Self {
        Self { directory, clock }
    }

    /// The caller of an `Authorization` header.
    pub(crate) fn caller(&self, authorization: Option<&str>) -> Result<Caller, ApiError> {
        let secret = authorization
            .and_then(|header| {
                let (scheme, secret) = header.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
            })
            .ok_or_else(|| {
                let message = "a key is needed: `Authorization: Bearer KEY`";
                ApiError::new(ErrorKind::Unauthenticated, message)
            })?;
        self.directory
            .key_by_secret(secret, self.clock.now())
            .map(|key| Caller { key })
            .map_err(|refusal| ApiError::new(ErrorKind::Unauthenticated, refusal))
    }

    /// The site of a domain, when the caller may do that there. To others it looks as if there were none.
    pub(crate) fn site(
        &self,
        caller: &Caller,
        needed: Scope,
        domain: &str,
    ) -> Result<Arc<Site>, ApiError> {
        let unknown = || ApiError::new(ErrorKind::NotFound, format!("there is no site {domain:?}"));
        let site = self.directory.site_by_domain(domain).ok_or_else(unknown)?;
        let is_reached = caller.key.site.is_none_or(|reached| reached == site.id);
        if !is_reached {
            return Err(unknown());
        }
        caller.require(needed, Some(site.id))?;
        Ok(site)
    }

    /// True for a site of this ring.
    pub(crate) fn knows(&self, site: SiteId) -> bool {
        self.directory.site(site).is_some()
    }

    /// Refuses a caller whose key was revoked, or has expired or gone, since it was accepted.
    pub(crate) fn check_still(&self, caller: &Caller) -> Result<(), ApiError> {
        let id = caller.key.id;
        let refusal = match self.directory.key(id) {
            None => KeyRefusal::Unknown,
            Some(key) if key.is_revoked => KeyRefusal::Revoked(id),
            Some(key) if key.is_expired(self.clock.now()) => KeyRefusal::Expired(id),
            Some(_) => return Ok(()),
        };
        Err(ApiError::new(ErrorKind::Unauthenticated, refusal))
    }

    /// All sites that the caller may read.
    pub(crate) fn sites(&self, caller: &Caller) -> Vec<Arc<Site>> {
        match caller.key.site {
            Some(site) => self.directory.site(site).into_iter().collect(),
            None => self.directory.sites(),
        }
    }
}

impl Caller {
    /// Refuses what the key does not permit; no site asks for all sites.
    pub(crate) fn require(&self, needed: Scope, site: Option<SiteId>) -> Result<(), ApiError> {
        if self.key.permits(needed, site) {
            return Ok(());
        }
        let reach = if site.is_some() {
            ""
        } else {
            " over all sites"
        };
        Err(ApiError::new(
            ErrorKind::Forbidden,
            format!("key {} has no {needed} right{reach}", self.key.id),
        ))
    }

    /// What tells the caller's key from others.
    pub(crate) fn name(&self) -> String {
        format!("key {} ({})", self.key.id, self.key.name)
    }

    /// The caller's name in the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor::new(self.name())
    }
}
