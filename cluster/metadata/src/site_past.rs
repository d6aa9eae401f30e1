//! Which generation of a site answers, and what is being made of its past.

use ringtail_proto::{Generation, SiteGeneration, SiteId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::MetadataError;

/// Most bytes of a generation's rules.
pub const RULES_BYTES_MAX: usize = 256 << 10;
/// Most bytes of a generation's label.
pub const REPROCESS_LABEL_BYTES_MAX: usize = 200;

/// All that is derived of a site's events under one set of rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// Its number; 0 is that of the site's birth, and none is used again.
    pub generation: u32,
    /// The rules, as the partition's log carries them; no bytes are no rules.
    pub rules: Vec<u8>,
    /// What the rules are called, for people.
    pub label: String,
    /// When it was asked for.
    pub created: UnixMillis,
}

/// A generation that is being built, or is built and waits to be switched to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextGeneration {
    /// Which.
    pub record: GenerationRecord,
    /// Nobody builds on while it is set; what is built stays.
    pub is_paused: bool,
}

/// The generations of a site that was reprocessed at least once; a site without it has that of its birth alone.
///
/// The leader of the site's partition sees to it that exactly the generations that are named here are fed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitePast {
    /// The site.
    pub site: SiteId,
    /// The highest number that was ever given.
    pub last: u32,
    /// How often queries were switched from one generation to another.
    pub switches: u64,
    /// Queries read this one.
    pub serving: GenerationRecord,
    /// Queries read this one before; it is fed, so that it can be gone back to.
    pub former: Option<GenerationRecord>,
    /// Made to replace the serving one.
    pub next: Option<NextGeneration>,
}

impl SitePast {
    /// A site that was never reprocessed.
    pub(crate) const fn birth(site: SiteId, created: UnixMillis) -> Self {
        Self {
            site,
            last: 0,
            switches: 0,
            serving: GenerationRecord {
                generation: 0,
                rules: Vec::new(),
                label: String::new(),
                created,
            },
            former: None,
            next: None,
        }
    }

    /// The generation that queries read.
    #[must_use]
    pub const fn serving(&self) -> SiteGeneration {
        SiteGeneration {
            site: self.site,
            generation: Generation(self.serving.generation),
        }
    }

    /// All generations that have to be fed, by number.
    #[must_use]
    pub fn wanted(&self) -> Vec<&GenerationRecord> {
        let next = self.next.as_ref().map(|next| &next.record);
        let wanted = [Some(&self.serving), self.former.as_ref(), next];
        let mut wanted: Vec<_> = wanted.into_iter().flatten().collect();
        wanted.sort_unstable_by_key(|record| record.generation);
        wanted
    }

    /// Begins another generation.
    pub(crate) fn begin(
        &mut self,
        rules: Vec<u8>,
        label: String,
        created: UnixMillis,
    ) -> Result<u32, MetadataError> {
        if let Some(next) = &self.next {
            return Err(MetadataError::AlreadyReprocessed {
                site: self.site,
                generation: next.record.generation,
            });
        }
        self.last += 1;
        self.next = Some(NextGeneration {
            record: GenerationRecord {
                generation: self.last,
                rules,
                label,
                created,
            },
            is_paused: false,
        });
        Ok(self.last)
    }

    pub(crate) fn pause(&mut self, is_paused: bool) -> Result<(), MetadataError> {
        let next = self.next.as_mut();
        next.ok_or(MetadataError::NotReprocessed { site: self.site })?
            .is_paused = is_paused;
        Ok(())
    }

    /// Gives up the next generation; one that is given up already stays so.
    pub(crate) fn cancel(&mut self, generation: u32) -> Result<(), MetadataError> {
        let next = self
            .next
            .take_if(|next| next.record.generation == generation);
        match next {
            Some(_) => Ok(()),
            None if self.is_gone(generation) => Ok(()),
            None => Err(self.unknown(generation)),
        }
    }

    /// Queries read another generation from now on: the next or the former one.
    pub(crate) fn switch(&mut self, generation: u32) -> Result<(), MetadataError> {
        if self.serving.generation == generation {
            return Ok(());
        }
        let next = self
            .next
            .take_if(|next| next.record.generation == generation)
            .map(|next| next.record);
        let former = self
            .former
            .take_if(|former| former.generation == generation);
        let Some(to) = next.or(former) else {
            return Err(self.unknown(generation));
        };
        self.former = Some(std::mem::replace(&mut self.serving, to));
        self.switches += 1;
        Ok(())
    }

    /// Gives up the former generation; one that is given up already stays so.
    pub(crate) fn accept(&mut self, former: u32) -> Result<(), MetadataError> {
        let given_up = self.former.take_if(|known| known.generation == former);
        match given_up {
            Some(_) => Ok(()),
            None if self.is_gone(former) => Ok(()),
            None => Err(self.unknown(former)),
        }
    }

    fn is_gone(&self, generation: u32) -> bool {
        let mut wanted = self.wanted().into_iter();
        generation <= self.last && !wanted.any(|record| record.generation == generation)
    }

    const fn unknown(&self, generation: u32) -> MetadataError {
        MetadataError::UnknownGeneration {
            site: self.site,
            generation,
        }
    }
}
