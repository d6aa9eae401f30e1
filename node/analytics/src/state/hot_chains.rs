//! The chains that live in memory, in chunks that views share.

use std::{hash::BuildHasher, sync::Arc};

use ringtail_proto::HourStart;
use smallvec::SmallVec;

use super::id_hash::{IdHash, IdMap};
use crate::visit::{applied_event::AppliedEvent, chain::Chain, part::Remap};

/// Chunks of a site that outgrew a single one.
const CHUNKS: usize = 64;
/// A site with more visitors in memory is split into chunks.
const SINGLE_CHUNK_VISITORS_MAX: usize = 512;

/// The chains of some visitors, by the visitor id under which each chain was first seen (its *home*).
pub(crate) type Chunk = IdMap<u64, SmallVec<[Chain; 1]>>;

/// All chains in memory. Cloning counts references; a change copies the chunk it falls into if a view still holds it.
#[derive(Clone, Debug)]
pub(crate) struct HotChains {
    chunks: Vec<Arc<Chunk>>,
    /// From any other id of a chain to its home.
    links: IdMap<u64, SmallVec<[u64; 1]>>,
    visitors: usize,
}

/// Where a chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainAt {
    home: u64,
    position: usize,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is in a chain; these of the chain's hours are no longer in memory's own window.
    InChain {
        /// Hours before the hot window whose rows are out of date now.
        stale: SmallVec<[HourStart; 2]>,
    },
    /// Chains that rest in the store may belong to it: it has to wait for the next checkpoint.
    NeedsStore,
}

impl Default for HotChains {
    fn default() -> Self {
        Self {
            chunks: vec![Arc::default()],
            links: IdMap::default(),
            visitors: 0,
        }
    }
}

impl HotChains {
    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// Few enough chains to rest inside the site row.
    pub(crate) const fn is_small(&self) -> bool {
        self.chunks.len() == 1
    }

    /// The chains that changed since they were written, by home.
    pub(crate) fn unwritten(&self) -> impl Iterator<Item = (u64, &Chain)> {
        self.with_homes()
            .filter(|(_, chain)| chain.written_in.is_none())
    }

    /// Notes that all unwritten chains are in this hot row now.
    pub(crate) fn set_written(&mut self, slot: u8) {
        for position in 0..self.chunks.len() {
            let has_unwritten = self.chunks.get(position).is_some_and(|chunk| {
                let mut chains = chunk.values().flatten();
                chains.any(|chain| chain.written_in.is_none())
            });
            if has_unwritten {
                for chain in self.chunk_mut(position).values_mut().flatten() {
                    chain.written_in.get_or_insert(slot);
                }
            }
        }
    }

    /// Forgets which rows hold the chains, so that all are written again.
    pub(crate) fn set_unwritten(&mut self) {
        self.for_each_mut(|chain| chain.written_in = None);
    }

    pub(crate) fn with_homes(&self) -> impl Iterator<Item = (u64, &Chain)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .flat_map(|(home, chains)| chains.iter().map(|chain| (*home, chain)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Chain> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.values().flatten())
    }

    /// Adds an event. Unless `is_store_loaded`, chains that begin before the hot window may have neighbours in the store
    /// that this would join: then nothing is changed.
    pub(crate) fn add(
        &mut self,
        hour: HourStart,
        event: &AppliedEvent,
        timeout_ms: i64,
        hot_from: HourStart,
        is_store_loaded: bool,
    ) -> Added {
        if let Some(added) = self.add_to_only_chain(hour, event, timeout_ms, hot_from) {
            return added;
        }
        let mut ids: SmallVec<[u64; 4]> = event.ids().collect();
        let (mut first_ms, mut last_ms) = (event.time_ms, event.time_ms);
        let found = self.closure(&mut ids, &mut first_ms, &mut last_ms, timeout_ms);
        if !is_store_loaded && self.may_join_stored(&found, &ids, timeout_ms, hot_from) {
            return Added::NeedsStore;
        }
        let home = found.first().map_or(event.visitor, |at| at.home);
        let mut chain = self.take_all(found);
        match &mut chain {
            Some(chain) => chain.add(hour, event),
            None => chain = Some(Chain::of(hour, event)),
        }
        let chain = chain.expect("both arms above leave a chain");
        let stale = stale_hours(&chain, hot_from);
        self.insert(home, chain);
        Added::InChain { stale }
    }

    /// Brings a stored chain into memory. What was apart when it was stored stays apart until an event joins it.
    pub(crate) fn adopt(&mut self, chain: Chain) {
        self.insert(chain.visitor(), chain);
    }

