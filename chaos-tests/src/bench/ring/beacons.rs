//! What a steady load consists of: single beacons of browsers, and batches of servers.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use ringtail_proto::wire::v1::{CollectRequest, collector_client::CollectorClient};
use serde_json::{Value, json};
use tonic::{Request, transport::Channel};
use uuid::Uuid;

use super::paced::Door;
use crate::{bench::load::Batches, client::USER_AGENT};

/// Far from the seeds of other loads, so that no event has the id of another.
const SEED: u64 = 1 << 32;

/// Single beacons over HTTP, with ids, as the tracker sends them.
pub(super) struct BeaconDoor {
    pub(super) http: reqwest::Client,
    pub(super) nodes: Vec<String>,
    pub(super) domains: Vec<String>,
}

impl Door for BeaconDoor {
    type Parcel = Value;

    fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn parcel(&self, number: u64) -> Value {
        let site = number as usize % self.domains.len();
        let domain = self.domains.get(site).map_or("", String::as_str);
        let url = format!("https://{domain}/page/{}", number % 200);
        json!({ "n": "pageview", "u": url, "d": domain, "id": Uuid::new_v4().to_string() })
    }

    async fn offer(&self, node: usize, beacon: &Value) -> anyhow::Result<()> {
        let http = self.nodes.get(node).context("no such node")?;
        let request = self.http.post(format!("http://{http}/api/event"));
        let request = request.header("user-agent", USER_AGENT).json(beacon);
        let status = request.send().await?.status();
        ensure!(status.as_u16() == 202, "{status}");
        Ok(())
    }
}

/// Batches over gRPC, one call each.
pub(super) struct BatchDoor {
    nodes: Vec<CollectorClient<Channel>>,
    token: String,
    domains: Vec<String>,
    batch: usize,
}

impl BatchDoor {
    pub(super) fn new(
        nodes: &[String],
        token: &str,
        domains: Vec<String>,
        batch: usize,
    ) -> anyhow::Result<Self> {
        let clients = nodes.iter().map(|grpc| {
            let endpoint = Channel::from_shared(format!("http://{grpc}"))?;
            anyhow::Ok(CollectorClient::new(endpoint.connect_lazy()))
        });
        Ok(Self {
            nodes: clients.collect::<anyhow::Result<_>>()?,
            token: token.to_owned(),
            domains,
            batch,
        })
    }

    /// What each site has to count when the first `requests` were taken.
    pub(super) fn expected(&self, requests: u64) -> BTreeMap<String, u64> {
        let mut expected = BTreeMap::new();
        for number in 0..requests {
            *expected.entry(self.domain(number)).or_default() += self.batch as u64;
        }
        expected
    }

    fn domain(&self, number: u64) -> String {
        let site = number as usize % self.domains.len();
        self.domains.get(site).cloned().unwrap_or_default()
    }
}

impl Door for BatchDoor {
    type Parcel = CollectRequest;

    fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn parcel(&self, number: u64) -> CollectRequest {
        Batches::new(SEED + number).next(&self.domain(number), self.batch)
    }

    async fn offer(&self, node: usize, batch: &CollectRequest) -> anyhow::Result<()> {
        let mut client = self.nodes.get(node).context("no such node")?.clone();
        let mut request = Request::new(batch.clone());
        let bearer = format!("Bearer {}", self.token).parse()?;
        request.metadata_mut().insert("authorization", bearer);
        let answer = client.collect(request).await?.into_inner();
        ensure!(
            answer.dropped.is_empty(),
            "dropped: {:?}",
            answer.dropped.first()
        );
        Ok(())
    }
}
