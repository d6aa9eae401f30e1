//! Entries that are written already: from other nodes, and from the spool.

use std::sync::Arc;

use bytes::Bytes;
use ringtail_proto::{
    GroupId, SiteId,
    stored::{PartitionEntry, partition_entry::Body},
};

use super::Router;
use crate::{
    Leader, RouteError,
    draft::EncodedEntry,
    entry::{EntryKind, Unstamped},
    queue::Item,
    spool::{Spool, SpooledEntry},
    submission::{EntrySubmission, Ticket},
};

/// What a command, or a batch's tables, may take beyond the bound on events' bytes.
const SLACK_BYTES: usize = 64 << 10;

impl Router {
    /// Takes an entry that another node sent to this one as its group's leader: [`crate::EventsService`] without its
    /// connection. It is checked word by word, and never goes to a third node.
    ///
    /// # Errors
    /// Nothing was written: the group is led elsewhere, there is no room, or the entry cannot be.
    pub fn submit_forwarded(
        &self,
        group: GroupId,
        entry: Bytes,
    ) -> Result<EntrySubmission, RouteError> {
        self.inner.gate.check_commands()?;
        let lane = self.lane(group)?;
        let leader = lane.leadership.leader();
        if leader != Leader::Here {
            let leader = leader.peer();
            return Err(RouteError::NotLeader { group, leader });
        }
        let events = self.check_entry(group, &entry)?;
        if events > 0 {
            self.inner.gate.check_events()?;
        }
        self.submit_written(group, entry, events, EntryKind::Peer)
    }

    /// Takes an entry out of the spool.
    pub(crate) fn submit_spooled(
        &self,
        entry: SpooledEntry,
    ) -> Result<EntrySubmission, RouteError> {
        self.inner.gate.check_commands()?;
        let group = entry.group;
        let events = self.check_entry(group, &entry.bytes)?;
        self.submit_written(group, entry.bytes, events, EntryKind::Spool)
    }

    /// The spool, for those who keep copies in it.
    pub(crate) fn spool(&self) -> &Arc<Spool> {
        &self.inner.spool
    }

    /// The longest entry that another node may send.
    pub(crate) fn entry_bytes_max(&self) -> usize {
        self.inner.options.batch_bytes_max + SLACK_BYTES
    }

    /// Checks bytes from elsewhere; returns the number of their events.
    pub(crate) fn check_entry(&self, group: GroupId, entry: &Bytes) -> Result<usize, RouteError> {
        let refused = |message: String| RouteError::Refused { group, message };
        let events_max = self.inner.options.batch_events_max;
        let (bytes, bytes_max) = (entry.len(), self.entry_bytes_max());
        let too_large = |events| RouteError::TooLarge {
            events,
            bytes,
            events_max,
            bytes_max,
        };
        if bytes > bytes_max {
            return Err(too_large(0));
        }
        let decoded = PartitionEntry::from_log(entry.clone());
        let decoded = decoded.map_err(|error| refused(error.to_string()))?;
        if decoded.stamp_ms != 0 {
            return Err(refused("the entry carries a stamp".to_owned()));
        }
        let check_site = |site: u64| match self.group_of(SiteId(site)) == group {
            true => Ok(()),
            false => Err(refused(format!("site {site} is not of this group"))),
        };
        match decoded.body {
            None => Err(refused("the entry says nothing".to_owned())),
            Some(Body::Site(command)) => check_site(command.site).map(|()| 0),
            Some(Body::Archive(_) | Body::Mirrored(_) | Body::Generation(_)) => Err(refused(
                "history is written by the group's own duties".to_owned(),
            )),
            Some(Body::Events(batch)) => {
                let mut events = 0;
                for slice in &batch.sites {
                    check_site(slice.site)?;
                    events += slice.events.len();
                }
                match events > events_max {
                    true => Err(too_large(events)),
                    false => Ok(events),
                }
            }
        }
    }

    fn submit_written(
        &self,
        group: GroupId,
        entry: Bytes,
        events: usize,
        kind: EntryKind,
    ) -> Result<EntrySubmission, RouteError> {
        let lane = self.lane(group)?;
        let charge = self.inner.budget.charge_bytes(entry.len())?;
        let place = lane.line.take_place()?;
        let (ticket, submission) = Ticket::for_entry(group, charge);
        let bytes = Unstamped::new(entry);
        let entry = EncodedEntry {
            bytes,
            events,
            kind,
        };
        lane.enqueue(Item::Encoded {
            entry,
            ticket,
            place,
        })?;
        Ok(submission)
    }
}
