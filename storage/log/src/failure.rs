//! The one error that stops the log, for everyone who waits for it.

use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use crate::error::LogError;

/// Holds the first fatal error; everything after it is refused with the same.
#[derive(Default)]
pub(crate) struct Failure {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    error: Option<LogError>,
    waiting: Vec<Waker>,
}

impl Failure {
    pub(crate) fn get(&self) -> Option<LogError> {
        self.state.lock().error.clone()
    }

    /// Fails the log, unless it has failed before.
    pub(crate) fn set(&self, error: LogError) {
        let mut state = self.state.lock();
        if state.error.is_some() {
            return;
        }
        state.error = Some(error);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waker in waiting {
            waker.wake();
        }
    }

    /// Resolves when the log fails, which a healthy log never does.
    pub(crate) fn wait(&self) -> impl Future<Output = LogError> + Send + '_ {
        poll_fn(|context| {
            let mut state = self.state.lock();
            if let Some(error) = &state.error {
                return Poll::Ready(error.clone());
            }
            let waker = context.waker();
            if !state.waiting.iter().any(|other| other.will_wake(waker)) {
                state.waiting.push(waker.clone());
            }
            Poll::Pending
        })
    }
}
