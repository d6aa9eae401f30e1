//! A machine that adds numbers, each id once; it can be told to fail.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ringtail_proto::{
    DropReason, HourStart, LogIndex, RowReadError, RowReader, RowWrite, SiteGeneration, SiteId,
    SiteRow, Verdict, stored::StoredEvent,
};

use super::world::take_one;
use crate::{ApplyAt, SiteChange, SiteCondition, SiteMachine, SiteMachineError};

/// What an event makes the machine do, besides adding; in the field `engaged_ms`.
pub(super) const ADD: u32 = 0;
pub(super) const PANIC: u32 = 1;
pub(super) const REFUSE: u32 = 2;
pub(super) const WANT_CHECKPOINT: u32 = 3;
pub(super) const LATE: u32 = 4;

const DAY: SiteRow = SiteRow::DayPage(HourStart(0), 0);

#[derive(Default)]
pub(super) struct AddingMachine {
    /// Kills the next actor that tells its condition: a panic that nobody catches.
    pub(super) kills_actor: AtomicBool,
    /// The next checkpoint panics.
    pub(super) panics_at_checkpoint: AtomicBool,
    pub(super) loads: AtomicUsize,
    /// So many loads fail because the store does not answer.
    pub(super) failing_loads: AtomicU64,
    /// The next load finds a damaged row.
    pub(super) finds_damage: AtomicBool,
}

/// Ids since the last checkpoint are in memory, older ones in rows.
#[derive(Debug, Default)]
pub(super) struct Adder {
    index: LogIndex,
    sum: u64,
    count: u64,
    poisoned: u64,
    commands: u64,
    new_ids: BTreeSet<u64>,
    dirty_since: Option<LogIndex>,
    late: usize,
    wants_checkpoint: bool,
}

/// What queries see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) index: u64,
    pub(super) sum: u64,
    pub(super) count: u64,
    pub(super) poisoned: u64,
    pub(super) commands: u64,
    pub(super) new_ids: BTreeSet<u64>,
}

impl SiteMachine for AddingMachine {
    type State = Adder;
    type View = Sum;

    fn load(
        &self,
        _: SiteGeneration,
        _: &[u8],
        rows: &dyn RowReader,
    ) -> Result<Adder, SiteMachineError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        if take_one(&self.failing_loads) {
            let message = "told not to read".to_owned();
            return Err(RowReadError { message }.into());
        }
        if self.finds_damage.swap(false, Ordering::Relaxed) {
            let message = "told so".to_owned();
            return Err(SiteMachineError::Damaged { message });
        }
        let Some(mut row) = rows.get(SiteRow::Site)? else {
            return Ok(Adder::default());
        };
        Ok(Adder {
            index: LogIndex(row.get_u64()),
            sum: row.get_u64(),
            count: row.get_u64(),
            poisoned: row.get_u64(),
            commands: row.get_u64(),
            ..Adder::default()
        })
    }

    fn applied(&self, state: &Adder) -> LogIndex {
        state.index
    }

    fn apply(
        &self,
        state: &mut Adder,
        at: ApplyAt,
        change: SiteChange<'_>,
        rows: &dyn RowReader,
    ) -> Result<Vec<Verdict>, SiteMachineError> {
        assert!(at.index >= state.index, "entries come in order");
        state.index = at.index;
        state.dirty_since.get_or_insert(at.index);
        match change {
            SiteChange::Command(_) => {
                state.commands += 1;
                Ok(Vec::new())
            }
            SiteChange::Events { events, .. } => events
                .events
                .iter()
                .map(|event| state.add(event, rows))
                .collect(),
        }
    }

    fn skip_poisoned(&self, state: &mut Adder, at: ApplyAt) {
        state.index = at.index;
        state.dirty_since.get_or_insert(at.index);
        state.poisoned += 1;
    }

    fn condition(&self, state: &Adder) -> SiteCondition {
        assert!(
            !self.kills_actor.swap(false, Ordering::Relaxed),
            "killed by the test"
        );
        SiteCondition {
            dirty_since: state.dirty_since,
            pending_late: state.late,
            wants_checkpoint: state.wants_checkpoint,
        }
    }

    fn checkpoint(
        &self,
        state: &mut Adder,
        _: &dyn RowReader,
    ) -> Result<Vec<RowWrite>, SiteMachineError> {
        let ids = std::mem::take(&mut state.new_ids);
        assert!(
            !self.panics_at_checkpoint.swap(false, Ordering::Relaxed),
            "half way, by the test"
        );
        let mut row = BytesMut::new();
        for number in [
            state.index.0,
            state.sum,
            state.count,
            state.poisoned,
            state.commands,
        ] {
            row.put_u64(number);
        }
        state.dirty_since = None;
        state.late = 0;
        state.wants_checkpoint = false;
        let hour = HourStart(state.index.0 as i64);
        let list: BytesMut = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
        Ok([
            (SiteRow::Site, row.freeze()),
            (SiteRow::Ids(HourStart(0), state.index), list.freeze()),
            (SiteRow::Page(hour), Bytes::from_static(b"page")),
        ]
        .map(|(row, value)| RowWrite {
            row,
            value: Some(value),
        })
        .into())
    }

    fn view(&self, state: &Adder) -> Sum {
        Sum {
            index: state.index.0,
            sum: state.sum,
            count: state.count,
            poisoned: state.poisoned,
            commands: state.commands,
            new_ids: state.new_ids.clone(),
        }
    }

    /// The day's page tells the number of pages; one piece of work brings it up to date.
    fn roll_up(&self, _: SiteId, rows: &dyn RowReader) -> Result<Vec<RowWrite>, SiteMachineError> {
        let value = Some(Bytes::from(pages(rows)?.to_string()));
        let row = DAY;
        Ok(match rows.get(row)? == value {
            true => Vec::new(),
            false => vec![RowWrite { row, value }],
        })
    }

    fn state_hash(
        &self,
        state: &Adder,
        rows: &dyn RowReader,
    ) -> Result<[u8; 32], SiteMachineError> {
        let mut ids = stored_ids(rows)?;
        assert!(
            ids.is_disjoint(&state.new_ids),
            "an id is in memory and in rows"
        );
        ids.extend(&state.new_ids);
        let mut hash = [0; 32];
        let folded = ids
            .iter()
            .fold(7_u64, |hash, id| hash.wrapping_mul(31).wrapping_add(*id));
        let numbers = [state.index.0, state.sum, state.poisoned, folded];
        for (part, number) in hash.chunks_mut(8).zip(numbers) {
            part.copy_from_slice(&number.to_be_bytes());
        }
        Ok(hash)
    }
}

