//! The queue between the groups and the writer thread.
//!
//! Not bounded here: what waits in it is bounded by who proposes (see `ringtail-raft`), and refusing an append would
//! stop the group for good.

use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::LogError;
use crate::record::Record;

/// Called exactly once: when what was asked is on disk, or when it is certain or possible that it never will be.
pub type OnDurable = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// Records that go to disk together and in this order.
pub(crate) struct Request {
    pub(crate) records: Vec<Record>,
    /// The group's truncation count when the request was made.
    pub(crate) truncations: u32,
    pub(crate) on_durable: Option<OnDurable>,
}

impl Request {
    pub(crate) fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.len() as u64).sum()
    }

    pub(crate) fn answer(self, result: Result<(), LogError>) {
        if let Some(on_durable) = self.on_durable {
            on_durable(result);
        }
    }
}

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    is_closed: bool,
    /// Whoever drives the writer without a thread of its own.
    driver: Option<Waker>,
}

impl State {
    /// Takes what waits; `None` once the queue is closed and empty.
    fn take(&mut self) -> Option<Vec<Request>> {
        (!self.requests.is_empty() || !self.is_closed).then(|| std::mem::take(&mut self.requests))
    }
}

impl Queue {
    /// Hands the request to the writer; gives it back when the queue is closed.
    pub(crate) fn push(&self, request: Request) -> Result<(), Request> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(request);
        }
        state.requests.push(request);
        let driver = state.driver.take();
        drop(state);
        self.changed.notify_one();
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }

    /// Waits for requests and takes them all; `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        while state.requests.is_empty() && !state.is_closed {
            self.changed.wait(&mut state);
        }
        state.take()
    }

    /// Takes what waits, without waiting for it; `None` once the queue is closed and empty.
    pub(crate) fn take_now(&self) -> Option<Vec<Request>> {
        self.state.lock().take()
    }

    /// Resolves once there are requests or the queue is closed. For one driver at a time.
    pub(crate) async fn filled(&self) {
        poll_fn(|context| {
            let mut state = self.state.lock();
            if !state.requests.is_empty() || state.is_closed {
                return Poll::Ready(());
            }
            state.driver = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits this long, or until the queue is closed. True when it is closed.
    pub(crate) fn pause(&self, interval: Duration) -> bool {
        let mut state = self.state.lock();
        self.changed
            .wait_while_for(&mut state, |state| !state.is_closed, interval);
        state.is_closed
    }

    /// Takes no more requests; those already in it are still done.
    pub(crate) fn close(&self) {
        let driver = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.driver.take()
        };
        self.changed.notify_all();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}
