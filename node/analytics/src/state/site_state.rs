//! A site's state in memory, and what one log entry does to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ringtail_proto::{
    DropReason, EventId, HourStart, LogIndex, RowReader, SiteId, UnixMillis, Verdict,
    stored::{self, EventBatch, SiteCommand, SiteEvents},
};

use super::{
    batch_tables::BatchTables,
    error::StateError,
    hot_chains::{Added, HotChains},
    hour_sums::HourSums,
    imports::{Imports, MarkVerdict},
    recent::Recent,
    resolve::{BatchPositions, decide_time, resolve},
};
use crate::{
    RuledEvents, Settings,
    cell::Uniques,
    dedup::Dedup,
    interner::Interner,
    visit::applied_event::{AppliedEvent, EventKind},
};

/// So many late events wait before a checkpoint is due at once.
pub const LATE_EVENTS_MAX: usize = 50_000;
/// So many late events wait at all: one more merges them before it returns.
pub const LATE_EVENTS_HARD_MAX: usize = 200_000;
/// Values of the dictionary beyond this ask for a checkpoint, which drops those that nothing uses.
pub const DICTIONARY_BYTES_MAX: usize = 64 << 20;
/// A smaller dictionary is not worth rebuilding.
pub(super) const REBUILD_BYTES_MIN: usize = 64 << 10;
const MINUTE_MS: i64 = 60_000;

/// All that apply knows about one site.
///
/// What counts is a function of the set of accepted events and the settings under which each was accepted; neither the
/// order of arrival nor the moments of checkpoints show in it.
#[derive(Clone, Debug)]
pub struct SiteState {
    pub(super) site: SiteId,
    pub(super) index: LogIndex,
    pub(super) stamp: UnixMillis,
    pub(super) settings: Arc<Settings>,
    pub(super) interner: Interner,
    pub(super) chains: HotChains,
    /// Hours in memory, and hours in the store whose minutes grew since.
    pub(super) hours: BTreeMap<HourStart, HourSums>,
    /// Hours from here on live in memory, earlier ones in rows; none before the first accepted event.
    pub(super) hot_from: Option<HourStart>,
    /// Hours in the store whose rows no longer say what memory knows.
    pub(super) stale: BTreeSet<HourStart>,
    /// Accepted events of hours in the store; empty in every written site row.
    pub(super) late: Vec<AppliedEvent>,
    /// The first entry with an event that written rows ought to show and do not yet.
    pub(super) incomplete_since: Option<LogIndex>,
    pub(super) dedup: Dedup,
    pub(super) imports: Arc<Imports>,
    pub(super) dropped: Arc<BTreeMap<u8, u64>>,
    pub(super) recent: Recent,
    /// The earliest hour with an accepted event.
    pub(super) first_hour: Option<HourStart>,
    pub(super) dirty_since: Option<LogIndex>,
    pub(super) is_checkpoint_wanted: bool,
    /// The hot rows in the store, oldest first.
    pub(super) hot_slots: Vec<u8>,
    /// The longest visit timeout that ever held.
    pub(super) timeout_ms_max: i64,
    /// The dictionary is rebuilt from what is in use when it has grown to this.
    pub(super) rebuild_at_bytes: usize,
}

impl SiteState {
    /// A site never seen.
    #[must_use]
    pub fn new(site: SiteId) -> Self {
        Self {
            site,
            index: LogIndex(0),
            stamp: UnixMillis(i64::MIN),
            settings: Arc::default(),
            interner: Interner::default(),
            chains: HotChains::default(),
            hours: BTreeMap::new(),
            hot_from: None,
            stale: BTreeSet::new(),
            late: Vec::new(),
            incomplete_since: None,
            dedup: Dedup::default(),
            imports: Arc::default(),
            dropped: Arc::default(),
            recent: Recent::default(),
            first_hour: None,
            dirty_since: None,
            is_checkpoint_wanted: false,
            hot_slots: Vec::new(),
            timeout_ms_max: 0,
            rebuild_at_bytes: REBUILD_BYTES_MIN,
        }
    }

