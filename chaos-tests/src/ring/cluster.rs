//! The nodes of a ring: born, joined, asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

use super::{
    GRPC_PORT, HTTP_PORT, PEER_PORT, network::Network, proxies::Proxies, sandbox::Sandbox,
    volume::Volume,
};
use crate::{
    process::{Node, NodeOptions},
    workload::Endpoint,
};

/// Longer than any forming or mending of a ring, also on a machine that is busy with other things.
pub(super) const SETTLED_AFTER_MAX: Duration = Duration::from_secs(180);
/// Between two looks at something that takes its time.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// An answer of the administrator's interface that takes longer is none, also on a machine that is busy.
const ANSWER_AFTER_MAX: Duration = Duration::from_secs(30);
/// What nodes keep free on their disks.
pub(super) const RESERVE_BYTES: u64 = 64 << 20;

/// How a ring is made.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Where.
    pub sandbox: Sandbox,
    /// Nodes at the beginning and at the end of each round.
    pub nodes: u8,
    /// Partition groups.
    pub partitions: u32,
    /// The binary.
    pub binary: PathBuf,
    /// More environment of every node.
    pub environment: Vec<(String, String)>,
    /// For disks and what nodes say.
    pub folder: PathBuf,
}

/// A place for a node, and the node that is there now.
#[derive(Debug)]
pub(super) struct Member {
    /// The node's id in the ring.
    pub(super) id: u64,
    pub(super) options: NodeOptions,
    /// None while it is down.
    pub(super) node: Option<Node>,
    /// Counted over all nodes.
    pub(super) life: u32,
}

/// Several nodes, and the way to them.
#[derive(Debug)]
pub struct Ring {
    options: RingOptions,
    pub(super) network: Network,
    pub(super) volumes: BTreeMap<u8, Volume>,
    pub(super) members: BTreeMap<u8, Member>,
    /// What cannot be ended may not be waited for: pairs that are cut now.
    pub(super) cuts: BTreeSet<(u8, u8)>,
    token: String,
    http: reqwest::Client,
    endpoints: watch::Sender<Vec<Endpoint>>,
    pub(super) lives: u32,
}

impl Ring {
    /// Starts the nodes and waits until every group has its replicas.
    ///
    /// # Errors
    /// When a node does not start or the ring does not settle.
    pub async fn birth(options: RingOptions) -> anyhow::Result<Self> {
        let network = match options.sandbox {
            Sandbox::Namespaces => Network::bridge()?,
            Sandbox::Loopback => Network::Proxied(Proxies::new()),
        };
        let nodes = options.nodes;
        let mut ring = Self {
            options,
            network,
            volumes: BTreeMap::new(),
            members: BTreeMap::new(),
            cuts: BTreeSet::new(),
            token: String::new(),
            http: reqwest::Client::builder()
                .timeout(ANSWER_AFTER_MAX)
                .no_proxy()
                .build()?,
            endpoints: watch::channel(Vec::new()).0,
            lives: 0,
        };
        for slot in 1..=nodes {
            ring.join(slot).await?;
        }
        ring.until_settled().await?;
        Ok(ring)
    }

    /// The nodes that are up, as they change.
    pub(super) fn endpoints(&self) -> watch::Receiver<Vec<Endpoint>> {
        self.endpoints.subscribe()
    }

    /// The administrator's token.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Nodes that belong to the ring, up or down.
    pub(super) fn slots(&self) -> Vec<u8> {
        self.members.keys().copied().collect()
    }

    /// A slot that no node has.
    pub(super) fn free_slot(&self) -> u8 {
        let mut slots = 1..=u8::MAX;
        slots
            .find(|slot| !self.members.contains_key(slot))
            .unwrap_or(u8::MAX)
    }

    pub(super) fn member(&self, slot: u8) -> anyhow::Result<&Member> {
        let member = self.members.get(&slot);
        member.with_context(|| format!("no node at slot {slot}"))
    }

    pub(super) fn node(&self, slot: u8) -> anyhow::Result<&Node> {
        let node = self.member(slot)?.node.as_ref();
        node.with_context(|| format!("the node at slot {slot} is down"))
    }

    /// Starts a node with an empty disk: the first one makes the ring, the others join it.
    pub(super) async fn join(&mut self, slot: u8) -> anyhow::Result<()> {
        if !self.volumes.contains_key(&slot) {
            self.network.add(slot).await?;
            let is_own = self.options.sandbox == Sandbox::Namespaces;
            let volume = Volume::make(&self.options.folder, slot, is_own)?;
            self.volumes.insert(slot, volume);
        }
        let mut options = self.node_options(slot)?;
        if !self.members.is_empty() {
            let token = self
                .admin(Method::POST, "/api/v1/ring/tokens", json!({}))
                .await?;
            let token = token.get("token").and_then(Value::as_str);
            let peer = self.any_up()?.peer.clone();
            let token = token.context("a token has a text")?.to_owned();
            options
                .arguments
                .extend(["--join".to_owned(), peer, "--token".to_owned(), token]);
        }
        let node = Node::start(options.clone()).await?;
        if self.token.is_empty() {
            self.token = node.admin_token()?;
        }
        let id = self.id_of(&node).await?;
        let member = Member {
            id,
            // A token is good once; later starts need none.
            options: self.node_options(slot)?,
            node: None,
            life: 0,
        };
        self.members.insert(slot, member);
        self.is_up(slot, node);
        Ok(())
    }

