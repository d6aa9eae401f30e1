//! A steady load of single requests, each offered to one node after the other until one takes it, as an edge or a
//! tracker would do. A request that no node takes has failed.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::bench::probe::{microseconds, record};

/// A node that takes longer is left for the next one.
const ANSWER_AFTER_MAX: Duration = Duration::from_secs(5);
/// A request that finds no node for so long has failed.
const TAKEN_AFTER_MAX: Duration = Duration::from_secs(15);
/// After all nodes have refused.
const ROUND_PAUSE: Duration = Duration::from_millis(20);
/// Requests under way; a load that reaches it is no longer steady, and the measurement fails.
const IN_FLIGHT_MAX: usize = 4_096;

/// What is sent, and how.
pub(super) trait Door: Send + Sync + 'static {
    /// A request; the same one is offered to each node.
    type Parcel: Send + Sync + 'static;

    /// How many nodes can be asked.
    fn nodes(&self) -> usize;
    /// Makes the request of this number.
    fn parcel(&self, number: u64) -> Self::Parcel;
    /// Offers it to one node; an error when the node does not take it.
    fn offer(
        &self,
        node: usize,
        parcel: &Self::Parcel,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What became of the requests.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) taken: u64,
    /// Taken by another node than the first one asked.
    pub(super) by_another: u64,
    /// The last refusal of each request that no node took.
    pub(super) failed: Vec<String>,
    /// From when a request was due until it was taken.
    pub(super) latency: Histogram<u64>,
}

impl Outcome {
    fn new() -> Self {
        Self {
            taken: 0,
            by_another: 0,
            failed: Vec::new(),
            latency: microseconds(),
        }
    }
}

/// A load at work.
pub(super) struct Paced {
    stop: watch::Sender<bool>,
    sender: JoinHandle<anyhow::Result<()>>,
    outcome: Arc<Mutex<Outcome>>,
    slots: Arc<Semaphore>,
}

impl Paced {
    /// Begins to send one request each `pause`.
    pub(super) fn start(door: impl Door, pause: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let outcome = Arc::new(Mutex::new(Outcome::new()));
        let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let sending = send(
            Arc::new(door),
            pause,
            stopped,
            outcome.clone(),
            slots.clone(),
        );
        Self {
            stop,
            sender: tokio::spawn(sending),
            outcome,
            slots,
        }
    }

    /// What became of the requests since the last call; begins anew.
    pub(super) fn so_far(&self) -> Outcome {
        std::mem::replace(&mut self.outcome.lock(), Outcome::new())
    }

    /// Ends the load when all that was sent is taken or has failed.
    pub(super) async fn finish(self) -> anyhow::Result<Outcome> {
        self.stop.send_replace(true);
        self.sender.await??;
        let all = u32::try_from(IN_FLIGHT_MAX)?;
        drop(self.slots.acquire_many(all).await?);
        let outcome = std::mem::replace(&mut *self.outcome.lock(), Outcome::new());
        Ok(outcome)
    }
}

async fn send(
    door: Arc<impl Door>,
    pause: Duration,
    mut stopped: watch::Receiver<bool>,
    outcome: Arc<Mutex<Outcome>>,
    slots: Arc<Semaphore>,
) -> anyhow::Result<()> {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0.. {
        let due = tokio::select! {
            due = ticks.tick() => due.into_std(),
            _ = stopped.changed() => return Ok(()),
        };
        let slot = slots.clone().try_acquire_owned();
        ensure!(slot.is_ok(), "{IN_FLIGHT_MAX} requests wait for an answer");
        let (door, outcome) = (door.clone(), outcome.clone());
        tokio::spawn(async move {
            let parcel = door.parcel(number);
            let taken = hand_over(&*door, number, &parcel).await;
            let mut outcome = outcome.lock();
            match taken {
                Ok(attempts) => {
                    outcome.taken += 1;
                    outcome.by_another += u64::from(attempts > 1);
                    record(&mut outcome.latency, due.elapsed());
                }
                Err(error) => outcome.failed.push(format!("{error:#}")),
            }
            drop(slot);
        });
    }
    Ok(())
}

/// How many nodes had to be asked.
async fn hand_over<D: Door>(door: &D, number: u64, parcel: &D::Parcel) -> anyhow::Result<usize> {
    let started = Instant::now();
    let nodes = door.nodes();
    let first = (number % nodes as u64) as usize;
    for attempt in 0.. {
        let offered = timeout(
            ANSWER_AFTER_MAX,
            door.offer((first + attempt) % nodes, parcel),
        )
        .await;
        let error = match offered {
            Ok(Ok(())) => return Ok(attempt + 1),
            Ok(Err(error)) => error,
            Err(late) => late.into(),
        };
        if started.elapsed() > TAKEN_AFTER_MAX {
            return Err(error);
        }
        if (attempt + 1) % nodes == 0 {
            sleep(ROUND_PAUSE).await;
        }
    }
    unreachable!("it is offered until a node takes it or the time is over")
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    /// Two nodes, of which the first refuses everything.
    struct HalfClosed;

    impl Door for HalfClosed {
        type Parcel = u64;

        fn nodes(&self) -> usize {
            2
        }

        fn parcel(&self, number: u64) -> u64 {
            number
        }

        async fn offer(&self, node: usize, _: &u64) -> anyhow::Result<()> {
            if node == 0 {
                bail!("closed");
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_one_node_refuses_is_taken_by_another() {
        let paced = Paced::start(HalfClosed, Duration::from_millis(1));
        while paced.outcome.lock().taken < 10 {
            tokio::task::yield_now().await;
        }
        let outcome = paced.finish().await.expect("the load ends");
        assert_eq!(outcome.failed, Vec::<String>::new());
        assert!(outcome.taken >= 10, "{outcome:?}");
        // Every second request begins with the node that refuses.
        assert!(
            outcome.by_another.abs_diff(outcome.taken / 2) <= 1,
            "{outcome:?}"
        );
    }
}
