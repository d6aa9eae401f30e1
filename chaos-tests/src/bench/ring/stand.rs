//! A ring to measure: fresh nodes on loopback that joined by token, without the limits that are there for the public.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use reqwest::Method;
use ringtail_proto::SiteId;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    bench::probe,
    client::Client,
    process::{Node, NodeOptions},
    ring_client::RingClient,
};

/// Sites added at the same time.
const ADDING_MAX: usize = 128;
/// Between two looks at something that takes its time.
const LOOK: Duration = Duration::from_millis(20);
/// Whatever is awaited comes sooner or not at all.
const WAITING_MAX: Duration = Duration::from_secs(180);
/// Work left over from a load uses more than this part of one core.
const REST_CORES: f64 = 0.12;
/// Over this long the rest is measured.
const REST: Duration = Duration::from_millis(500);

/// A place for a node: fixed addresses and a folder.
struct Seat {
    options: NodeOptions,
    /// None while it is down.
    node: Option<Node>,
}

/// Some nodes that are one ring, and a client with all rights.
pub(super) struct RingStand {
    pub(super) folder: TempDir,
    pub(super) partitions: u64,
    client: RingClient,
    queries: Client,
    seats: Vec<Seat>,
}

impl RingStand {
    /// Starts the nodes with fresh data in the current folder's file system, where a server's data would lie, and waits
    /// until each group has its replicas.
    pub(super) async fn start(nodes: usize, partitions: u64) -> anyhow::Result<Self> {
        Self::start_in(vec![None; nodes], partitions).await
    }

    /// The same with the data of each node where it is said.
    pub(super) async fn start_in(
        data: Vec<Option<PathBuf>>,
        partitions: u64,
    ) -> anyhow::Result<Self> {
        let mut ring = Self {
            folder: tempfile::tempdir_in(".")?,
            partitions,
            client: RingClient::new()?,
            queries: Client::new()?,
            seats: Vec::new(),
        };
        for data in data {
            ring.join(data).await?;
        }
        ring.until_settled().await?;
        Ok(ring)
    }

    /// One more node, with its data there.
    pub(super) async fn join(&mut self, data: Option<PathBuf>) -> anyhow::Result<()> {
        let seat = self.seats.len();
        let usual = || self.folder.path().join(format!("node{}", seat + 1));
        let options = self.options(data.unwrap_or_else(usual))?;
        let mut client = self.client.clone();
        let node = client.join(options.clone(), &self.nodes()).await?;
        self.client = client;
        self.seats.push(Seat {
            options,
            node: Some(node),
        });
        Ok(())
    }

    fn options(&self, data: PathBuf) -> anyhow::Result<NodeOptions> {
        let mut options = NodeOptions::new(data)?;
        // Clients look for a node where they knew it, also after a restart.
        for flag in ["--http", "--grpc", "--peer"] {
            let address = free_address()?;
            options.arguments.extend([flag.to_owned(), address]);
        }
        let unlimited = u32::MAX.to_string();
        options.environment.extend([
            (
                "RINGTAIL_SITE_EVENTS_PER_SECOND_MAX".to_owned(),
                unlimited.clone(),
            ),
            (
                "RINGTAIL_ADDRESS_EVENTS_PER_SECOND_MAX".to_owned(),
                unlimited,
            ),
            (
                "RINGTAIL_PARTITIONS".to_owned(),
                self.partitions.to_string(),
            ),
        ]);
        Ok(options)
    }

    fn seat(&self, seat: usize) -> anyhow::Result<&Seat> {
        self.seats.get(seat).context("no such seat")
    }

    /// The node at a seat.
    pub(super) fn node(&self, seat: usize) -> anyhow::Result<&Node> {
        let node = self.seat(seat)?.node.as_ref();
        node.with_context(|| format!("node {} is down", seat + 1))
    }

    /// The nodes that are up.
    fn nodes(&self) -> Vec<&Node> {
        let seats = self.seats.iter();
        seats.filter_map(|seat| seat.node.as_ref()).collect()
    }

