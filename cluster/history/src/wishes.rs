//! Which generations sites are to have.

use bytes::Bytes;
use ringtail_proto::{Generation, SiteGeneration, SiteId};

/// What the ring's administrators decided about the generations of sites. It may be behind what others know.
pub trait Wishes: Send + Sync + 'static {
    /// All sites that were reprocessed at least once.
    fn sites(&self) -> Vec<SiteId>;

    /// The generations that a site is to have.
    fn of(&self, site: SiteId) -> Option<SiteWish>;

    /// True when nobody is to build on at this generation for now.
    fn is_paused(&self, site: SiteGeneration) -> bool;
}

/// The generations that one site is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteWish {
    /// The site.
    pub site: SiteId,
    /// The highest number that was ever given: about higher ones nothing is known yet.
    pub last: Generation,
    /// By number. One that was wanted once and is not here will not be wanted again.
    pub wanted: Vec<WantedGeneration>,
}

/// A generation that a site is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedGeneration {
    /// Its number.
    pub generation: Generation,
    /// Its rules.
    pub rules: Bytes,
}
