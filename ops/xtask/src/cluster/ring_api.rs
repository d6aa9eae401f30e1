//! `GET /api/v1/ring`, asked with as little HTTP as it takes.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longer than any answer on loopback.
const ANSWER_AFTER_MAX: Duration = Duration::from_secs(10);
/// A ring's description is far smaller.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The ring as a node knows it.
pub(super) async fn ring(address: &str, token: &str) -> anyhow::Result<Value> {
    let answer = timeout(ANSWER_AFTER_MAX, ask(address, token)).await??;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("an answer without a body")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 "), "{status}: {body}");
    Ok(serde_json::from_str(body)?)
}

/// HTTP/1.0: the body ends with the connection.
async fn ask(address: &str, token: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /api/v1/ring HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut answer)
        .await?;
    Ok(answer)
}

/// The first node's id.
const FOUNDER: u64 = 1;

/// Every group has so many voters and, as far as the first node can know, a leader, and nothing is on its way.
pub(super) fn is_settled(ring: &Value, members: usize, voters: usize) -> bool {
    let list = |name: &str| ring.get(name).and_then(Value::as_array);
    let (Some(nodes), Some(groups)) = (list("nodes"), list("groups")) else {
        return false;
    };
    let count = |group: &Value| group.get("voters").and_then(Value::as_array).map(Vec::len);
    let is_elsewhere = |group: &Value| {
        let hosts = group.get("hosts").and_then(Value::as_array);
        hosts.is_some_and(|hosts| !hosts.contains(&Value::from(FOUNDER)))
    };
    let is_done = ring.pointer("/plan/done") == Some(&Value::Bool(true));
    is_done
        && nodes.len() >= members
        && !groups.is_empty()
        && groups.iter().all(|group| {
            count(group) == Some(voters)
                && group.get("settled") == Some(&Value::Bool(true))
                && (is_elsewhere(group) || group.get("leader").is_some_and(Value::is_number))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ring_is_settled_when_every_group_has_its_voters_and_a_leader() {
        let ring = |voters: &[u64], leader: Option<u64>, done: bool| {
            json!({
                "nodes": [{"id": 1}, {"id": 2}, {"id": 3}],
                "groups": [{"group": 0, "voters": voters, "leader": leader, "settled": true}],
                "plan": {"done": done},
            })
        };
        assert!(is_settled(&ring(&[1, 2, 3], Some(1), true), 3, 3));
        assert!(!is_settled(&ring(&[1], Some(1), true), 3, 3));
        assert!(!is_settled(&ring(&[1, 2, 3], None, true), 3, 3));
        assert!(!is_settled(&ring(&[1, 2, 3], Some(1), false), 3, 3));
        assert!(!is_settled(&ring(&[1, 2, 3], Some(1), true), 4, 3));
        assert!(!is_settled(&json!({}), 1, 1));
        let mut elsewhere = ring(&[2, 3, 4], None, true);
        elsewhere["groups"][0]["hosts"] = json!([2, 3, 4]);
        assert!(is_settled(&elsewhere, 3, 3));
    }
}
