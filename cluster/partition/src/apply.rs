//! The partition as Raft's machine: committed entries go to their sites, verdicts come back.

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};

use actix::{MailboxError, Message};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use ringtail_proto::{LogIndex, SiteGeneration, Verdict};
use ringtail_raft::{Body, Committed, Floor, Machine, MachineError, SnapshotSink, SnapshotSource};
use tracing::Instrument as _;

use crate::{
    PartitionError, SiteError, SiteMachine,
    entry::{Entry, Slice},
    feeds::Feeds,
    partition::Partition,
    progress::Step,
    site_actor::Apply,
    snapshot_sink::StoreSink,
    verdict_counts::count_verdicts,
};

/// A site that cannot read is asked again this many times before the partition stops.
const RETRIES_MAX: usize = 10;
/// Wait before the first of them; each further wait is twice as long.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
/// Longest wait between two of them.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

/// Applies a group's entries to its sites.
pub(crate) struct PartitionMachine<M: SiteMachine> {
    partition: Arc<Partition<M>>,
}

impl<M: SiteMachine> PartitionMachine<M> {
    pub(crate) const fn new(partition: Arc<Partition<M>>) -> Self {
        Self { partition }
    }

    async fn apply_entries(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, PartitionError> {
        let _entrance = self.partition.enter().await?;
        let _applying = self.partition.applying.lock().await;
        self.partition.check_next(&entries)?;
        let mut replies = Vec::with_capacity(entries.len());
        let mut entries = VecDeque::from(entries);
        while !entries.is_empty() {
            let plan = Plan::of(&self.partition, &mut entries)?;
            self.apply_plan(plan, &mut replies).await?;
        }
        Ok(replies)
    }

    async fn apply_plan(
        &self,
        mut plan: Plan,
        replies: &mut Vec<Bytes>,
    ) -> Result<(), PartitionError> {
        self.partition.make_room(plan.sites.len()).await;
        self.send(&mut plan).await?;
        metrics::counter!("ringtail_aggregate_entries_total").increment(plan.replies.len() as u64);
        metrics::counter!("ringtail_aggregate_events_total").increment(plan.step.events);
        metrics::counter!("ringtail_aggregate_log_bytes_total").increment(plan.step.log_bytes);
        self.record_verdicts(&plan);
        let is_history = plan.step.history.is_some();
        let holds = self.partition.advance(plan.step);
        replies.extend(plan.replies.into_iter().map(BytesMut::freeze));
        if let Some(reply) = replies.last_mut().filter(|_| is_history) {
            let verdict = match holds {
                true => Verdict::Accepted,
                false => Verdict::Duplicate,
            };
            *reply = Bytes::copy_from_slice(&[verdict.code()]);
        }
        Ok(())
    }

    /// Keeps what no note tells yet, before anybody learns that the entries are applied.
    fn record_verdicts(&self, plan: &Plan) {
        let mut recent = self.partition.recent_verdicts.lock();
        for (position, reply) in plan.step.positions.iter().zip(&plan.replies) {
            recent.record(position.index, reply);
        }
    }

    /// Sends every site its slices at once, then waits for all of them.
    async fn send(&self, plan: &mut Plan) -> Result<(), PartitionError> {
        let sites = plan.sites.iter().map(|work| work.site);
        let addresses = self.partition.addresses(sites);
        let sent: Vec<_> = plan
            .sites
            .iter_mut()
            .zip(addresses)
            .map(|(work, address)| {
                let slices: Arc<[Slice]> = std::mem::take(&mut work.slices).into();
                let message = Apply { slices };
                let request = address.send(message.clone());
                (message, request)
            })
            .collect();
        for (work, (message, request)) in plan.sites.iter().zip(sent) {
            let codes = self.answer(work.site, &message, request).await?;
            scatter(work, &message.slices, &codes, &mut plan.replies)
                .map_err(|error| self.partition.site_error(work.site, error))?;
        }
        Ok(())
    }

    /// A site's codes. What the disk does not give now it may give later, so the site is asked again: nothing of a
    /// message that failed stays in the site's state.
    async fn answer(
        &self,
        site: SiteGeneration,
        message: &Apply,
        request: impl Future<Output = Result<<Apply as Message>::Result, MailboxError>>,
    ) -> Result<Vec<u8>, PartitionError> {
        let partition = &self.partition;
        let mut answer = match request.await {
            Ok(answer) => answer,
            // The actor ended before it took the message; the next one takes it.
            Err(_) => partition.ask(site, || message.clone()).await?,
        };
        let mut delay = RETRY_DELAY_MIN;
        for _ in 0..RETRIES_MAX {
            match &answer {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%site, %error, ?delay, "aggregate: a site is asked again");
                    metrics::counter!("ringtail_aggregate_site_retries_total").increment(1);
                }
                _ => break,
            }
            partition.seams.clock.sleep(delay).await;
            delay = RETRY_DELAY_MAX.min(2 * delay);
            answer = partition.ask(site, || message.clone()).await?;
        }
        answer.map_err(|error| partition.site_error(site, error))
    }
}

