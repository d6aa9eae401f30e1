//! The machines of a run and what befalls them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{anyhow, bail};
use tokio::sync::{mpsc, watch};
use turmoil::Sim;

use super::{
    LASTING_MAX, SimOptions,
    scenario::{Outcome, Scenario, Stage},
};
use crate::sim::{
    Bug,
    clock::EPOCH_MS,
    host::Host,
    node,
    plan::{Fault, LATE_NODE, NODES, Plan},
    ring::Ring,
    watch::Leaders,
};

/// Hosts and network move on by this much at a time.
const TICK: Duration = Duration::from_millis(1);
/// A process that ended by itself is started again after this time.
const SUPERVISED_RESTART: Duration = Duration::from_millis(500);
/// Segments on their way into one connection, and connections that wait to be accepted.
const TCP_CAPACITY: usize = 1 << 14;

/// Runs the simulation to its end.
pub(crate) fn run(options: &SimOptions, plan: &Plan) -> anyhow::Result<Outcome> {
    let ring = Ring::new(options.bug);
    let scenario = Rc::new(Scenario {
        ring: Arc::clone(&ring),
        options: options.clone(),
        plan: plan.clone(),
        stage: watch::Sender::new(Stage::Making),
        acknowledged: Cell::default(),
        live_after: Cell::default(),
        drained: RefCell::default(),
    });
    let epoch = UNIX_EPOCH + Duration::from_millis(EPOCH_MS as u64);
    let sim = turmoil::Builder::new()
        .rng_seed(options.seed)
        .epoch(epoch)
        .simulation_duration(LASTING_MAX)
        .tick_duration(TICK)
        .min_message_latency(TICK)
        .max_message_latency(Duration::from_millis(plan.latency_ms_max).max(TICK))
        .tcp_capacity(TCP_CAPACITY)
        .build();
    let mut world = World {
        sim,
        ring: Arc::clone(&ring),
        scenario: Rc::clone(&scenario),
        seed: options.seed,
        latency: Duration::from_millis(plan.latency_ms_max),
        down: BTreeSet::new(),
        restarts: BTreeMap::new(),
        requests: None,
        power_losses: 0,
        delayed: BTreeSet::new(),
    };
    for number in 1..=NODES {
        world.add(number);
    }
    let (requests, mut asked) = mpsc::unbounded_channel::<u64>();
    world.requests = Some(requests);
    let acting = Rc::clone(&scenario);
    world.sim.client("clients", async move {
        let draining = async {
            match asked.recv().await {
                Some(node) => acting.drain(node).await,
                None => std::future::pending().await,
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = draining => Ok(()),
            done = Rc::clone(&acting).run() => done.map_err(Into::into),
        }
    });
    world.go(plan)?;
    // Whatever still runs ends here, before the outcome is read.
    let lasted = world.sim.elapsed();
    drop(world);
    Ok(Outcome {
        violations: ring.violations(),
        acknowledged: scenario.acknowledged.get(),
        live_after: scenario.live_after.get(),
        lasted,
        trace: ring.trace().take(),
    })
}

struct World<'a> {
    sim: Sim<'a>,
    ring: Arc<Ring>,
    scenario: Rc<Scenario>,
    seed: u64,
    latency: Duration,
    /// Hosts that are to be down.
    down: BTreeSet<u64>,
    /// When a process that ended by itself is started again.
    restarts: BTreeMap<u64, Duration>,
    requests: Option<mpsc::UnboundedSender<u64>>,
    power_losses: u64,
    delayed: BTreeSet<(u64, u64)>,
}

