//! Bytes that no client and no node would send, on every port: refused, counted, and nobody else notices.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use reqwest::{Method, StatusCode};
use ringtail_peers::{
    NodeCredentials, PeerIdentity, Peers, RingAuthority, admission_channel, connect_raw,
};
use ringtail_proto::{
    NodeId,
    wire::peer::{
        self, events_client::EventsClient, joining_client::JoiningClient, raft_client::RaftClient,
        ring_client::RingClient,
    },
};
use serde_json::json;
use support::{
    Node,
    ring::{LOOK, PATIENCE, SITE, send, until_counted},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tonic::{Code, transport::Channel};

/// More than a message of any service may have.
const TOO_MUCH_BYTES: usize = 72 << 20;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that follow from a number.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Says something and waits until the other end hangs up.
async fn say(mut to: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8], what: &str) {
    let said = async {
        // The other end may hang up in the middle of it.
        drop(to.write_all(bytes).await);
        drop(to.shutdown().await);
        drop(to.read_to_end(&mut Vec::new()).await);
    };
    let ended = timeout(PATIENCE, said).await;
    assert!(ended.is_ok(), "{what}: the node listens for ever");
}

/// The ring of one that a node is, as a second node of it would know it.
struct Insider {
    cluster: u128,
    authority: RingAuthority,
    address: String,
}

impl Insider {
    fn of(node: &Node) -> Self {
        let identity = fs::read(node.path("node.id")).unwrap();
        let identity: serde_json::Value = serde_json::from_slice(&identity).unwrap();
        let cluster: uuid::Uuid = identity["cluster"].as_str().unwrap().parse().unwrap();
        Self {
            cluster: cluster.as_u128(),
            authority: authority_in(&node.path("tls")),
            address: node.peer.clone(),
        }
    }

    fn second(&self) -> PeerIdentity {
        PeerIdentity {
            cluster: self.cluster,
            node: NodeId(2),
        }
    }

    fn authority(&self) -> RingAuthority {
        let certificate = self.authority.certificate().to_vec();
        RingAuthority::from_der(certificate, &self.authority.key()).unwrap()
    }

    fn credentials(&self) -> NodeCredentials {
        NodeCredentials::issue(self.second(), self.authority()).unwrap()
    }

    fn channel(&self, credentials: &NodeCredentials) -> Channel {
        let peers = Peers::new(credentials).unwrap();
        let addresses = BTreeMap::from([(NodeId(1), self.address.clone())]);
        peers.set_addresses(&addresses).unwrap();
        peers.channel(NodeId(1)).unwrap()
    }
}

fn authority_in(tls: &Path) -> RingAuthority {
    let read = |name: &str| fs::read(tls.join(name)).unwrap();
    RingAuthority::from_der(read("authority.der"), &read("authority.key")).unwrap()
}

/// What the node has counted under this name.
async fn counted(node: &Node, name: &str) -> u64 {
    let (status, metrics) = node.send(Method::GET, "/metrics", None, "").await;
    assert_eq!(status, StatusCode::OK);
    let line = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    metrics
        .as_str()
        .unwrap()
        .lines()
        .find_map(line)
        .unwrap_or(0)
}