    /// The administrator's token.
    pub(super) fn token(&self) -> &str {
        self.client.token()
    }

    /// Connections for whoever measures.
    pub(super) const fn http(&self) -> &reqwest::Client {
        self.client.http()
    }

    /// Seats of the nodes that are up.
    pub(super) fn up(&self) -> Vec<usize> {
        let seats = self.seats.iter().enumerate();
        seats
            .filter(|(_, seat)| seat.node.is_some())
            .map(|(number, _)| number)
            .collect()
    }

    /// Addresses of HTTP of all nodes, up or down.
    pub(super) fn http_addresses(&self) -> Vec<String> {
        self.addresses("--http")
    }

    /// Addresses of gRPC of all nodes, up or down.
    pub(super) fn grpc_addresses(&self) -> Vec<String> {
        self.addresses("--grpc")
    }

    fn addresses(&self, flag: &str) -> Vec<String> {
        let of = |seat: &Seat| {
            let mut arguments = seat.options.arguments.iter();
            arguments.find(|argument| *argument == flag)?;
            arguments.next().cloned()
        };
        self.seats.iter().filter_map(of).collect()
    }

    /// Asks one node's administration.
    pub(super) async fn ask(
        &self,
        seat: usize,
        method: Method,
        path: &str,
        body: Value,
    ) -> anyhow::Result<Value> {
        let node = self.node(seat)?;
        self.client.ask(node, method, path, body).await
    }

    /// The ring as a node knows it.
    pub(super) async fn document(&self, seat: usize) -> anyhow::Result<Value> {
        self.client.document(self.node(seat)?).await
    }

    /// Adds sites through the administration interface; each with the group that it lies in.
    pub(super) async fn add_sites(
        &self,
        domains: &[String],
    ) -> anyhow::Result<BTreeMap<String, u64>> {
        let adding = domains.iter().map(|domain| async move {
            let body = json!({ "domain": domain, "timezone": "UTC" });
            let site = self.ask(0, Method::POST, "/api/v1/sites", body).await?;
            let slot = SiteId(text(&site, "/id")?.parse()?).slot();
            anyhow::Ok((domain.clone(), u64::from(slot.0) % self.partitions + 1))
        });
        let added = stream::iter(adding).buffer_unordered(ADDING_MAX);
        let groups = added.try_collect().await?;
        self.until_sites_known(domains.len()).await?;
        Ok(groups)
    }

