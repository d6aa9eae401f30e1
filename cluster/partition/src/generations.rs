//! Which generations of a group's sites are fed.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use ringtail_checkpoint::{GroupKey, GroupSnapshot, StoreError};
use ringtail_proto::{
    Generation, LogIndex, SiteGeneration, SiteId,
    stored::{GenerationBegin, GenerationCommand, generation_command::Change},
};
use serde::{Deserialize, Serialize};

use crate::group_history::{RowChange, corrupt, each_row, versioned};

const VERSION: u8 = 1;
/// In front of a site's number.
const SITE: &[u8] = b"generations/";
/// Generations of one site that are fed at once, those aside that have ended.
const FED_MAX: usize = 3;
/// Longest encoded rules.
const RULES_BYTES_MAX: usize = 256 << 10;
/// Where a site without a row begins.
static BIRTH: [Fed; 1] = [Fed {
    generation: 0,
    begun: LogIndex(0),
    rules: Bytes::new(),
    ended: None,
}];

/// The sites that have others than the generation of their birth.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Generations {
    sites: BTreeMap<SiteId, SiteGenerations>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SiteGenerations {
    /// The highest number that was ever given.
    last: u32,
    /// By number; never empty.
    fed: Vec<Fed>,
}

/// A generation that is fed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fed {
    generation: u32,
    /// It is derived from what was archived up to here, and fed from here on.
    pub(crate) begun: LogIndex,
    pub(crate) rules: Bytes,
    /// The last entry that it takes. Its verdicts on entries up to there are those of the archive, so it is remembered
    /// until these are sealed: a replica that restarts behind the entry feeds it as before.
    pub(crate) ended: Option<LogIndex>,
}

impl Fed {
    pub(crate) const fn generation(&self) -> Generation {
        Generation(self.generation)
    }
}

impl Generations {
    /// Reads what the rows say.
    pub(crate) fn load(rows: &dyn GroupSnapshot) -> Result<Self, StoreError> {
        let mut sites = BTreeMap::new();
        each_row(rows, SITE, &mut |key, value| {
            let site = site_of(&key).ok_or_else(|| corrupt(format!("{key:?} names no site")))?;
            let body = versioned(&value, VERSION)?;
            let generations = postcard::from_bytes(&body).map_err(corrupt)?;
            sites.insert(site, generations);
            Ok(())
        })?;
        Ok(Self { sites })
    }

    /// The generations of a site that are fed or have ended not long ago, by number.
    pub(crate) fn fed(&self, site: SiteId) -> &[Fed] {
        self.sites.get(&site).map_or(&BIRTH, |found| &found.fed)
    }

    /// The highest number of a site that was ever given.
    pub(crate) fn last(&self, site: SiteId) -> Generation {
        let generations = self.sites.get(&site);
        Generation(generations.map_or(0, |generations| generations.last))
    }

    /// A generation that is remembered.
    pub(crate) fn get(&self, site: SiteGeneration) -> Option<&Fed> {
        let mut fed = self.fed(site.site).iter();
        fed.find(|fed| fed.generation() == site.generation)
    }

    /// True while a generation takes new entries.
    pub(crate) fn is_live(&self, site: SiteGeneration) -> bool {
        self.get(site).is_some_and(|fed| fed.ended.is_none())
    }

    /// All that are remembered but those of sites that have only that of their birth.
    pub(crate) fn later(&self) -> impl Iterator<Item = (SiteGeneration, &Fed)> {
        self.sites.iter().flat_map(|(site, generations)| {
            generations.fed.iter().map(|fed| {
                let generation = fed.generation();
                let site = *site;
                (SiteGeneration { site, generation }, fed)
            })
        })
    }

    /// Those that took their last entry at or before a floor, whether or not they are still remembered.
    pub(crate) fn ended_by(&self, floor: LogIndex) -> impl Iterator<Item = SiteGeneration> {
        self.sites.iter().flat_map(move |(site, generations)| {
            let numbers = (0..=generations.last).map(Generation);
            let is_needed = move |generation: &Generation| {
                let mut fed = generations.fed.iter();
                let found = fed.find(|fed| fed.generation() == *generation);
                found.is_some_and(|fed| fed.ended.is_none_or(|ended| ended > floor))
            };
            let ended = numbers.filter(move |generation| !is_needed(generation));
            ended.map(|generation| SiteGeneration {
                site: *site,
                generation,
            })
        })
    }

    /// The archive holds the verdicts on all entries up to here: generations that ended by then need not be remembered, but
    /// at sites where they are fed for want of others.
    pub(crate) fn forget_ended(
        &mut self,
        sealed: LogIndex,
        is_needed: impl Fn(SiteId) -> bool,
    ) -> Vec<RowChange> {
        let mut rows = Vec::new();
        for (site, generations) in &mut self.sites {
            if is_needed(*site) {
                continue;
            }
            let before = generations.fed.len();
            let is_past = |fed: &Fed| fed.ended.is_some_and(|ended| ended <= sealed);
            generations.fed.retain(|fed| !is_past(fed));
            if generations.fed.len() < before {
                rows.push((key_of(*site), Some(generations.encode())));
            }
        }
        rows
    }

