//! Groups that end although nobody ended them.

use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;

use crate::error::RaftError;
use crate::group::Group;
use crate::raft_node::{Groups, find_group};

/// The first group of this node that ended by itself.
pub(crate) type Failure = Arc<watch::Sender<Option<RaftError>>>;

impl Group {
    /// Waits until the group runs no longer, and says why.
    async fn ended(&self) -> RaftError {
        let mut leadership = self.watch_leadership();
        while leadership.changed().await.is_some() {}
        let metrics = self.raft().metrics();
        let ended = metrics.borrow_watched().running_state.clone().err();
        match ended {
            Some(cause) => self.stopped(cause),
            None => self.stopped("its task has ended"),
        }
    }
}

/// Watches a group until it ends. One that was closed is in the table no more, and of a node that stops all end.
pub(crate) async fn watch(
    group: Group,
    groups: Arc<Groups>,
    is_stopping: watch::Receiver<bool>,
    failure: Failure,
) {
    let error = group.ended().await;
    let open = find_group(&groups, group.id());
    let is_open = open.is_some_and(|open| std::ptr::eq(open.raft(), group.raft()));
    if *is_stopping.borrow() || !is_open {
        return;
    }
    tracing::error!(group = %group.id(), %error, "a group has ended by itself");
    failure.send_if_modified(|known| {
        let is_first = known.is_none();
        known.get_or_insert(error);
        is_first
    });
}
