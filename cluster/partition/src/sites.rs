//! The sites of a partition that have an actor.

use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, MailboxError, Message, dev::channel};
use hashbrown::HashMap;
use parking_lot::Mutex;
use ringtail_checkpoint::StoreError;
use ringtail_proto::{LogIndex, SiteGeneration};

use crate::{
    PartitionError, SiteError, SiteMachine,
    partition::Partition,
    site_actor::{SiteActor, Written},
    site_gauge::{Reading, SiteGauge},
};

/// An actor that has ended is replaced this many times for one message; more than that, and the threads are gone.
const REPLACEMENTS_MAX: usize = 8;

/// The sites with an actor.
pub(crate) struct Sites<M: SiteMachine> {
    active: Mutex<HashMap<SiteGeneration, ActiveSite<M>>>,
}

struct ActiveSite<M: SiteMachine> {
    address: Addr<SiteActor<M>>,
    gauge: Arc<SiteGauge>,
}

impl<M: SiteMachine> Default for Sites<M> {
    fn default() -> Self {
        Self {
            active: Mutex::default(),
        }
    }
}

impl<M: SiteMachine> Sites<M> {
    pub(crate) fn len(&self) -> usize {
        self.active.lock().len()
    }

    /// All gauges, by site.
    pub(crate) fn readings(&self) -> Vec<(SiteGeneration, Reading)> {
        let active = self.active.lock();
        let mut readings: Vec<_> = active
            .iter()
            .map(|(site, entry)| (*site, entry.gauge.read()))
            .collect();
        drop(active);
        readings.sort_unstable_by_key(|(site, _)| *site);
        readings
    }

    /// The first index that only memory holds, over all sites.
    pub(crate) fn dirty_since(&self) -> Option<LogIndex> {
        let active = self.active.lock();
        let dirty = active.values().map(|entry| entry.gauge.read().dirty_since);
        dirty.flatten().min()
    }

    /// Notes on a site's gauge how its checkpoint went.
    pub(crate) fn note_checkpoint(
        &self,
        site: SiteGeneration,
        written: Result<&Written, &SiteError>,
        now_ms: u64,
    ) {
        let active = self.active.lock();
        let Some(entry) = active.get(&site) else {
            return;
        };
        match written {
            Ok(_) => entry.gauge.note_success(),
            // Asked before anything is done, and the same for all sites.
            Err(SiteError::Store(StoreError::Full { .. })) => {}
            Err(_) => entry.gauge.note_failure(now_ms),
        }
    }

    /// Forgets a site whose actor has ended, unless another one runs by now.
    pub(crate) fn forget(&self, site: SiteGeneration, ended: &Addr<SiteActor<M>>) {
        let mut active = self.active.lock();
        if active
            .get(&site)
            .is_some_and(|entry| entry.address == *ended)
        {
            active.remove(&site);
        }
    }

    /// Lets go of a site's actor; it ends when it has answered what it was asked.
    pub(crate) fn remove(&self, site: SiteGeneration) {
        self.active.lock().remove(&site);
    }

    /// Lets go of all actors; they end when they have answered what they were asked.
    pub(crate) fn clear(&self) {
        self.active.lock().clear();
    }
}

impl<M: SiteMachine> Partition<M> {
    /// The addresses of sites, in their order; those that have no actor get one.
    pub(crate) fn addresses(
        self: &Arc<Self>,
        sites: impl Iterator<Item = SiteGeneration>,
    ) -> Vec<Addr<SiteActor<M>>> {
        let mut active = self.sites.active.lock();
        sites
            .map(|site| {
                let entry = active.entry(site).or_insert_with(|| {
                    let gauge = Arc::new(SiteGauge::new(self.now_ms()));
                    ActiveSite {
                        address: self.start(site, gauge.clone()),
                        gauge,
                    }
                });
                entry.address.clone()
            })
            .collect()
    }

    /// The address of a site that has an actor.
    pub(crate) fn active_address(&self, site: SiteGeneration) -> Option<Addr<SiteActor<M>>> {
        let active = self.sites.active.lock();
        active.get(&site).map(|entry| entry.address.clone())
    }

    /// Asks a site, starting its actor if need be.
    pub(crate) async fn ask<Q>(
        self: &Arc<Self>,
        site: SiteGeneration,
        mut question: impl FnMut() -> Q,
    ) -> Result<Q::Result, PartitionError>
    where
        Q: Message + Send + 'static,
        Q::Result: Send,
        SiteActor<M>: Actor<Context = Context<SiteActor<M>>> + Handler<Q>,
    {
        let addresses = self.addresses(std::iter::once(site));
        let mut address = addresses
            .into_iter()
            .next()
            .expect("one site has one address");
        for _ in 0..REPLACEMENTS_MAX {
            match address.send(question()).await {
                Ok(answer) => return Ok(answer),
                Err(MailboxError::Closed | MailboxError::Timeout) => {
                    address = self.replace(site, &address);
                }
            }
        }
        Err(PartitionError::Stopping(self.group))
    }

    /// The site's actor after this one has ended. The gauge stays: it knows what the actor had applied.
    fn replace(
        self: &Arc<Self>,
        site: SiteGeneration,
        ended: &Addr<SiteActor<M>>,
    ) -> Addr<SiteActor<M>> {
        let mut active = self.sites.active.lock();
        let entry = active.entry(site).or_insert_with(|| ActiveSite {
            address: ended.clone(),
            gauge: Arc::new(SiteGauge::new(self.now_ms())),
        });
        if entry.address == *ended {
            entry.address = self.start(site, entry.gauge.clone());
        }
        entry.address.clone()
    }

    fn start(self: &Arc<Self>, site: SiteGeneration, gauge: Arc<SiteGauge>) -> Addr<SiteActor<M>> {
        let (sender, receiver) = channel::channel(self.options.mailbox_messages_max);
        let actor = SiteActor::new(site, self.clone(), gauge);
        let lane = self.group.0 as usize;
        self.seams.spawner.start(
            lane,
            Box::new(move || {
                let context = Context::with_receiver(receiver);
                actix_rt::spawn(context.into_future(actor));
            }),
        );
        Addr::new(sender)
    }
}