    /// Applies a command; tells which rows change, nothing when it is void.
    pub(crate) fn apply(
        &mut self,
        index: LogIndex,
        command: &GenerationCommand,
    ) -> Option<Vec<RowChange>> {
        let site = SiteId(command.site);
        let present = self.sites.get(&site);
        let mut next = present.cloned().unwrap_or_else(|| SiteGenerations {
            last: 0,
            fed: BIRTH.to_vec(),
        });
        match command.change.as_ref()? {
            Change::Begin(begin) => next.begin(index, begin)?,
            Change::End(generation) => next.end(index, *generation)?,
        }
        let row = (key_of(site), Some(next.encode()));
        self.sites.insert(site, next);
        Some(vec![row])
    }
}

impl SiteGenerations {
    fn begin(&mut self, index: LogIndex, begin: &GenerationBegin) -> Option<()> {
        let is_allowed = begin.generation > self.last
            && self.live().count() < FED_MAX
            && begin.rules.len() <= RULES_BYTES_MAX;
        if !is_allowed {
            return None;
        }
        self.last = begin.generation;
        self.fed.push(Fed {
            generation: begin.generation,
            begun: index,
            rules: begin.rules.clone(),
            ended: None,
        });
        Some(())
    }

    fn end(&mut self, index: LogIndex, generation: u32) -> Option<()> {
        if self.live().count() == 1 {
            return None;
        }
        let mut fed = self.fed.iter_mut();
        let ending = fed.find(|fed| fed.generation == generation && fed.ended.is_none())?;
        ending.ended = Some(index);
        Some(())
    }

    fn live(&self) -> impl Iterator<Item = &Fed> {
        self.fed.iter().filter(|fed| fed.ended.is_none())
    }

    fn encode(&self) -> Bytes {
        let mut value = BytesMut::new();
        value.put_u8(VERSION);
        let body = postcard::to_allocvec(self).expect("memory takes what it is given");
        value.put_slice(&body);
        value.freeze()
    }
}

fn key_of(site: SiteId) -> GroupKey {
    GroupKey::Group([SITE, site.to_string().as_bytes()].concat().into())
}

fn site_of(key: &GroupKey) -> Option<SiteId> {
    let GroupKey::Group(name) = key else {
        return None;
    };
    let number = std::str::from_utf8(name.strip_prefix(SITE)?).ok()?;
    number.parse().ok().map(SiteId)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SiteId = SiteId(7);

    fn begin(generation: u32) -> GenerationCommand {
        GenerationCommand {
            site: FIRST.0,
            change: Some(Change::Begin(GenerationBegin {
                generation,
                rules: Bytes::from_static(b"rules"),
            })),
        }
    }

    fn end(generation: u32) -> GenerationCommand {
        GenerationCommand {
            site: FIRST.0,
            change: Some(Change::End(generation)),
        }
    }

    fn check(commands: &[GenerationCommand], live: &[u32], ended: &[u32]) {
        let mut generations = Generations::default();
        let holds = |(index, command)| generations.apply(LogIndex(index), command).is_some();
        let held: Vec<bool> = (1..).zip(commands).map(holds).collect();
        assert_eq!(held.last(), Some(&true), "the last one holds");
        let of = |number: u32| SiteGeneration {
            site: FIRST,
            generation: Generation(number),
        };
        let found: Vec<u32> = (0..9)
            .filter(|number| generations.is_live(of(*number)))
            .collect();
        assert_eq!(found, live);
        let numbers = |floor: u64| -> Vec<u32> {
            let ended = generations.ended_by(LogIndex(floor));
            ended.map(|site| site.generation.0).collect()
        };
        assert_eq!(numbers(commands.len() as u64), ended);
        assert_eq!(
            numbers(0),
            Vec::<u32>::new(),
            "the floor is below their end"
        );
        generations.forget_ended(LogIndex(commands.len() as u64), |_| false);
        let left: Vec<u32> = generations
            .fed(FIRST)
            .iter()
            .map(|fed| fed.generation)
            .collect();
        assert_eq!(left, live, "sealed, the others are forgotten");
    }

    #[test]
    fn generations_come_and_go_and_numbers_are_never_used_again() {
        check(&[begin(1)], &[0, 1], &[]);
        check(&[begin(1), end(0)], &[1], &[0]);
        check(&[begin(1), end(1), begin(1), begin(2)], &[0, 2], &[1]);
    }

    #[test]
    fn numbers_may_be_left_out() {
        let mut generations = Generations::default();
        assert!(generations.apply(LogIndex(1), &begin(3)).is_some());
        assert_eq!(generations.apply(LogIndex(2), &begin(2)), None);
        assert!(generations.apply(LogIndex(3), &begin(4)).is_some());
    }

    #[test]
    fn a_command_that_makes_no_sense_is_void() {
        let mut generations = Generations::default();
        let nothing = GenerationCommand {
            site: 7,
            change: None,
        };
        for void in [begin(0), end(0), end(3), nothing] {
            assert_eq!(generations.apply(LogIndex(1), &void), None, "{void:?}");
        }
        for generation in 1..FED_MAX as u32 {
            let held = generations.apply(LogIndex(1), &begin(generation));
            assert!(held.is_some());
        }
        assert_eq!(generations.apply(LogIndex(9), &begin(FED_MAX as u32)), None);
    }
}
