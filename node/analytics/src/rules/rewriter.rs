//! Goes through a slice of events once; what stays as it is is not copied.

use bytes::Bytes;
use ringtail_proto::{
    UnixMillis,
    stored::{Acquisition, EventBatch, SiteEvents, StoredEvent},
};

use super::{RuledEvents, Rules, bots::Listed, by_position::ByPosition, subjects::KnownUsers};
use crate::state::time_of;

/// A position that no table has.
const NOWHERE: u32 = u32::MAX;

pub(super) struct Rewriter<'r, 'a> {
    rules: &'r Rules,
    batch: &'a EventBatch,
    clients: ByPosition<Listed>,
    pages: ByPosition<u32>,
    acquisitions: ByPosition<u32>,
    users: KnownUsers,
    more_texts: Vec<Bytes>,
    more_acquisitions: Vec<Acquisition>,
}

/// What the rules make of one event.
enum Ruled {
    Same,
    LeftOut,
    Other(Change),
}

#[derive(PartialEq, Eq)]
struct Change {
    page: u32,
    acquisition: u32,
    dropped: u32,
}

impl Change {
    const fn none(event: &StoredEvent) -> Self {
        Self {
            page: event.page,
            acquisition: event.acquisition,
            dropped: event.dropped,
        }
    }
}

impl<'r, 'a> Rewriter<'r, 'a> {
    pub(super) fn new(rules: &'r Rules, batch: &'a EventBatch, events: usize) -> Self {
        Self {
            rules,
            batch,
            clients: ByPosition::new(batch.clients.len(), events),
            pages: ByPosition::new(batch.texts.len(), events),
            acquisitions: ByPosition::new(batch.acquisitions.len(), events),
            users: ByPosition::new(batch.texts.len(), events),
            more_texts: Vec::new(),
            more_acquisitions: Vec::new(),
        }
    }

    pub(super) fn run(mut self, stamp: UnixMillis, events: &'a SiteEvents) -> RuledEvents<'a> {
        let mut kept: Option<Vec<StoredEvent>> = None;
        let mut left_out = Vec::new();
        for (position, event) in events.events.iter().enumerate() {
            let ruled = self.ruled(event, stamp);
            if !matches!(ruled, Ruled::Same) && kept.is_none() {
                let before = events.events.get(..position).unwrap_or_default();
                kept = Some(before.to_vec());
            }
            let Some(kept) = &mut kept else {
                continue;
            };
            match ruled {
                Ruled::LeftOut => left_out.push(position),
                Ruled::Same => kept.push(event.clone()),
                Ruled::Other(change) => kept.push(StoredEvent {
                    page: change.page,
                    acquisition: change.acquisition,
                    dropped: change.dropped,
                    ..event.clone()
                }),
            }
        }
        match kept {
            None => RuledEvents::unchanged(self.batch, events),
            Some(kept) => RuledEvents::changed(self.batch, events, kept, left_out)
                .with_tables(self.more_texts, self.more_acquisitions),
        }
    }

    fn ruled(&mut self, event: &StoredEvent, stamp: UnixMillis) -> Ruled {
        let rules = self.rules;
        let time_ms = time_of(event, stamp);
        if !rules.subjects.is_empty()
            && rules
                .subjects
                .leave_out(event, time_ms, self.batch, &mut self.users)
        {
            return Ruled::LeftOut;
        }
        let mut change = Change::none(event);
        if self.points_nowhere(event) {
            // It is malformed and has to stay so: what it points at may become a row that the rules add.
            change.page = NOWHERE;
        } else if time_ms >= rules.from_ms {
            self.rewrite(event, &mut change);
        }
        match change == Change::none(event) {
            true => Ruled::Same,
            false => Ruled::Other(change),
        }
    }

    fn rewrite(&mut self, event: &StoredEvent, change: &mut Change) {
        let (rules, batch) = (self.rules, self.batch);
        if let Some(bots) = &rules.bots {
            let listed = self.clients.get(event.client, || {
                let client = batch.clients.get(event.client as usize);
                client.map_or(Listed::Nowhere, |client| {
                    bots.listed(&client.raw_user_agent)
                })
            });
            change.dropped = bots.dropped(listed, event.dropped);
        }
        if let Some(pages) = &rules.pages {
            let more = &mut self.more_texts;
            change.page = self.pages.get(event.page, || {
                let page = batch.texts.get(event.page as usize);
                match page.and_then(|page| pages.rewritten(page)) {
                    Some(page) => push(batch.texts.len(), more, page),
                    None => event.page,
                }
            });
        }
        if let Some(channels) = &rules.channels {
            let more = &mut self.more_acquisitions;
            change.acquisition = self.acquisitions.get(event.acquisition, || {
                let row = batch.acquisitions.get(event.acquisition as usize);
                let found = row.and_then(|row| Some((row, channels.channel(row)?)));
                match found {
                    Some((row, channel)) if row.channel != *channel => {
                        let channel = channel.clone();
                        let row = Acquisition {
                            channel,
                            ..row.clone()
                        };
                        push(batch.acquisitions.len(), more, row)
                    }
                    _ => event.acquisition,
                }
            });
        }
    }

    fn points_nowhere(&self, event: &StoredEvent) -> bool {
        let texts = self.batch.texts.len();
        let is_no_text = |position: u32| position as usize >= texts;
        [event.name, event.page, event.hostname]
            .into_iter()
            .chain(
                event
                    .properties
                    .iter()
                    .flat_map(|pair| [pair.key, pair.value]),
            )
            .any(is_no_text)
            || event.acquisition as usize >= self.batch.acquisitions.len()
    }
}

/// Adds a row behind those of the batch and answers its position.
fn push<T>(rows: usize, more: &mut Vec<T>, row: T) -> u32 {
    let position = u32::try_from(rows + more.len()).unwrap_or(NOWHERE);
    more.push(row);
    position
}