#[async_trait]
impl<M: SiteMachine> Machine for PartitionMachine<M> {
    async fn floor(&self) -> Result<Floor, MachineError> {
        Ok(self.partition.floor().map(Floor::from).unwrap_or_default())
    }

    async fn apply(&self, entries: Vec<Committed>) -> Result<Vec<Bytes>, MachineError> {
        if let Some(failure) = self.partition.failure() {
            return Err(MachineError::new(failure));
        }
        let group = self.partition.group;
        let span = tracing::debug_span!("aggregate", %group, entries = entries.len());
        let result = self.apply_entries(entries).instrument(span).await;
        result.map_err(|error| {
            // One that leaves the node in order has not failed.
            if !matches!(error, PartitionError::NotHere(_)) {
                tracing::error!(%group, %error, "aggregate: the partition stops");
                self.partition.fail(&error);
            }
            error.into()
        })
    }

    async fn snapshot(&self) -> Result<(Floor, Box<dyn SnapshotSource>), MachineError> {
        let (floor, source) = self.partition.snapshot().await?;
        Ok((floor, Box::new(source)))
    }

    async fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, MachineError> {
        let sink = StoreSink::begin(self.partition.clone()).await?;
        Ok(Box::new(sink))
    }
}

/// What a run of entries asks of each site, and where the answers go.
struct Plan {
    /// In the order in which the log first names them.
    sites: Vec<SiteWork>,
    /// One for each entry: one code for each event, or one for a command.
    replies: Vec<BytesMut>,
    step: Step,
}

/// One generation's part of a run of entries.
struct SiteWork {
    site: SiteGeneration,
    slices: Vec<Slice>,
    /// For each slice whose codes are the answer: which reply, and which part of it.
    places: Vec<Option<(usize, Range<usize>)>>,
}

impl SiteWork {
    const fn new(site: SiteGeneration) -> Self {
        Self {
            site,
            slices: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl Plan {
    /// Takes entries up to and including the first one that says something about the group's past: which generations are
    /// fed may be another matter behind it.
    fn of<M: SiteMachine>(
        partition: &Partition<M>,
        entries: &mut VecDeque<Committed>,
    ) -> Result<Self, PartitionError> {
        let mut plan = Self {
            sites: Vec::new(),
            replies: Vec::with_capacity(entries.len()),
            step: Step::default(),
        };
        let feeds = partition.feeds();
        let mut positions: HashMap<SiteGeneration, usize> = HashMap::new();
        while let Some(committed) = entries.pop_front() {
            let index = committed.position.index;
            plan.step.positions.push(committed.position);
            let mut codes = 0;
            match committed.body {
                Body::Blank => {}
                Body::Membership(membership) => plan.step.memberships.push((index, membership)),
                Body::Command(command) => {
                    plan.step.log_bytes += command.len() as u64;
                    if let Some(entry) = Entry::decode(partition.group, index, command)? {
                        plan.step.stamp = plan.step.stamp.max(entry.at.stamp);
                        plan.step.history = entry.history();
                        codes = plan.add(&feeds, index, &entry, &mut positions);
                    }
                }
            }
            plan.replies.push(BytesMut::zeroed(codes));
            if plan.step.history.is_some() {
                break;
            }
        }
        Ok(plan)
    }

    /// Hands the entry's slices to their sites; returns the number of codes of its reply.
    fn add(
        &mut self,
        feeds: &Feeds,
        index: LogIndex,
        entry: &Arc<Entry>,
        positions: &mut HashMap<SiteGeneration, usize>,
    ) -> usize {
        let reply = self.replies.len();
        if entry.says_something_to_sites() {
            self.step.site_entries.push(index);
        }
        let mut codes = 0;
        for (site, slice) in entry.slices() {
            let end = codes + slice.codes();
            self.step.events += slice.events() as u64;
            feeds.each(site, index, |site, is_primary| {
                let position = *positions.entry(site).or_insert_with(|| {
                    self.sites.push(SiteWork::new(site));
                    self.sites.len() - 1
                });
                if let Some(work) = self.sites.get_mut(position) {
                    work.slices.push(slice.clone());
                    work.places.push(is_primary.then_some((reply, codes..end)));
                }
            });
            codes = end;
        }
        codes
    }
}

/// Puts a site's codes where the entries' replies have their places.
fn scatter(
    work: &SiteWork,
    slices: &[Slice],
    mut codes: &[u8],
    replies: &mut [BytesMut],
) -> Result<(), SiteError> {
    for (place, slice) in work.places.iter().zip(slices) {
        let mismatch = SiteError::Verdicts {
            index: slice.at().index,
            found: codes.len(),
            expected: slice.codes(),
        };
        let Some((own, rest)) = codes.split_at_checked(slice.codes()) else {
            return Err(mismatch);
        };
        codes = rest;
        let Some((reply, place)) = place else {
            continue;
        };
        let target = replies.get_mut(*reply);
        match target.and_then(|reply| reply.get_mut(place.clone())) {
            Some(target) if target.len() == own.len() => {
                target.copy_from_slice(own);
                if !slice.is_command() {
                    count_verdicts(own);
                }
            }
            _ => return Err(mismatch),
        }
    }
    Ok(())
}