impl Adder {
    fn add(
        &mut self,
        event: &StoredEvent,
        rows: &dyn RowReader,
    ) -> Result<Verdict, SiteMachineError> {
        if self.new_ids.contains(&event.id_low) || stored_ids(rows)?.contains(&event.id_low) {
            return Ok(Verdict::Duplicate);
        }
        self.new_ids.insert(event.id_low);
        self.sum += event.visitor;
        self.count += 1;
        match event.engaged_ms {
            PANIC => panic!("told to panic"),
            REFUSE => Err(SiteMachineError::Poisoned {
                message: "told to refuse".to_owned(),
            }),
            WANT_CHECKPOINT => {
                self.wants_checkpoint = true;
                Ok(Verdict::Accepted)
            }
            LATE => {
                self.late += 1;
                Ok(Verdict::Late)
            }
            _ => Ok(Verdict::Accepted),
        }
    }
}

pub(super) const POISONED: Verdict = Verdict::Dropped(DropReason::Poisoned);

/// All ids in the rows.
pub(super) fn stored_ids(rows: &dyn RowReader) -> Result<BTreeSet<u64>, SiteMachineError> {
    let mut ids = BTreeSet::new();
    rows.range(
        SiteRow::Ids(HourStart(0), LogIndex(0)),
        SiteRow::Ids(HourStart(0), LogIndex(u64::MAX)),
        &mut |_, mut list| {
            while list.has_remaining() {
                ids.insert(list.get_u64());
            }
            ControlFlow::Continue(())
        },
    )?;
    Ok(ids)
}

/// The number of pages in the rows.
pub(super) fn pages(rows: &dyn RowReader) -> Result<usize, SiteMachineError> {
    let mut pages = 0;
    rows.range(
        SiteRow::Page(HourStart(i64::MIN)),
        SiteRow::Page(HourStart(i64::MAX)),
        &mut |_, _| {
            pages += 1;
            ControlFlow::Continue(())
        },
    )?;
    Ok(pages)
}

/// The number of pages that the day's page knows.
pub(super) fn rolled_up_pages(rows: &dyn RowReader) -> Option<String> {
    let page = rows.get(DAY).unwrap()?;
    Some(String::from_utf8(page.to_vec()).unwrap())
}