impl World<'_> {
    fn go(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let mut leaders = Leaders::default();
        let mut faults = plan.faults.iter().peekable();
        let mut begun: Option<Duration> = None;
        loop {
            let is_over = self.sim.step().map_err(|error| anyhow!("{error}"))?;
            self.ring.trace().set_now(self.sim.elapsed());
            leaders.look(&self.ring);
            if is_over {
                return Ok(());
            }
            let now = self.sim.elapsed();
            if now >= LASTING_MAX {
                bail!("the run has no end");
            }
            self.supervise(now);
            let stage = *self.scenario.stage.borrow();
            match (stage, begun) {
                (Stage::Making, _) | (Stage::Healed, _) => continue,
                (Stage::Faults, None) => begun = Some(now),
                (Stage::Faults, Some(_)) => {}
            }
            let since = now - begun.unwrap_or(now);
            while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= since) {
                self.ring.note(format!("FAULT {fault}"));
                self.befall(fault);
            }
            if since >= plan.end {
                self.ring.note("FAULT none any more");
                self.heal();
                self.scenario.stage.send_replace(Stage::Healed);
            }
        }
    }

    fn add(&mut self, number: u64) {
        let host = Host::new(number, self.seed);
        if self.ring.bug == Bug::LyingDisk {
            host.lie_about_syncs();
        }
        let address = self.sim.lookup(host.name());
        self.ring.add_host(Arc::clone(&host), address);
        let ring = Arc::clone(&self.ring);
        self.sim.host(host.name(), move || {
            node::run(Arc::clone(&ring), Arc::clone(&host))
        });
    }

    /// Starts processes again that ended by themselves, as an init system does.
    fn supervise(&mut self, now: Duration) {
        for host in self.ring.hosts() {
            let number = host.number;
            if self.down.contains(&number) || self.sim.is_host_running(host.name()) {
                self.restarts.remove(&number);
                continue;
            }
            let at = *self
                .restarts
                .entry(number)
                .or_insert(now + SUPERVISED_RESTART);
            if now >= at {
                self.restarts.remove(&number);
                self.sim.bounce(host.name());
            }
        }
    }

    fn befall(&mut self, fault: &Fault) {
        match *fault {
            Fault::Kill(node) => self.stop(node),
            Fault::LosePower(node) => self.lose_power(node),
            Fault::Vanish(node) => {
                for other in self.others(node) {
                    self.sim.partition(name(node), name(other));
                }
                self.sim.partition(name(node), "clients");
                self.lose_power(node);
                for other in self.others(node) {
                    self.sim.repair(name(node), name(other));
                }
                self.sim.repair(name(node), "clients");
            }
            Fault::Start(node) => self.start(node),
            Fault::Cut(one, other) if self.is_there(one, other) => {
                self.sim.partition(name(one), name(other));
            }
            Fault::CutOneWay(from, to) if self.is_there(from, to) => {
                self.sim.partition_oneway(name(from), name(to));
            }
            Fault::Hold(one, other) if self.is_there(one, other) => {
                self.sim.hold(name(one), name(other));
            }
            Fault::Mend(one, other) if self.is_there(one, other) => self.mend(one, other),
            Fault::Delay(one, other, ms) if self.is_there(one, other) => {
                let delay = Duration::from_millis(ms);
                self.sim.set_link_latency(name(one), name(other), delay);
                self.delayed.insert((one.min(other), one.max(other)));
            }
            Fault::Cut(..)
            | Fault::CutOneWay(..)
            | Fault::Hold(..)
            | Fault::Mend(..)
            | Fault::Delay(..) => {}
            Fault::Skew(node, ms) => self.with(node, |host| host.clock.set_skew_ms(ms)),
            Fault::FailSyncs(node) => self.with(node, |host| host.disk().fail_syncs()),
            Fault::SlowDisk(node, us) => self.with(node, |host| host.set_sync_us(us)),
            Fault::Fill(node) => self.with(node, |host| host.set_full(true)),
            Fault::MakeRoom(node) => self.with(node, |host| host.set_full(false)),
            Fault::Join => self.add(LATE_NODE),
            Fault::Drain(node) => {
                if let Some(requests) = &self.requests {
                    // The clients are there as long as faults come.
                    let _ = requests.send(node);
                }
            }
        }
    }

    fn heal(&mut self) {
        let hosts: Vec<u64> = self.ring.hosts().iter().map(|host| host.number).collect();
        for one in &hosts {
            for other in hosts.iter().filter(|other| *other > one) {
                self.mend(*one, *other);
            }
            self.with(*one, |host| {
                host.clock.set_skew_ms(0);
                host.set_full(false);
                host.set_sync_us(1_000);
            });
            self.start(*one);
        }
    }

    fn mend(&mut self, one: u64, other: u64) {
        self.sim.release(name(one), name(other));
        self.sim.repair(name(one), name(other));
        // A link that was delayed keeps a latency of its own: the middle of what the others have.
        if self.delayed.remove(&(one.min(other), one.max(other))) {
            let latency = (self.latency / 2).max(TICK);
            self.sim.set_link_latency(name(one), name(other), latency);
        }
    }

    fn stop(&mut self, node: u64) {
        self.down.insert(node);
        self.ring.stopped(node, "it is killed");
        if self.sim.is_host_running(name(node)) {
            self.sim.crash(name(node));
        }
    }

    fn lose_power(&mut self, node: u64) {
        self.stop(node);
        self.power_losses += 1;
        let seed = self.seed.wrapping_mul(1_000_003) + self.power_losses;
        self.with(node, |host| host.lose_power(seed));
        if self.ring.bug == Bug::LyingDisk {
            self.with(node, Host::lie_about_syncs);
        }
    }

    fn start(&mut self, node: u64) {
        self.down.remove(&node);
        if !self.sim.is_host_running(name(node)) {
            self.sim.bounce(name(node));
        }
    }

    fn with(&self, node: u64, act: impl FnOnce(&Host)) {
        if let Some(host) = self.ring.host(node) {
            act(&host);
        }
    }

    fn is_there(&self, one: u64, other: u64) -> bool {
        self.ring.host(one).is_some() && self.ring.host(other).is_some()
    }

    fn others(&self, node: u64) -> Vec<u64> {
        let hosts = self.ring.hosts();
        let others = hosts.iter().map(|host| host.number);
        others.filter(|other| *other != node).collect()
    }
}

fn name(node: u64) -> String {
    format!("node-{node}")
}