    /// The ids and the span of all that an event would be joined with.
    pub(crate) fn span_with(
        &self,
        event: &AppliedEvent,
        timeout_ms: i64,
    ) -> (SmallVec<[u64; 4]>, i64, i64) {
        let mut ids: SmallVec<[u64; 4]> = event.ids().collect();
        let (mut first_ms, mut last_ms) = (event.time_ms, event.time_ms);
        self.closure(&mut ids, &mut first_ms, &mut last_ms, timeout_ms);
        (ids, first_ms, last_ms)
    }

    /// True when a chain in memory holds all that a stored one holds.
    pub(crate) fn covers(&self, ids: &[u64], first_ms: i64, last_ms: i64) -> bool {
        ids.iter().any(|id| {
            self.homes(*id).into_iter().any(|home| {
                self.bucket(home)
                    .iter()
                    .any(|chain| chain.covers(ids, first_ms, last_ms))
            })
        })
    }

    /// Lets go of the chains that nothing in memory's window can join any more.
    pub(crate) fn evict(&mut self, mut is_gone: impl FnMut(&Chain) -> bool) {
        let mut is_any_gone = false;
        for position in 0..self.chunks.len() {
            let Some(chunk) = self.chunks.get(position) else {
                continue;
            };
            if !chunk.values().flatten().any(&mut is_gone) {
                continue;
            }
            is_any_gone = true;
            let chunk = self.chunk_mut(position);
            chunk.retain(|_, chains| {
                chains.retain(|chain| !is_gone(chain));
                !chains.is_empty()
            });
            if chunk.is_empty() {
                *chunk = Chunk::default();
            }
        }
        if is_any_gone {
            self.rebuild_links();
            self.shrink();
        }
    }

    /// Changes every chain in place.
    pub(crate) fn for_each_mut(&mut self, mut change: impl FnMut(&mut Chain)) {
        for position in 0..self.chunks.len() {
            for chain in self.chunk_mut(position).values_mut().flatten() {
                change(chain);
            }
        }
    }

    /// Puts a chain back under the home that it was stored under.
    pub(crate) fn restore(&mut self, home: u64, chain: Chain) {
        self.insert(home, chain);
    }

    /// Changes the positions of all chains to those of another dictionary; what is stored stays as it is.
    pub(crate) fn translate(&mut self, remap: &mut dyn Remap) {
        self.for_each_mut(|chain| {
            for part in &mut chain.parts {
                part.remap(remap);
            }
        });
    }

    /// The common case: one chain of this visitor, near the event, nothing else to join.
    fn add_to_only_chain(
        &mut self,
        hour: HourStart,
        event: &AppliedEvent,
        timeout_ms: i64,
        hot_from: HourStart,
    ) -> Option<Added> {
        if !self.links.is_empty() && event.ids().any(|id| self.has_other_home(id, event.visitor)) {
            return None;
        }
        if event.visitor_previous != 0
            && event.visitor_previous != event.visitor
            && self.contains_home(event.visitor_previous)
        {
            return None;
        }
        let chunk = self.chunk_of(event.visitor);
        let known = self.chunks.get(chunk)?.get(&event.visitor)?;
        let [chain] = known.as_slice() else {
            return None;
        };
        let has_same_ids =
            chain.ids.len() == event.ids().count() && event.ids().all(|id| chain.ids.contains(&id));
        if !has_same_ids || !chain.is_near(event.time_ms, event.time_ms, timeout_ms) {
            return None;
        }
        let chains = self.chunk_mut(chunk).get_mut(&event.visitor)?;
        let chain = chains.first_mut()?;
        chain.add(hour, event);
        let stale = stale_hours(chain, hot_from);
        Some(Added::InChain { stale })
    }

    /// All chains that belong to what has these ids and this span, widening both until nothing more does.
    fn closure(
        &self,
        ids: &mut SmallVec<[u64; 4]>,
        first_ms: &mut i64,
        last_ms: &mut i64,
        timeout_ms: i64,
    ) -> SmallVec<[ChainAt; 2]> {
        let mut found: SmallVec<[ChainAt; 2]> = SmallVec::new();
        loop {
            let next = ids
                .iter()
                .flat_map(|id| self.homes(*id))
                .flat_map(|home| {
                    let chains = self.bucket(home).iter().enumerate();
                    chains.map(move |(position, chain)| (ChainAt { home, position }, chain))
                })
                .find(|(at, chain)| {
                    !found.contains(at)
                        && chain.is_near(*first_ms, *last_ms, timeout_ms)
                        && chain.ids.iter().any(|id| ids.contains(id))
                });
            let Some((at, chain)) = next else {
                return found;
            };
            found.push(at);
            *first_ms = chain.first_ms().min(*first_ms);
            *last_ms = chain.last_ms().max(*last_ms);
            for id in &chain.ids {
                if !ids.contains(id) {
                    ids.push(*id);
                }
            }
        }
    }

