//! Group 0's state machine: commands in, rows and directory out.

use std::{ops::ControlFlow, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use ringtail_checkpoint::{CheckpointStore, GroupBatch, GroupSnapshot, GroupStore};
use ringtail_proto::{GroupId, LogIndex, UnixMillis};
use ringtail_raft::{
    Body, Committed, Floor, LogPosition, Machine, MachineError, SnapshotSink, SnapshotSource,
};
use tokio::sync::watch;

use crate::{
    AuditRecord, Cluster, Directory, Entry, GroupPlacement, JoinToken, Key, METADATA_GROUP,
    MetadataError, Outcome, Site, SitePast,
    decide::{Change, decide},
    ring_state::RingState,
    rows::{self, Family, Head},
    versioned::encode,
};

/// Applies group 0's log. All rows that a run of entries changes go into one atomic batch together with the position
/// applied; so what the store holds is always the state at exactly one position.
pub struct MetadataMachine {
    pub(crate) shared: Arc<Shared>,
}

/// What the machine shares with a snapshot on its way in.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) applying: Mutex<Applying>,
    pub(crate) applied: watch::Sender<LogIndex>,
}

/// What only apply touches.
pub(crate) struct Applying {
    /// Another one after a snapshot was received.
    pub(crate) rows: Arc<dyn GroupStore>,
    head: Head,
    membership: Option<Bytes>,
}

impl Applying {
    /// Reads the position from the rows of group 0, and everything that readers see.
    pub(crate) fn open(store: &dyn CheckpointStore) -> Result<(Self, Directory), MetadataError> {
        let rows = store
            .group(METADATA_GROUP)
            .map_err(MetadataError::storage)?;
        let snapshot = rows.snapshot();
        let head: Head = rows::read(&*snapshot, "head row", &rows::HEAD)?.unwrap_or_default();
        let membership = snapshot
            .get(&rows::MEMBERSHIP)
            .map_err(MetadataError::storage)?
            .map(rows::membership_from_row)
            .transpose()?;
        let directory = Directory::new();
        load(&*snapshot, &directory)?;
        tracing::info!(
            index = %index_of(&head),
            sites = directory.site_count(),
            keys = directory.key_count(),
            "metadata loaded"
        );
        let applying = Self {
            rows,
            head,
            membership,
        };
        Ok((applying, directory))
    }

    /// The index applied last.
    pub(crate) fn index(&self) -> LogIndex {
        index_of(&self.head)
    }

    /// The position up to which the rows hold everything.
    pub(crate) fn floor(&self) -> Floor {
        Floor {
            position: self.head.position.map(LogPosition::from),
            membership: self.membership.clone(),
        }
    }
}

fn index_of(head: &Head) -> LogIndex {
    head.position
        .map_or(LogIndex(0), |position| LogPosition::from(position).index)
}

impl MetadataMachine {
    /// Reads the rows of group 0.
    ///
    /// # Errors
    /// When a row cannot be read, or was written by a newer binary.
    pub fn open(store: Arc<dyn CheckpointStore>) -> Result<Self, MetadataError> {
        let (applying, directory) = Applying::open(&*store)?;
        let shared = Shared {
            store,
            directory: Arc::new(directory),
            applied: watch::Sender::new(applying.index()),
            applying: Mutex::new(applying),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The state, for readers.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.shared.directory)
    }

