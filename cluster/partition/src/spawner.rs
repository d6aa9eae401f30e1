//! Where actors run.

use std::{
    io,
    sync::{Arc, mpsc as std_mpsc},
    thread::{self, JoinHandle},
};

use actix_rt::{Arbiter, ArbiterHandle, System};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Starts an actor on the thread it is called on.
pub type StartActor = Box<dyn FnOnce() + Send>;

/// Where actors run; a seam, so that a simulator can run them on its own thread.
pub trait Spawner: Send + Sync + 'static {
    /// Starts an actor on a lane: actors of one lane share a thread.
    fn start(&self, lane: usize, start: StartActor);

    /// Ends all lanes with their actors. Blocks until they are gone.
    fn stop(&self);
}

/// Runs actors on threads of their own, one arbiter each.
pub struct ArbiterSpawner {
    lanes: Vec<ArbiterHandle>,
    system: System,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ArbiterSpawner {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(lanes: usize) -> io::Result<Arc<Self>> {
        let (sender, receiver) = std_mpsc::sync_channel(1);
        // The actor system belongs to the thread that made it, which then only waits for its end.
        let thread = thread::Builder::new()
            .name("ringtail-actors".to_owned())
            .spawn(move || {
                let runner = System::new();
                let arbiters: Vec<Arbiter> = (0..lanes.max(1)).map(|_| Arbiter::new()).collect();
                let handles = arbiters.iter().map(Arbiter::handle).collect::<Vec<_>>();
                if sender.send((System::current(), handles)).is_err() {
                    return;
                }
                if let Err(error) = runner.run() {
                    tracing::error!(%error, "aggregate: the actor system failed");
                }
                for arbiter in arbiters {
                    arbiter.stop();
                    if arbiter.join().is_err() {
                        tracing::error!("aggregate: an arbiter's thread panicked");
                    }
                }
            })?;
        let (system, lanes) = receiver.recv().map_err(io::Error::other)?;
        Ok(Arc::new(Self {
            lanes,
            system,
            thread: Mutex::new(Some(thread)),
        }))
    }
}

impl Spawner for ArbiterSpawner {
    fn start(&self, lane: usize, start: StartActor) {
        let Some(arbiter) = self.lanes.get(lane % self.lanes.len().max(1)) else {
            return;
        };
        // A stopped arbiter drops the actor; whoever sends to it is told that its mailbox is closed.
        if !arbiter.spawn_fn(start) {
            tracing::debug!(lane, "aggregate: an actor came after the end");
        }
    }

    fn stop(&self) {
        self.system.stop();
        let thread = self.thread.lock().take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            tracing::error!("aggregate: the actor system's thread panicked");
        }
    }
}

impl Drop for ArbiterSpawner {
    /// Ends the threads without waiting: the last owner may be one of them.
    fn drop(&mut self) {
        self.system.stop();
    }
}

/// Runs all actors on the thread and local set that it was made on.
pub struct LocalSpawner {
    /// Not bounded: at most one message for each active site.
    sender: Mutex<Option<mpsc::UnboundedSender<StartActor>>>,
}

impl LocalSpawner {
    /// Runs actors on the current local set.
    ///
    /// # Panics
    /// Outside of a local set.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let (sender, mut receiver) = mpsc::unbounded_channel::<StartActor>();
        actix_rt::spawn(async move {
            while let Some(start) = receiver.recv().await {
                start();
            }
        });
        Arc::new(Self {
            sender: Mutex::new(Some(sender)),
        })
    }
}

impl Spawner for LocalSpawner {
    fn start(&self, _lane: usize, start: StartActor) {
        let sender = self.sender.lock();
        let is_gone = match sender.as_ref() {
            Some(sender) => sender.send(start).is_err(),
            None => true,
        };
        if is_gone {
            tracing::debug!("aggregate: an actor came after the end");
        }
    }

    fn stop(&self) {
        self.sender.lock().take();
    }
}
