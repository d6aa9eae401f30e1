//! From an event of a batch to an event of the site: checked, its time decided, its values interned.

use ringtail_proto::{
    CurrencyCode, DropReason, EventFlags, EventId, UnixMillis, stored::StoredEvent,
};
use smallvec::SmallVec;

use super::batch_tables::BatchTables;
use crate::{
    Money, NO_VALUE, Settings, ValueId,
    interner::Interner,
    visit::{
        applied_event::{AppliedEvent, EventKind},
        touch_sum::TouchKind,
    },
};

/// Client times further ahead of the stamp become the stamp.
const AHEAD_MS_MAX: i64 = 60_000;
/// Client times further behind the stamp are too late.
pub(crate) const BEHIND_MS_MAX: i64 = 72 * 3_600_000;
/// 1990-01-01 and 2200-01-01: nothing outside can be the time of an event.
const SANE_MS: std::ops::Range<i64> = 631_152_000_000..7_258_118_400_000;
/// A billion units of any currency.
const REVENUE_MICROS_MAX: u64 = 1_000_000_000_000_000;

/// The positions of a batch's attribute groups in the site's dictionary, found as they are needed.
pub(crate) struct BatchPositions {
    clients: Positions,
    places: Positions,
    acquisitions: Positions,
}

/// By position in the batch; empty when the site has too few of the batch's events to be worth a table.
struct Positions(Vec<ValueId>);

impl BatchPositions {
    pub(crate) fn new(tables: BatchTables<'_>, events: usize) -> Self {
        Self {
            clients: Positions::new(tables.clients(), events),
            places: Positions::new(tables.places(), events),
            acquisitions: Positions::new(tables.acquisitions(), events),
        }
    }
}

impl Positions {
    fn new(rows: usize, events: usize) -> Self {
        Self(match rows <= events * 4 {
            true => vec![NO_VALUE; rows],
            false => Vec::new(),
        })
    }

    fn get(&mut self, position: u32, intern: impl FnOnce() -> ValueId) -> ValueId {
        match self.0.get_mut(position as usize) {
            None => intern(),
            Some(known) => {
                if *known == NO_VALUE {
                    *known = intern();
                }
                *known
            }
        }
    }
}

/// The time that counts, or why there is none.
pub(crate) fn decide_time(
    event: &StoredEvent,
    stamp: UnixMillis,
    is_import: bool,
) -> Result<i64, DropReason> {
    let time_ms = match event.time_ms {
        0 => stamp.0,
        time_ms => time_ms,
    };
    if !SANE_MS.contains(&time_ms) {
        return Err(DropReason::AbsurdTime);
    }
    let time_ms = time_of(event, stamp);
    if !is_import && time_ms < stamp.0.saturating_sub(BEHIND_MS_MAX) {
        return Err(DropReason::TooLate);
    }
    Ok(time_ms)
}

/// The time that counts, if one does.
pub(crate) fn time_of(event: &StoredEvent, stamp: UnixMillis) -> i64 {
    match event.time_ms {
        0 => stamp.0,
        ahead if ahead > stamp.0.saturating_add(AHEAD_MS_MAX) => stamp.0,
        time_ms => time_ms,
    }
}

/// Checks every position and interns the values; none when a position points nowhere or a value cannot be.
pub(crate) fn resolve(
    event: &StoredEvent,
    tables: BatchTables<'_>,
    time_ms: i64,
    settings: &Settings,
    interner: &mut Interner,
    positions: &mut BatchPositions,
) -> Option<AppliedEvent> {
    let text = |position: u32| tables.text(position);
    let (name, page) = (text(event.name)?, text(event.page)?);
    let hostname = text(event.hostname)?;
    let revenue = match &event.revenue {
        None => None,
        Some(revenue) if revenue.amount_micros.unsigned_abs() > REVENUE_MICROS_MAX => return None,
        Some(revenue) => Some(Money {
            currency: CurrencyCode::parse(&revenue.currency)?,
            amount_micros: revenue.amount_micros,
        }),
    };
    let scroll_plus_one = u8::try_from(event.scroll_depth_plus_one)
        .ok()
        .filter(|depth| *depth <= 101)?;
    let is_property_broken = event
        .properties
        .iter()
        .any(|property| text(property.key).is_none() || text(property.value).is_none());
    if is_property_broken {
        return None;
    }
    let client = tables.client(event.client)?;
    let place = tables.place(event.place)?;
    let acquisition = tables.acquisition(event.acquisition)?;

    let kind = match name.as_ref() {
        b"pageview" => EventKind::Pageview,
        b"engagement" => EventKind::Engagement,
        _ => EventKind::Custom {
            is_interactive: EventFlags(event.flags).is_interactive(),
        },
    };
    let mut values: SmallVec<[(TouchKind, ValueId); 2]> = SmallVec::new();
    let mut goals = 0;
    if kind != EventKind::Engagement {
        if !settings.goals.is_empty() {
            let name = String::from_utf8_lossy(name);
            let page = String::from_utf8_lossy(page);
            for goal in settings.goals_met(&name, &page, UnixMillis(time_ms)) {
                goals += 1;
                values.push((TouchKind::GOAL, interner.text(&goal.id.to_string())));
            }
        }
        for property in &event.properties {
            let Some(slot) = text(property.key).and_then(|key| settings.property_slot(key)) else {
                continue;
            };
            let kind = TouchKind::property(slot);
            // A key that stands twice counts once, by its first value.
            if let Some(value) = text(property.value)
                && values.iter().all(|(known, _)| *known != kind)
            {
                values.push((kind, interner.text_bytes(value)));
            }
        }
    }
    let id = EventId(u128::from(event.id_high) << 64 | u128::from(event.id_low));
    Some(AppliedEvent {
        time_ms,
        id: id.hash(),
        visitor: event.visitor,
        visitor_previous: event.visitor_previous,
        kind,
        name: interner.text_bytes(name),
        page: interner.text_bytes(page),
        hostname: interner.text_bytes(hostname),
        client: positions
            .clients
            .get(event.client, || interner.stored_client(client)),
        place: positions
            .places
            .get(event.place, || interner.stored_place(place)),
        acquisition: positions.acquisitions.get(event.acquisition, || {
            interner.stored_acquisition(acquisition)
        }),
        scroll_plus_one,
        engaged_ms: event.engaged_ms,
        values,
        goals,
        revenue,
    })
}
