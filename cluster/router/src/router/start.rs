//! How a router comes to life.

use std::sync::Arc;

use actix::Actor as _;
use actix_rt::{Arbiter, ArbiterHandle};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use ringtail_ring::SlotTable;

use super::{GroupRoute, Inner, Lane, Router, RouterSeams, Spawning, check_slots};
use crate::{
    RouteError, RouterOptions,
    batcher::{Batcher, LaneSeams, Started},
    budget::Budget,
    line::Line,
    spool::{Spool, forward_spooled, look_after_copies},
    stage_metrics::{ReplicateMetrics, RouteMetrics},
};

impl Router {
    /// Starts one batcher for each group, and forwards what an earlier run left in the spool.
    ///
    /// # Errors
    /// When a bound makes no sense, a slot's group has no route, or the spool cannot be opened.
    pub async fn start(
        options: RouterOptions,
        slots: SlotTable,
        routes: Vec<GroupRoute>,
        seams: RouterSeams,
    ) -> Result<Self, RouteError> {
        options.check()?;
        let mut groups: Vec<_> = routes.iter().map(|route| route.group).collect();
        groups.sort_unstable();
        check_slots(&slots, |group| groups.binary_search(&group).is_ok())?;
        let RouterSeams {
            node,
            clock,
            leaders,
            copies,
            spool,
            spawning,
        } = seams;
        let spool = Spool::open(node, options, Arc::clone(&clock), copies, spool).await?;
        let (own_arbiters, handles) = threads(spawning);
        let metrics = Arc::new(ReplicateMetrics::new());
        let mut lanes = Vec::with_capacity(routes.len());
        for (
            position,
            GroupRoute {
                group,
                log,
                leadership,
            },
        ) in routes.into_iter().enumerate()
        {
            let seams = LaneSeams {
                group,
                leadership: Arc::clone(&leadership),
                link: Arc::clone(&leaders),
                clock: Arc::clone(&clock),
                spool: Arc::clone(&spool),
                options,
                metrics: Arc::clone(&metrics),
            };
            let batcher = Batcher::new(seams, log);
            let batcher = match handles.get(position % handles.len().max(1)) {
                Some(arbiter) => Batcher::start_in_arbiter(arbiter, |_| batcher),
                None => batcher.start(),
            };
            batcher
                .send(Started)
                .await
                .map_err(|_| RouteError::Stopping)?;
            let line = Line::new(group, options.group_submissions_max);
            lanes.push(Lane {
                group,
                leadership,
                batcher,
                line,
            });
        }
        lanes.sort_by_key(|lane| lane.group);
        let router = Self {
            inner: Arc::new(Inner {
                options,
                slots: ArcSwap::from_pointee(slots),
                lanes,
                budget: Budget::new(&options),
                gate: Arc::default(),
                spool: Arc::clone(&spool),
                metrics: RouteMetrics::new(),
                own_arbiters: Mutex::new(own_arbiters),
            }),
        };
        let (forwarding, looking) = (
            forward_spooled(Arc::clone(&spool), router.clone()),
            look_after_copies(spool),
        );
        match handles.first() {
            Some(arbiter) => {
                // An arbiter that is gone ends the router before anything was taken.
                let _ = arbiter.spawn(forwarding) && arbiter.spawn(looking);
            }
            None => {
                actix_rt::spawn(forwarding);
                actix_rt::spawn(looking);
            }
        }
        Ok(router)
    }
}

fn threads(spawning: Spawning) -> (Vec<Arbiter>, Vec<ArbiterHandle>) {
    match spawning {
        Spawning::OwnArbiters(count) => {
            let arbiters: Vec<_> = (0..count.max(1)).map(|_| Arbiter::new()).collect();
            let handles = arbiters.iter().map(Arbiter::handle).collect();
            (arbiters, handles)
        }
        Spawning::Arbiters(handles) => (Vec::new(), handles),
        Spawning::CurrentThread => (Vec::new(), Vec::new()),
    }
}