    fn node_options(&self, slot: u8) -> anyhow::Result<NodeOptions> {
        let address = self.network.address(slot);
        let volume = self.volumes.get(&slot).context("a slot has a volume")?;
        let mut arguments = Vec::new();
        for (flag, port) in [
            ("--http", HTTP_PORT),
            ("--grpc", GRPC_PORT),
            ("--peer", PEER_PORT),
        ] {
            arguments.extend([flag.to_owned(), format!("{address}:{port}")]);
        }
        let mut environment = vec![
            (
                "RINGTAIL_PARTITIONS".to_owned(),
                self.options.partitions.to_string(),
            ),
            (
                "RINGTAIL_DISK_RESERVE_BYTES".to_owned(),
                RESERVE_BYTES.to_string(),
            ),
        ];
        if let Some(advertised) = self.network.advertised(slot) {
            environment.push(("RINGTAIL_PEER_ADVERTISED".to_owned(), advertised));
        }
        environment.extend(self.options.environment.iter().cloned());
        Ok(NodeOptions {
            binary: self.options.binary.clone(),
            data_dir: volume.data(),
            arguments,
            environment,
            launcher: self.network.launcher(slot),
            stderr: Some(self.options.folder.join(format!("node{slot}.stderr"))),
        })
    }

    /// From now on clients are sent there, too.
    pub(super) fn is_up(&mut self, slot: u8, node: Node) {
        self.lives += 1;
        let life = self.lives;
        if let Some(member) = self.members.get_mut(&slot) {
            member.node = Some(node);
            member.life = life;
        }
        self.publish();
    }

    /// Tells the clients which nodes are up.
    pub(super) fn publish(&self) {
        let up = self.members.values().filter_map(|member| {
            let node = member.node.as_ref()?;
            Some(Endpoint {
                http: node.http.clone(),
                grpc: node.grpc.clone(),
                life: member.life,
            })
        });
        self.endpoints.send_replace(up.collect());
    }

    fn any_up(&self) -> anyhow::Result<&Node> {
        let mut up = self
            .members
            .values()
            .filter_map(|member| member.node.as_ref());
        up.next().context("no node is up")
    }

    async fn id_of(&self, node: &Node) -> anyhow::Result<u64> {
        let status = self
            .ask(node, Method::GET, "/api/v1/status", Value::Null)
            .await?;
        let id = status.pointer("/node/id").and_then(Value::as_u64);
        id.with_context(|| format!("no id in {status}"))
    }

    /// Asks one node's administration.
    pub(super) async fn ask(
        &self,
        node: &Node,
        method: Method,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", node.http))
            .bearer_auth(&self.token);
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
    pub(super) async fn admin(
        &self,
        method: Method,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            let mut last = None;
            for node in self
                .members
                .values()
                .filter_map(|member| member.node.as_ref())
            {
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
    pub(super) async fn document(&self, node: &Node) -> anyhow::Result<Value> {
        self.ask(node, Method::GET, "/api/v1/ring", Value::Null)
            .await
    }

    /// Waits until every node that is up knows of a ring without work left, and every group has its voters and a leader.
    pub(super) async fn until_settled(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let members = self.members.len();
        let voters = members.min(3).div_ceil(2) * 2 - 1;
        for member in self.members.values() {
            let Some(node) = &member.node else { continue };
            loop {
                let ring = self.document(node).await;
                match ring {
                    Ok(ring) if is_settled(&ring, member.id, voters) => break,
                    Ok(ring) if started.elapsed() > SETTLED_AFTER_MAX => {
                        bail!("node {} sees a ring that is not settled: {ring}", member.id)
                    }
                    Err(error) if started.elapsed() > SETTLED_AFTER_MAX => return Err(error),
                    _ => sleep(LOOK).await,
                }
            }
        }
        Ok(())
    }

    /// The slot of the node that leads the metadata, and with it decides about the ring; the first one, if nobody knows.
    pub(super) async fn leader(&self) -> anyhow::Result<u8> {
        for node in self
            .members
            .values()
            .filter_map(|member| member.node.as_ref())
        {
            let Ok(ring) = self.document(node).await else {
                continue;
            };
            let leader = ring.pointer("/groups/0/leader").and_then(Value::as_u64);
            let mut found = self.members.iter();
            if let Some((slot, _)) = found.find(|(_, member)| Some(member.id) == leader) {
                return Ok(*slot);
            }
        }
        self.slots().first().copied().context("a ring has nodes")
    }
}

/// Whether this is how a node sees a ring without work left; a node knows the leaders of groups that it has a replica of.
fn is_settled(ring: &Value, node: u64, voters: usize) -> bool {
    let groups = ring.get("groups").and_then(Value::as_array);
    let nodes = |group: &Value, name: &str| group.get(name).and_then(Value::as_array).cloned();
    let count = |group: &Value| nodes(group, "voters").map(|voters| voters.len());
    let has_replica = |group: &Value| {
        let hosts = nodes(group, "hosts");
        hosts.is_some_and(|hosts| hosts.contains(&Value::from(node)))
    };
    ring.pointer("/plan/done") == Some(&Value::Bool(true))
        && groups.is_some_and(|groups| {
            groups.iter().all(|group| {
                count(group) == Some(voters)
                    && group.get("settled") == Some(&Value::Bool(true))
                    && (!has_replica(group) || group.get("leader").is_some_and(Value::is_number))
            })
        })
}