async fn until_refused(node: &Node, connections: u64) {
    let begin = Instant::now();
    loop {
        let refused = counted(node, "ringtail_replicate_connections_refused_total ").await;
        if refused >= connections {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{refused} of {connections}");
        sleep(LOOK).await;
    }
}

async fn is_well(node: &Node, events: u64) {
    let token = node.token();
    let (status, _) = node.send(Method::GET, "/health/ready", None, "").await;
    assert_eq!(status, StatusCode::OK);
    send(node, &token, events - 1).await;
    until_counted(node, &token, events).await;
}

async fn started() -> Node {
    let node = Node::start();
    let site = json!({"domain": SITE});
    node.admin(Method::POST, "/api/v1/sites", site).await;
    node
}

#[tokio::test]
async fn noise_on_every_port_is_refused_and_harms_nobody() {
    let node = started().await;
    let bare = |url: &str| url.trim_start_matches("http://").to_owned();
    let ports = [bare(&node.http), bare(&node.grpc), node.peer.clone()];
    for seed in 0..24 {
        for (port, address) in ports.iter().enumerate() {
            let length = 1 << (seed % 16);
            let mut bytes = noise(seed, length);
            if seed % 3 == 1 {
                bytes = [PREFACE, &bytes].concat();
            }
            let connection = TcpStream::connect(address).await.unwrap();
            say(connection, &bytes, &format!("port {port}, seed {seed}")).await;
        }
    }
    until_refused(&node, 24).await;
    is_well(&node, 1).await;
}

#[tokio::test]
async fn a_peer_that_talks_nonsense_is_hung_up_on() {
    let node = started().await;
    let insider = Insider::of(&node);
    let credentials = insider.credentials();
    for seed in 0..24 {
        let bytes = noise(seed, 1 << (seed % 16));
        let bytes = match seed % 2 {
            0 => bytes,
            _ => [PREFACE, &bytes].concat(),
        };
        let connection = connect_raw(&credentials, NodeId(1), &insider.address);
        let connection = connection.await.unwrap();
        say(connection, &bytes, &format!("inside TLS, seed {seed}")).await;
    }
    let channel = insider.channel(&credentials);
    let mut ring = RingClient::new(channel.clone());
    ring.read_index(peer::ReadIndexRequest {}).await.unwrap();
    let junk = peer::ProposeRequest {
        entry: noise(1, 1_000).into(),
    };
    let refused = ring.propose(junk).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    is_well(&node, 1).await;
}

#[tokio::test]
async fn messages_over_their_limit_are_refused() {
    let node = started().await;
    let insider = Insider::of(&node);
    let channel = insider.channel(&insider.credentials());
    let too_much = bytes::Bytes::from(vec![0; TOO_MUCH_BYTES]);
    let refused = |status: tonic::Status| {
        let code = status.code();
        // The message says so, or the node hangs up in the middle of it.
        let expect = [
            Code::OutOfRange,
            Code::ResourceExhausted,
            Code::Unknown,
            Code::Internal,
            Code::Unavailable,
        ];
        assert!(expect.contains(&code), "{status}");
    };
    let mut ring = RingClient::new(channel.clone());
    let entry = too_much.clone();
    refused(
        ring.propose(peer::ProposeRequest { entry })
            .await
            .unwrap_err(),
    );
    let mut events = EventsClient::new(channel.clone());
    let kept = peer::KeepSpooledRequest {
        owner: 2,
        file: 1,
        content: too_much.clone(),
    };
    refused(events.keep_spooled(kept).await.unwrap_err());
    let entry = peer::LogEntry {
        body: too_much,
        ..peer::LogEntry::default()
    };
    let append = peer::Append {
        entries: vec![entry],
        ..peer::Append::default()
    };
    let frame = peer::AppendFrame {
        is_backed: false,
        group: 1,
        append: Some(append),
        ..peer::AppendFrame::default()
    };
    let frames = peer::AppendFrames {
        frames: vec![frame],
    };
    let mut raft = RaftClient::new(channel);
    // The stream ends without an answer to it.
    if let Ok(answers) = raft.replicate(tokio_stream::iter([frames])).await {
        let answer = answers.into_inner().message().await;
        assert!(matches!(answer, Ok(None) | Err(_)), "{answer:?}");
    }
    let fingerprint = insider.authority.fingerprint();
    let stranger = admission_channel(&insider.address, fingerprint).await;
    let long = peer::JoinRequest {
        zone: "z".repeat(9 << 10),
        ..peer::JoinRequest::default()
    };
    let mut joining = JoiningClient::new(stranger.unwrap());
    refused(joining.join(long).await.unwrap_err());
    is_well(&node, 1).await;
}

#[tokio::test]
async fn certificates_that_are_no_good_are_refused_with_a_clear_line() {
    let (node, stderr) = Node::start_logged();
    let insider = Insider::of(&node);
    let calls = async |credentials: &NodeCredentials| {
        let mut ring = RingClient::new(insider.channel(credentials));
        ring.read_index(peer::ReadIndexRequest {}).await
    };
    calls(&insider.credentials()).await.unwrap();
    let expired = NodeCredentials::issue_for(insider.second(), insider.authority(), -60);
    calls(&expired.unwrap()).await.unwrap_err();

    // One that trusts the ring, with a certificate of another authority in the same name.
    let mixed = tempfile::tempdir().unwrap();
    let foreign = RingAuthority::create(insider.cluster).unwrap();
    let foreign = NodeCredentials::issue(insider.second(), foreign).unwrap();
    foreign.save(mixed.path()).unwrap();
    for name in ["authority.der", "authority.key"] {
        fs::copy(node.path("tls").join(name), mixed.path().join(name)).unwrap();
    }
    let mixed = NodeCredentials::load(mixed.path(), insider.second()).unwrap();
    calls(&mixed.unwrap()).await.unwrap_err();

    // One of this authority, in the name of another ring.
    let elsewhere = PeerIdentity {
        cluster: insider.cluster + 1,
        node: NodeId(2),
    };
    let elsewhere = NodeCredentials::issue(elsewhere, insider.authority()).unwrap();
    calls(&elsewhere).await.unwrap_err();

    until_refused(&node, 2).await;
    let said = fs::read_to_string(stderr.path()).unwrap();
    for expect in ["certificate expired", "BadSignature"] {
        assert!(said.contains(expect), "{expect} is missing in: {said}");
    }
    calls(&insider.credentials()).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_grows_old_is_renewed_by_a_restart() {
    let node = Node::start();
    let (tls, insider) = (node.path("tls"), Insider::of(&node));
    let first = PeerIdentity {
        node: NodeId(1),
        ..insider.second()
    };
    let data = node.kill();
    let tls = data.path().join(tls.file_name().unwrap());
    let old = NodeCredentials::issue_for(first, insider.authority(), 3_600).unwrap();
    old.save(&tls).unwrap();
    let before = fs::read(tls.join("node.der")).unwrap();
    let node = Node::start_in(data, &[]);
    assert_ne!(fs::read(tls.join("node.der")).unwrap(), before);
    let expires = counted(&node, "ringtail_replicate_certificate_expires_seconds ").await;
    assert!(expires as i64 > old.expires_unix_seconds() + 300 * 86_400);
    let insider = Insider::of(&node);
    let mut ring = RingClient::new(insider.channel(&insider.credentials()));
    ring.read_index(peer::ReadIndexRequest {}).await.unwrap();
}
