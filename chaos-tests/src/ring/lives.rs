//! How nodes of a ring end and come back.

use anyhow::Context;
use futures::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::cluster::{LOOK, Ring};
use crate::{process::Node, ring_client::SETTLED_AFTER_MAX};

impl Ring {
    /// SIGKILL.
    pub(super) async fn kill(&mut self, slot: u8) -> anyhow::Result<()> {
        let node = self.take(slot)?;
        node.kill().await.map(drop)
    }

    /// SIGKILL of all nodes that are up; what holds one of them up in its death is let go when all are hit.
    pub(super) async fn kill_all<T: Send>(&mut self, held: T) -> anyhow::Result<()> {
        let mut killed = Vec::new();
        for slot in self.slots() {
            killed.push(self.take(slot)?.begin_kill()?);
        }
        drop(held);
        for node in killed {
            node.gone().await?;
        }
        Ok(())
    }

    /// SIGTERM, and the drain that follows.
    pub(super) async fn terminate(&mut self, slot: u8) -> anyhow::Result<()> {
        let node = self.take(slot)?;
        node.terminate().await.map(drop)
    }

    /// From now on clients are not sent there.
    fn take(&mut self, slot: u8) -> anyhow::Result<Node> {
        let member = self.members.get_mut(&slot);
        let node = member.and_then(|member| member.node.take());
        self.publish();
        node.with_context(|| format!("the node at slot {slot} is down already"))
    }

    /// Starts nodes that are down, all at once: alone none of them may have a majority.
    pub(super) async fn start(&mut self, slots: &[u8]) -> anyhow::Result<()> {
        let mut starting = Vec::new();
        for slot in slots.iter().copied() {
            let options = self.member(slot)?.options.clone();
            starting.push(async move {
                let node = Node::start(options).await;
                let node = node.with_context(|| format!("the node at slot {slot}"))?;
                anyhow::Ok((slot, node))
            });
        }
        for (slot, node) in try_join_all(starting).await? {
            self.is_up(slot, node);
        }
        Ok(())
    }

    /// Everything that is down is up again.
    pub(super) async fn start_all(&mut self) -> anyhow::Result<()> {
        let down = self
            .members
            .iter()
            .filter(|(_, member)| member.node.is_none());
        let down: Vec<u8> = down.map(|(slot, _)| *slot).collect();
        self.start(&down).await
    }

    /// One after the other is stopped in order and started again, each when the ring is whole.
    pub(super) async fn roll(&mut self) -> anyhow::Result<()> {
        for slot in self.slots() {
            self.terminate(slot).await?;
            self.start(&[slot]).await?;
            self.until_settled().await?;
        }
        Ok(())
    }

    /// Moves everything away from a node and waits until that is done.
    pub(super) async fn drain(&mut self, slot: u8) -> anyhow::Result<()> {
        let id = self.member(slot)?.id;
        let path = format!("/api/v1/ring/nodes/{id}/drain");
        self.admin(Method::POST, &path, json!({})).await?;
        let started = Instant::now();
        loop {
            let ring = self.admin(Method::GET, "/api/v1/ring", Value::Null).await?;
            if is_empty(&ring, id) {
                return Ok(());
            }
            anyhow::ensure!(
                started.elapsed() < SETTLED_AFTER_MAX,
                "node {id} is not drained: {ring}"
            );
            sleep(LOOK).await;
        }
    }

    /// Takes a node that is down out of the ring.
    pub(super) async fn remove(&mut self, id: u64, is_forced: bool) -> anyhow::Result<()> {
        let path = format!("/api/v1/ring/nodes/{id}/remove?force={is_forced}");
        self.admin(Method::POST, &path, json!({})).await?;
        self.members.retain(|_, member| member.id != id);
        Ok(())
    }

    /// The end of nodes that ended by themselves.
    pub(super) fn ended(&mut self) -> anyhow::Result<Vec<String>> {
        let mut ended = Vec::new();
        for member in self.members.values_mut() {
            let id = member.id;
            let how = member.node.as_mut().map(Node::ended).transpose()?.flatten();
            ended.extend(how.map(|how| format!("node {id} ended by itself with {how}")));
        }
        Ok(ended)
    }
}

fn is_empty(ring: &Value, id: u64) -> bool {
    let nodes = ring.get("nodes").and_then(Value::as_array);
    let mut nodes = nodes.into_iter().flatten();
    let node = nodes.find(|node| node.get("id").and_then(Value::as_u64) == Some(id));
    let left = |name: &str| node.and_then(|node| node.get(name)?.as_u64());
    left("replicas") == Some(0) && left("leads") == Some(0)
}
