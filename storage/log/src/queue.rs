//! The queue between the groups and the writer thread.
//!
//! Not bounded here: what waits in it is bounded by who proposes (see `ringtail-raft`), and refusing an append would
//! stop the group for good.

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
}

impl Queue {
    /// Hands the request to the writer; gives it back when the queue is closed.
    pub(crate) fn push(&self, request: Request) -> Result<(), Request> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(request);
        }
        state.requests.push(request);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for requests and takes them all; `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        while state.requests.is_empty() {
            if state.is_closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
        Some(std::mem::take(&mut state.requests))
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
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }
}
