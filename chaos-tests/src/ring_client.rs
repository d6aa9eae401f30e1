//! A ring of real processes as its administrator sees it: nodes join by token and are asked until they are one ring.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::process::{Node, NodeOptions};

/// Longer than any forming or mending of a ring, also on a machine that is busy with other things.
pub(crate) const SETTLED_AFTER_MAX: Duration = Duration::from_secs(180);
/// An answer of the administrator's interface that takes longer is none, also on a machine that is busy.
const ANSWER_AFTER_MAX: Duration = Duration::from_secs(30);
/// Between two looks at something that takes its time.
const LOOK: Duration = Duration::from_millis(50);

/// A client with all rights; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct RingClient {
    http: reqwest::Client,
    token: String,
}

impl RingClient {
    /// A client of a ring that is yet to be made.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(ANSWER_AFTER_MAX)
            .no_proxy()
            .build()?;
        let token = String::new();
        Ok(Self { http, token })
    }

    /// The connections.
    pub(crate) const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The administrator's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Starts a node without data: the first one makes the ring, others join it through a node that is up.
    pub(crate) async fn join(
        &mut self,
        mut options: NodeOptions,
        up: &[&Node],
    ) -> anyhow::Result<Node> {
        if let Some(member) = up.first() {
            let path = "/api/v1/ring/tokens";
            let made = self.ask_any(up, Method::POST, path, json!({})).await?;
            let token = made.get("token").and_then(Value::as_str);
            let token = token.with_context(|| format!("no token in {made}"))?;
            let join = ["--join", &member.peer, "--token", token];
            options.arguments.extend(join.map(str::to_owned));
        }
        let node = Node::start(options).await?;
        if self.token.is_empty() {
            self.token = node.admin_token()?;
        }
        Ok(node)
    }

    /// Asks one node's administration.
    pub(crate) async fn ask(
        &self,
        node: &Node,
        method: Method,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let url = format!("http://{}{path}", node.http);
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{path} is answered {status}: {text}");
        serde_json::from_str(&text).context(text)
    }

    /// Asks one node after the other until one does what it is asked.
    pub(crate) async fn ask_any(
        &self,
        up: &[&Node],
        method: Method,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            let mut last = None;
            for node in up {
                match self.ask(node, method.clone(), path, body.clone()).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => last = Some(error),
                }
            }
            if started.elapsed() > SETTLED_AFTER_MAX {
                return Err(last.unwrap_or_else(|| anyhow::anyhow!("no node is up")));
            }
            sleep(LOOK).await;
        }
    }

    /// The ring as a node knows it.
    pub(crate) async fn document(&self, node: &Node) -> anyhow::Result<Value> {
        self.ask(node, Method::GET, "/api/v1/ring", Value::Null)
            .await
    }

    /// Waits until each of the nodes knows of a ring of so many members without work left, and of voters and a leader of
    /// every group.
    pub(crate) async fn until_settled(&self, up: &[&Node], members: usize) -> anyhow::Result<()> {
        let started = Instant::now();
        for node in up {
            loop {
                match self.document(node).await {
                    Ok(ring) if is_settled(&ring, members) => break,
                    Ok(ring) if started.elapsed() > SETTLED_AFTER_MAX => {
                        bail!("the node at {} sees no settled ring: {ring}", node.http)
                    }
                    Err(error) if started.elapsed() > SETTLED_AFTER_MAX => return Err(error),
                    _ => sleep(LOOK).await,
                }
            }
        }
        Ok(())
    }
}

/// Whether this is how a node sees a ring without work left.
fn is_settled(ring: &Value, members: usize) -> bool {
    // The largest odd number of replicas for which there are nodes, three at most.
    let voters = members.min(3).div_ceil(2) * 2 - 1;
    let is_whole = |group: &Value| {
        let found = group.get("voters").and_then(Value::as_array);
        found.map(Vec::len) == Some(voters)
            && group.get("settled") == Some(&Value::Bool(true))
            && group.get("leader").is_some_and(Value::is_number)
    };
    let groups = ring.get("groups").and_then(Value::as_array);
    ring.pointer("/plan/done") == Some(&Value::Bool(true))
        && groups.is_some_and(|groups| !groups.is_empty() && groups.iter().all(is_whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_settled_when_all_groups_have_their_voters_and_a_leader() {
        let check = |voters: &[u64], leader: Option<u64>, is_done: bool, expect: bool| {
            let ring = json!({
                "groups": [{"group": 1, "voters": voters, "leader": leader, "settled": true}],
                "plan": {"done": is_done},
            });
            assert_eq!(is_settled(&ring, 4), expect, "{ring}");
        };
        check(&[1, 2, 3], Some(2), true, true);
        check(&[1, 2, 3], None, true, false);
        check(&[1, 2], Some(2), true, false);
        check(&[1, 2, 3], Some(2), false, false);
        assert!(!is_settled(&json!({}), 3));
        let of_one = json!({
            "groups": [{"group": 1, "voters": [1], "leader": 1, "settled": true}],
            "plan": {"done": true},
        });
        assert!(is_settled(&of_one, 2) && !is_settled(&of_one, 3));
    }
}
