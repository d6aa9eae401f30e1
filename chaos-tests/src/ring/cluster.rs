//! The nodes of a ring: born, joined, asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    GRPC_PORT, HTTP_PORT, PEER_PORT, network::Network, proxies::Proxies, sandbox::Sandbox,
    volume::Volume,
};
use crate::{
    process::{Node, NodeOptions},
    ring_client::RingClient,
    workload::Endpoint,
};

/// Between two looks at something that takes its time.
pub(super) const LOOK: Duration = Duration::from_millis(100);
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
    client: RingClient,
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
            Sandbox::Namespaces { .. } => Network::bridge()?,
            Sandbox::Loopback => Network::Proxied(Proxies::new()),
        };
        let nodes = options.nodes;
        let mut ring = Self {
            options,
            network,
            volumes: BTreeMap::new(),
            members: BTreeMap::new(),
            cuts: BTreeSet::new(),
            client: RingClient::new()?,
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
        self.client.token()
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
            let is_own = self.options.sandbox.has_disks();
            let volume = Volume::make(&self.options.folder, slot, is_own)?;
            self.volumes.insert(slot, volume);
        }
        // A token is good once; later starts need none.
        let options = self.node_options(slot)?;
        let mut client = self.client.clone();
        let node = client.join(options.clone(), &self.up()).await?;
        self.client = client;
        let id = self.id_of(&node).await?;
        let member = Member {
            id,
            options,
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
            // Logs wait for seals, and seals come often, so that faults meet them.
            ("RINGTAIL_ARCHIVE".to_owned(), "own".to_owned()),
            (
                "RINGTAIL_ARCHIVE_SEAL_SECONDS_MAX".to_owned(),
                "2".to_owned(),
            ),
            (
                "RINGTAIL_CHECKPOINT_DIRTY_SECONDS_MAX".to_owned(),
                "2".to_owned(),
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

    /// The nodes that are up.
    fn up(&self) -> Vec<&Node> {
        let members = self.members.values();
        members.filter_map(|member| member.node.as_ref()).collect()
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
        self.client.ask(node, method, path, body).await
    }

    /// Asks one node after the other until one does what it is asked.
    pub(super) async fn admin(
        &self,
        method: Method,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        self.client.ask_any(&self.up(), method, path, body).await
    }

    /// Waits until every node that is up knows of a ring without work left, and every group has its voters and a leader.
    pub(super) async fn until_settled(&self) -> anyhow::Result<()> {
        let members = self.members.len();
        self.client.until_settled(&self.up(), members).await
    }

    /// The slot of the node that leads the metadata, and with it decides about the ring; the first one, if nobody knows.
    pub(super) async fn leader(&self) -> anyhow::Result<u8> {
        for node in self.up() {
            let Ok(ring) = self.client.document(node).await else {
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