    /// A chain that reaches back to where the store's chains may be, and that gains an id by which it may belong to one.
    fn may_join_stored(
        &self,
        found: &[ChainAt],
        ids: &[u64],
        timeout_ms: i64,
        hot_from: HourStart,
    ) -> bool {
        found
            .iter()
            .filter_map(|at| self.bucket(at.home).get(at.position))
            .any(|chain| {
                chain.first_ms().saturating_sub(timeout_ms) < hot_from.0
                    && chain.ids.len() < ids.len()
            })
    }

    fn take_all(&mut self, mut found: SmallVec<[ChainAt; 2]>) -> Option<Chain> {
        // From the back, so that positions within a home stay right.
        found.sort_by_key(|at| std::cmp::Reverse((at.home, at.position)));
        let mut merged: Option<Chain> = None;
        for at in found {
            let chunk = self.chunk_of(at.home);
            let bucket = self.chunk_mut(chunk);
            let Some(chains) = bucket.get_mut(&at.home) else {
                continue;
            };
            let chain = chains.remove(at.position);
            if chains.is_empty() {
                bucket.remove(&at.home);
                self.visitors -= 1;
            }
            match &mut merged {
                Some(merged) => merged.merge(chain),
                None => merged = Some(chain),
            }
        }
        merged
    }

    fn insert(&mut self, home: u64, chain: Chain) {
        for id in &chain.ids {
            if *id != home {
                let homes = self.links.entry(*id).or_default();
                if !homes.contains(&home) {
                    homes.push(home);
                }
            }
        }
        let chunk = self.chunk_of(home);
        let chains = self.chunk_mut(chunk).entry(home).or_default();
        let is_new = chains.is_empty();
        chains.push(chain);
        self.visitors += usize::from(is_new);
        if self.chunks.len() == 1 && self.visitors > SINGLE_CHUNK_VISITORS_MAX {
            self.spread(CHUNKS);
        }
    }

    /// Back to one chunk when few are left.
    fn shrink(&mut self) {
        if self.chunks.len() > 1 && self.visitors < SINGLE_CHUNK_VISITORS_MAX / 4 {
            self.spread(1);
        }
    }

    fn spread(&mut self, chunks: usize) {
        let old = std::mem::take(&mut self.chunks);
        self.chunks = (0..chunks).map(|_| Arc::default()).collect();
        for chunk in old {
            for (home, chains) in Arc::unwrap_or_clone(chunk) {
                let position = self.chunk_of(home);
                self.chunk_mut(position).insert(home, chains);
            }
        }
    }

    fn rebuild_links(&mut self) {
        let mut links: IdMap<u64, SmallVec<[u64; 1]>> = IdMap::default();
        let mut visitors = 0;
        for (home, chains) in self.chunks.iter().flat_map(|chunk| chunk.iter()) {
            visitors += 1;
            for id in chains.iter().flat_map(|chain| &chain.ids) {
                if id != home {
                    let homes = links.entry(*id).or_default();
                    if !homes.contains(home) {
                        homes.push(*home);
                    }
                }
            }
        }
        self.links = links;
        self.visitors = visitors;
    }

    /// The homes under which chains with this id can be.
    fn homes(&self, id: u64) -> SmallVec<[u64; 2]> {
        let mut homes: SmallVec<[u64; 2]> = SmallVec::new();
        homes.push(id);
        if let Some(linked) = self.links.get(&id) {
            homes.extend(linked.iter().copied().filter(|home| *home != id));
        }
        homes
    }

    fn has_other_home(&self, id: u64, home: u64) -> bool {
        self.links
            .get(&id)
            .is_some_and(|homes| homes.iter().any(|known| *known != home))
    }

    fn contains_home(&self, home: u64) -> bool {
        !self.bucket(home).is_empty()
    }

    fn bucket(&self, home: u64) -> &[Chain] {
        self.chunks
            .get(self.chunk_of(home))
            .and_then(|chunk| chunk.get(&home))
            .map_or(&[], |chains| chains.as_slice())
    }

    fn chunk_of(&self, home: u64) -> usize {
        // The top bits: the map inside the chunk uses the bottom and the very top ones of the same hash, see hashbrown.
        (IdHash.hash_one(home) >> 32) as usize % self.chunks.len()
    }

    fn chunk_mut(&mut self, position: usize) -> &mut Chunk {
        let chunk = self
            .chunks
            .get_mut(position)
            .expect("positions come from chunk_of or from 0..chunks.len()");
        Arc::make_mut(chunk)
    }
}

fn stale_hours(chain: &Chain, hot_from: HourStart) -> SmallVec<[HourStart; 2]> {
    chain
        .parts
        .iter()
        .map(|part| part.hour)
        .take_while(|hour| *hour < hot_from)
        .collect()
}