    /// A site never seen, of which settings other than the usual ones hold from the start.
    pub(crate) fn with_settings(site: SiteId, settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            ..Self::new(site)
        }
    }

    /// The site.
    #[must_use]
    pub const fn site(&self) -> SiteId {
        self.site
    }

    /// The last entry applied.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// The highest stamp applied.
    pub(crate) const fn stamp(&self) -> UnixMillis {
        self.stamp
    }

    /// The first entry that the store's rows do not hold.
    #[must_use]
    pub const fn dirty_since(&self) -> Option<LogIndex> {
        self.dirty_since
    }

    /// Events that wait for the next checkpoint.
    #[must_use]
    pub fn pending_late(&self) -> usize {
        self.late.len()
    }

    /// True when a checkpoint is due now: the late list or the dictionary is full, or an import is finished.
    #[must_use]
    pub fn wants_checkpoint(&self) -> bool {
        self.is_checkpoint_wanted
            || self.late.len() >= LATE_EVENTS_MAX
            || self.interner.bytes() >= DICTIONARY_BYTES_MAX.max(self.rebuild_at_bytes)
    }

    /// About how many bytes the state takes in memory beside its visits.
    #[must_use]
    pub fn dictionary_bytes(&self) -> usize {
        self.interner.bytes() + self.dedup.bytes()
    }

    /// Applies the site's events of one entry: one verdict for each, in order.
    ///
    /// # Errors
    /// When a row that is needed cannot be read; the state must then be thrown away.
    pub fn apply_events(
        &mut self,
        index: LogIndex,
        stamp: UnixMillis,
        batch: &EventBatch,
        events: &SiteEvents,
        rows: &dyn RowReader,
    ) -> Result<Vec<Verdict>, StateError> {
        self.apply_slice(index, stamp, BatchTables::of(batch), events, rows)
    }

    /// Applies events after the rules of a generation: one verdict for each that is left.
    pub(crate) fn apply_ruled(
        &mut self,
        index: LogIndex,
        stamp: UnixMillis,
        ruled: &RuledEvents<'_>,
        rows: &dyn RowReader,
    ) -> Result<Vec<Verdict>, StateError> {
        self.apply_slice(index, stamp, ruled.tables(), ruled.events(), rows)
    }

    fn apply_slice(
        &mut self,
        index: LogIndex,
        stamp: UnixMillis,
        tables: BatchTables<'_>,
        events: &SiteEvents,
        rows: &dyn RowReader,
    ) -> Result<Vec<Verdict>, StateError> {
        self.begin(index, stamp);
        let applied_up_to = match &events.import {
            None => None,
            Some(mark) => {
                let imports = Arc::make_mut(&mut self.imports);
                match imports.advance(mark, events.events.len()) {
                    MarkVerdict::AppliedUpTo(line) => Some((mark, line)),
                    MarkVerdict::Refused => return Ok(self.refuse(events.events.len())),
                }
            }
        };
        let mut positions = BatchPositions::new(tables, events.events.len());
        let mut verdicts = Vec::with_capacity(events.events.len());
        for (position, event) in events.events.iter().enumerate() {
            let verdict = match applied_up_to {
                Some((mark, line)) if line_of(mark, position) <= line => Verdict::Duplicate,
                mark => self.apply_event(event, tables, mark.is_some(), &mut positions, rows)?,
            };
            verdicts.push(verdict);
        }
        if self.late.len() >= LATE_EVENTS_HARD_MAX {
            self.merge_late(rows)?;
            self.is_checkpoint_wanted = true;
        }
        Ok(verdicts)
    }

    /// Applies a change of the site's settings or the end of an import.
    ///
    /// # Errors
    /// When a row that is needed cannot be read; the state must then be thrown away.
    pub fn apply_command(
        &mut self,
        index: LogIndex,
        stamp: UnixMillis,
        command: &SiteCommand,
        rows: &dyn RowReader,
    ) -> Result<(), StateError> {
        self.begin(index, stamp);
        match &command.change {
            Some(stored::site_command::Change::Settings(settings)) => {
                self.change_settings(settings, rows)
            }
            Some(stored::site_command::Change::ImportFinished(source)) => {
                Arc::make_mut(&mut self.imports).finish(source);
                self.is_checkpoint_wanted = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Moves past an entry that made apply fail; counted once, as the entry may not even say how many events it has.
    pub fn skip_poisoned(&mut self, index: LogIndex, stamp: UnixMillis) {
        self.begin(index, stamp);
        self.count_dropped(DropReason::Poisoned, 1);
    }

    fn begin(&mut self, index: LogIndex, stamp: UnixMillis) {
        self.index = self.index.max(index);
        self.stamp = self.stamp.max(stamp);
        self.dirty_since.get_or_insert(index);
    }

    fn change_settings(
        &mut self,
        command: &stored::SiteSettings,
        rows: &dyn RowReader,
    ) -> Result<(), StateError> {
        if command.revision < self.settings.revision {
            return Ok(());
        }
        let mut settings = Settings::from_command(command);
        let has_events = self.first_hour.is_some();
        let soon = UnixMillis(self.stamp.0.saturating_add(2 * MINUTE_MS));
        if has_events && !settings.zone.agrees_until(&self.settings.zone, soon) {
            settings.zone = self.settings.zone.clone();
        }
        if has_events {
            // Events count by the hashes they were counted by: a new key would count everybody twice.
            settings.sketch_key = self.settings.sketch_key;
        }
        let is_timeout_changed = settings.visit_timeout_ms != self.settings.visit_timeout_ms;
        if is_timeout_changed {
            // Every event is joined to visits under the timeout that held when it was accepted, on every replica.
            self.merge_late(rows)?;
        }
        let is_longer = settings.visit_timeout_ms > self.settings.visit_timeout_ms;
        self.timeout_ms_max = self.timeout_ms_max.max(self.settings.visit_timeout_ms);
        self.settings = Arc::new(settings);
        if is_longer {
            self.recall_chains(rows)?;
        }
        Ok(())
    }

    fn refuse(&mut self, events: usize) -> Vec<Verdict> {
        self.count_dropped(DropReason::Malformed, events as u64);
        vec![Verdict::Dropped(DropReason::Malformed); events]
    }

    fn apply_event(
        &mut self,
        event: &stored::StoredEvent,
        tables: BatchTables<'_>,
        is_import: bool,
        positions: &mut BatchPositions,
        rows: &dyn RowReader,
    ) -> Result<Verdict, StateError> {
        if event.dropped != 0 {
            let code = u8::try_from(event.dropped).ok();
            let reason = code.and_then(DropReason::from_code);
            return Ok(self.drop_event(reason.unwrap_or(DropReason::Malformed)));
        }
        let time_ms = match decide_time(event, self.stamp, is_import) {
            Ok(time_ms) => time_ms,
            Err(reason) => return Ok(self.drop_event(reason)),
        };
        let id = EventId(u128::from(event.id_high) << 64 | u128::from(event.id_low)).hash();
        if !is_import && self.dedup.find(id, self.stamp, rows)?.is_some() {
            return Ok(Verdict::Duplicate);
        }
        let settings = self.settings.clone();
        let interner = &mut self.interner;
        let resolved = resolve(event, tables, time_ms, &settings, interner, positions);
        let Some(resolved) = resolved else {
            return Ok(self.drop_event(DropReason::Malformed));
        };
        if !is_import {
            self.dedup.insert(id, self.stamp, self.index);
        }
        Ok(self.accept(resolved))
    }

    fn accept(&mut self, event: AppliedEvent) -> Verdict {
        let settings = self.settings.clone();
        let zone = &settings.zone;
        let hour = zone.hour_of(UnixMillis(event.time_ms));
        // The verdict follows from the stamp alone; which hours are in memory differs between replicas.
        let late_before = zone.previous_hour(zone.hour_of(self.stamp));
        let hot_from = *self.hot_from.get_or_insert(late_before);
        self.first_hour = Some(self.first_hour.map_or(hour, |first| first.min(hour)));
        if event.kind != EventKind::Engagement && Recent::reaches(event.time_ms, self.stamp) {
            let hash = self.visitor_hash(event.visitor);
            self.recent.add(&event, hash, self.stamp);
        }
        let added = match hour < hot_from {
            true => Added::NeedsStore,
            false => self.add_to_chains(hour, &event, false),
        };
        match added {
            Added::NeedsStore => {
                self.incomplete_since.get_or_insert(self.index);
                self.late.push(event);
            }
            Added::InChain { .. } => self.count(hour, &event, false),
        }
        match hour < late_before {
            true => Verdict::Late,
            false => Verdict::Accepted,
        }
    }

    /// Adds an event to the chains; hours in the store that it changed become stale.
    pub(super) fn add_to_chains(
        &mut self,
        hour: HourStart,
        event: &AppliedEvent,
        is_store_loaded: bool,
    ) -> Added {
        let hot_from = self.hot_from.unwrap_or(HourStart(i64::MIN));
        let timeout_ms = self.settings.visit_timeout_ms;
        let added = self
            .chains
            .add(hour, event, timeout_ms, hot_from, is_store_loaded);
        if let Added::InChain { stale } = &added {
            if !stale.is_empty() {
                // Reports read those hours from rows that do not know of this event yet.
                self.incomplete_since.get_or_insert(self.index);
            }
            self.stale.extend(stale.iter().copied());
        }
        added
    }

    /// Counts an event in the minutes of its hour, and its values against the caps.
    pub(super) fn count(&mut self, hour: HourStart, event: &AppliedEvent, is_late: bool) {
        let hash = self.visitor_hash(event.visitor);
        let sums = self.hours.entry(hour).or_default();
        if event.kind != EventKind::Engagement {
            let number = (event.time_ms - hour.0).div_euclid(MINUTE_MS).clamp(0, 59);
            let is_pageview = event.kind == EventKind::Pageview;
            Arc::make_mut(&mut sums.minutes)
                .at(number as u8)
                .add(hash, is_pageview);
        }
        if is_late {
            return;
        }
        sums.caps.note(event);
        if sums.caps.over().next().is_some() {
            self.fold_lightest(hour);
        }
    }

    pub(super) fn visitor_hash(&self, visitor: u64) -> u64 {
        Uniques::hash(visitor.into(), self.settings.sketch_key)
    }

    fn drop_event(&mut self, reason: DropReason) -> Verdict {
        self.count_dropped(reason, 1);
        Verdict::Dropped(reason)
    }

    fn count_dropped(&mut self, reason: DropReason, events: u64) {
        let dropped = Arc::make_mut(&mut self.dropped);
        *dropped.entry(reason.code()).or_default() += events;
    }
}

/// The line of an event of an import; marks with other numbers of lines than events were refused.
fn line_of(mark: &stored::ImportMark, position: usize) -> u64 {
    let offset = mark.lines.get(position).copied().unwrap_or(0);
    mark.first_line.saturating_add(u64::from(offset))
}