    /// The index applied last; changes each time something was applied.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<LogIndex> {
        self.shared.applied.subscribe()
    }

    /// The position up to which the store holds everything, durable once the store is persisted.
    #[must_use]
    pub fn floor_now(&self) -> Floor {
        self.shared.applying.lock().floor()
    }

    /// The newest records of the audit log, newest first, at most `max` of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn audit(&self, max: usize) -> Result<Vec<AuditRecord>, MetadataError> {
        let (snapshot, next) = {
            let applying = self.shared.applying.lock();
            (applying.rows.snapshot(), applying.head.audit_next)
        };
        let first = next.saturating_sub(max as u64);
        let mut records = Vec::new();
        rows::read_family(
            &*snapshot,
            "audit row",
            Family::Audit,
            first,
            |_, record| {
                records.push(record);
                ControlFlow::Continue(())
            },
        )?;
        records.reverse();
        Ok(records)
    }

    /// Applies a run of entries and commits what they change.
    fn apply_all(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MetadataError> {
        let mut applying = self.shared.applying.lock();
        let applied = applying
            .head
            .position
            .map(|position| LogPosition::from(position).index);
        let mut batch = GroupBatch::new();
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            // The rows already hold what these entries did; nobody waits for their replies.
            if Some(entry.position.index) <= applied {
                replies.push(Bytes::new());
                continue;
            }
            let reply = match entry.body {
                Body::Blank => Bytes::new(),
                Body::Membership(membership) => {
                    batch.put(&rows::MEMBERSHIP, rows::membership_to_row(&membership));
                    applying.membership = Some(membership);
                    Bytes::new()
                }
                Body::Command(bytes) => {
                    let entry_read = Entry::from_log(&bytes)?;
                    let index = entry.position.index;
                    encode(&self.apply_one(&mut applying.head, &mut batch, index, entry_read))
                }
            };
            applying.head.position = Some(entry.position.into());
            replies.push(reply);
        }
        let position = applying.head.position.map(LogPosition::from);
        if let Some(position) = position
            && Some(position.index) > applied
        {
            batch.put(&rows::HEAD, encode(&applying.head));
            applying
                .rows
                .commit(batch)
                .map_err(MetadataError::storage)?;
            self.shared.applied.send_replace(position.index);
        }
        Ok(replies)
    }

    fn apply_one(
        &self,
        head: &mut Head,
        batch: &mut GroupBatch,
        index: LogIndex,
        entry: Entry,
    ) -> Result<Outcome, MetadataError> {
        head.at = UnixMillis(head.at.0.max(entry.at.0));
        let (is_audited, what) = match entry.command.is_housekeeping() {
            true => (false, String::new()),
            false => (true, entry.command.to_string()),
        };
        let decision = decide(&self.shared.directory, head, entry.command);
        if is_audited {
            let record = AuditRecord {
                index,
                at: head.at,
                who: entry.who,
                why: entry.why,
                what,
                refused: decision.as_ref().err().cloned(),
            };
            self.keep_record(head, batch, &record);
        }
        let decision = decision?;
        for change in decision.changes {
            self.carry_out(batch, change);
        }
        Ok(decision.outcome)
    }

    fn carry_out(&self, batch: &mut GroupBatch, change: Change) {
        match change {
            Change::Cluster(cluster) => {
                batch.put(&rows::CLUSTER, encode(&*cluster));
                self.shared.directory.put_cluster(cluster);
            }
            Change::Node(node) => {
                batch.put(&rows::node_row(node.id), rows::node_to_row(&node));
                self.shared.directory.put_node(node);
            }
            Change::ForgetNode(node) => {
                batch.remove(&rows::node_row(node));
                self.shared.directory.forget_node(node);
            }
            Change::Ring(ring) => {
                batch.put(&rows::RING, encode(&ring));
                self.shared.directory.put_ring_state(ring);
            }
            Change::Token(token) => {
                batch.put(&rows::token_row(token.id), encode(&*token));
                self.shared.directory.put_token(token);
            }
            Change::ForgetToken(token) => {
                batch.remove(&rows::token_row(token));
                self.shared.directory.forget_token(token);
            }
            Change::Placement(group, place) => {
                batch.put(&rows::placement_row(group), encode(&*place));
                self.shared.directory.put_placements([(group, place)]);
            }
            Change::Past(past) => {
                batch.put(&rows::past_row(past.site), encode(&*past));
                self.shared.directory.put_past(past);
            }
            Change::Site(site) => {
                batch.put(&rows::site_row(site.id), encode(&*site));
                self.shared.directory.put_site(site);
            }
            Change::Key(key) => {
                batch.put(&rows::key_row(key.id), encode(&*key));
                self.shared.directory.put_key(key);
            }
            Change::ForgetKey(key) => {
                batch.remove(&rows::key_row(key));
                self.shared.directory.forget_key(key);
            }
        }
    }

    /// Appends to the audit log; the oldest records give way.
    fn keep_record(&self, head: &mut Head, batch: &mut GroupBatch, record: &AuditRecord) {
        batch.put(&rows::audit_row(head.audit_next), encode(record));
        head.audit_next += 1;
        let limits = self
            .shared
            .directory
            .cluster()
            .map(|cluster| cluster.limits);
        let records_max = u64::from(limits.unwrap_or_default().audit_records_max);
        while head.audit_next - head.audit_first > records_max {
            batch.remove(&rows::audit_row(head.audit_first));
            head.audit_first += 1;
        }
    }
}

#[async_trait]
impl Machine for MetadataMachine {
    async fn floor(&self) -> Result<Floor, MachineError> {
        Ok(self.floor_now())
    }

    async fn apply(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        let count = entries.len() as u64;
        let replies = self
            .apply_all(entries)
            .map_err(|error| MachineError::new(error.to_string()))?;
        metrics::counter!("ringtail_replicate_metadata_entries_total").increment(count);
        metrics::gauge!("ringtail_replicate_metadata_sites")
            .set(self.shared.directory.site_count() as f64);
        Ok(replies)
    }

    async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError> {
        let (floor, source) = self.rows_now();
        Ok((floor, Box::new(source)))
    }

    async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError> {
        Ok(Box::new(self.replace().await?))
    }
}

pub(crate) fn load(
    snapshot: &dyn GroupSnapshot,
    directory: &Directory,
) -> Result<(), MetadataError> {
    if let Some(cluster) = rows::read::<Cluster>(snapshot, "cluster row", &rows::CLUSTER)? {
        directory.put_cluster(Arc::new(cluster));
    }
    if let Some(ring) = rows::read::<RingState>(snapshot, "ring row", &rows::RING)? {
        directory.put_ring_state(ring);
    }
    rows::read_family::<Site>(snapshot, "site row", Family::Sites, 0, |_, site| {
        directory.put_site(Arc::new(site));
        ControlFlow::Continue(())
    })?;
    rows::read_family::<Key>(snapshot, "key row", Family::Keys, 0, |_, key| {
        directory.put_key(Arc::new(key));
        ControlFlow::Continue(())
    })?;
    rows::read_family::<SitePast>(snapshot, "past row", Family::Pasts, 0, |_, past| {
        directory.put_past(Arc::new(past));
        ControlFlow::Continue(())
    })?;
    rows::read_nodes(snapshot, |node| directory.put_node(Arc::new(node)))?;
    rows::read_family::<JoinToken>(snapshot, "token row", Family::Tokens, 0, |_, token| {
        directory.put_token(Arc::new(token));
        ControlFlow::Continue(())
    })?;
    let mut placements = Vec::new();
    let family = Family::Placements;
    rows::read_family::<GroupPlacement>(snapshot, "group row", family, 0, |group, place| {
        placements.push((GroupId(group as u32), Arc::new(place)));
        ControlFlow::Continue(())
    })?;
    directory.put_placements(placements);
    Ok(())
}
