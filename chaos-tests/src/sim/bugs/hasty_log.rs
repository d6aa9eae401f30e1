//! Acknowledges entries before it proposes them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use ringtail_proto::UnixMillis;
use ringtail_router::{Proposed, RaftLog, ReplicatedLog, RouteError};
use tokio::{task::JoinHandle, time::sleep};

/// How long an acknowledged entry stays unwritten.
const WRITE_DELAY: Duration = Duration::from_millis(50);

pub(crate) struct HastyLog(Arc<RaftLog>);

impl HastyLog {
    pub(crate) fn new(log: RaftLog) -> Self {
        Self(Arc::new(log))
    }
}

impl ReplicatedLog for HastyLog {
    fn propose(&self, entry: Bytes) -> BoxFuture<'static, Result<Box<dyn Proposed>, RouteError>> {
        let log = Arc::clone(&self.0);
        let written = tokio::spawn(async move {
            sleep(WRITE_DELAY).await;
            log.propose(entry).await
        });
        async move { Ok(Box::new(HastyEntry(written)) as Box<dyn Proposed>) }.boxed()
    }

    fn stamp(&self) -> UnixMillis {
        self.0.stamp()
    }
}

struct HastyEntry(JoinHandle<Result<Box<dyn Proposed>, RouteError>>);

impl Proposed for HastyEntry {
    fn committed(&mut self) -> BoxFuture<'_, Result<(), RouteError>> {
        async { Ok(()) }.boxed()
    }

    fn applied(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, RouteError>> {
        async move {
            let written = self.0.await.map_err(|_| RouteError::Stopping)?;
            written?.applied().await
        }
        .boxed()
    }
}
