//! Where work that blocks runs: a seam, so that a simulator's virtual time never overtakes it.

use std::cell::Cell;

use tokio::task::JoinHandle;

thread_local! {
    static IS_INLINE: Cell<bool> = const { Cell::new(false) };
}

/// From now on work that blocks, and is started on this thread, runs on it as well. For simulators: their runtimes have
/// this one thread, and the order of their steps is part of what a seed repeats.
pub fn block_inline_on_this_thread() {
    IS_INLINE.set(true);
}

/// Runs work that blocks away from the tasks, on a thread for such work. It runs to its end, whoever waits for it.
#[expect(clippy::disallowed_methods, reason = "this is what is used instead")]
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    match IS_INLINE.get() {
        true => tokio::spawn(async move { work() }),
        false => tokio::task::spawn_blocking(work),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn only_where_it_was_asked_for_work_stays_on_the_thread() {
        let run = |is_inline: bool| {
            let runs = move || {
                if is_inline {
                    block_inline_on_this_thread();
                }
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                let runtime = runtime.expect("a runtime");
                let worker =
                    runtime.block_on(async { spawn_blocking(|| thread::current().id()).await });
                worker.expect("it ends") == thread::current().id()
            };
            thread::spawn(runs).join().expect("it ends")
        };
        assert!(run(true));
        assert!(!run(false));
    }
}