    /// A site of which another node has not heard yet is unknown there, and its events are dropped.
    async fn until_sites_known(&self, sites: usize) -> anyhow::Result<()> {
        for seat in self.up() {
            let started = Instant::now();
            loop {
                let known = self
                    .ask(seat, Method::GET, "/api/v1/sites", Value::Null)
                    .await?;
                let known = known.get("sites").and_then(Value::as_array).map(Vec::len);
                if known.is_some_and(|known| known >= sites) {
                    break;
                }
                ensure!(
                    started.elapsed() < WAITING_MAX,
                    "node {} knows {known:?} of {sites} sites",
                    seat + 1
                );
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Waits until each node that is up knows of a ring without work left, with voters and a leader for each group.
    pub(super) async fn until_settled(&self) -> anyhow::Result<()> {
        let members = self.seats.len();
        self.client.until_settled(&self.nodes(), members).await
    }

    /// The seat of the node that leads most groups, as the first node that is up knows it, and how many it leads.
    pub(super) async fn leads_most(&self) -> anyhow::Result<(usize, u64)> {
        let asked = *self.up().first().context("a node is up")?;
        let ring = self.document(asked).await?;
        let nodes = ring.get("nodes").and_then(Value::as_array);
        let addresses = self.http_addresses();
        let led = nodes.into_iter().flatten().filter_map(|node| {
            let http = node.get("http")?.as_str()?;
            let seat = addresses.iter().position(|address| address == http)?;
            Some((node.get("leads")?.as_u64()?, seat))
        });
        let (groups, seat) = led.max().context("the ring has nodes")?;
        Ok((seat, groups))
    }

    /// Processor time of each node that is up, by seat.
    pub(super) fn processor_times(&self) -> anyhow::Result<Vec<Duration>> {
        let up = self.up().into_iter();
        up.map(|seat| probe::processor_time(self.node(seat)?.pid()?))
            .collect()
    }

    /// Waits until no node works any more: everything is applied, everywhere.
    pub(super) async fn until_at_rest(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let before: Duration = self.processor_times()?.iter().sum();
            sleep(REST).await;
            let used = self.processor_times()?.iter().sum::<Duration>() - before;
            if used.as_secs_f64() < REST_CORES * REST.as_secs_f64() {
                return Ok(());
            }
            ensure!(started.elapsed() < WAITING_MAX, "the ring finds no rest");
        }
    }

    /// Waits until a node counts so many events of a site.
    pub(super) async fn until_counted(
        &self,
        seat: usize,
        domain: &str,
        events: u64,
    ) -> anyhow::Result<()> {
        let query = json!({ "site_id": domain, "date_range": "all", "metrics": ["events"] });
        let started = Instant::now();
        loop {
            let http = &self.node(seat)?.http;
            let answer = self.queries.query(http, self.token(), &query).await;
            let counted = answer.as_ref().ok().and_then(|answer| {
                let number = answer.pointer("/results/0/metrics/0");
                number.and_then(Value::as_u64)
            });
            if counted == Some(events) {
                return Ok(());
            }
            let is_possible = counted.is_none_or(|counted| counted < events);
            ensure!(
                is_possible && started.elapsed() < WAITING_MAX,
                "node {} counts {counted:?} of {events} events of {domain}: {:?}",
                seat + 1,
                answer.err()
            );
            sleep(LOOK).await;
        }
    }

    fn take(&mut self, seat: usize) -> anyhow::Result<Node> {
        let taken = self.seats.get_mut(seat).and_then(|seat| seat.node.take());
        taken.with_context(|| format!("node {} is down", seat + 1))
    }

    /// SIGKILL; the moment just before.
    pub(super) async fn kill(&mut self, seat: usize) -> anyhow::Result<Instant> {
        let node = self.take(seat)?;
        let moment = Instant::now();
        node.kill().await?;
        Ok(moment)
    }

    /// SIGTERM, and the end that follows.
    pub(super) async fn terminate(&mut self, seat: usize) -> anyhow::Result<()> {
        self.take(seat)?.terminate().await.map(drop)
    }

    /// Starts a node that was down on its data.
    pub(super) async fn start_again(&mut self, seat: usize) -> anyhow::Result<()> {
        self.start_all_again(&[seat]).await
    }

    /// Starts nodes that were down, at once: alone none of them may have a majority.
    pub(super) async fn start_all_again(&mut self, seats: &[usize]) -> anyhow::Result<()> {
        let options = seats
            .iter()
            .map(|seat| Ok(self.seat(*seat)?.options.clone()));
        let options: Vec<NodeOptions> = options.collect::<anyhow::Result<_>>()?;
        let nodes = try_join_all(options.into_iter().map(Node::start)).await?;
        for (seat, node) in seats.iter().zip(nodes) {
            if let Some(seat) = self.seats.get_mut(*seat) {
                seat.node = Some(node);
            }
        }
        Ok(())
    }

    /// Ends the nodes and removes their data.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        for seat in self.up() {
            // What they would do on a stop is measured elsewhere.
            self.kill(seat).await?;
        }
        self.folder
            .close()
            .context("the folder of the measurement cannot be removed")
    }
}

fn text(document: &Value, pointer: &str) -> anyhow::Result<String> {
    let text = document.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned)
        .with_context(|| format!("no {pointer} in {document}"))
}

fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
