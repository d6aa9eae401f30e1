//! Who is let in, who is called, and who is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{collections::BTreeMap, net::TcpListener};

use ringtail_peers::{
    NodeCredentials, PeerIdentity, PeerInfo, PeerListener, PeerState, Peers, RingAuthority,
    admission_channel,
};
use ringtail_proto::NodeId;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};

const CLUSTER: u128 = 7;

fn identity(node: u64) -> PeerIdentity {
    PeerIdentity {
        cluster: CLUSTER,
        node: NodeId(node),
    }
}

/// Another handle on the same authority, as every node has one.
fn share(authority: &RingAuthority) -> RingAuthority {
    RingAuthority::from_der(authority.certificate().to_vec(), &authority.key()).unwrap()
}

/// Answers with the id of the caller.
struct WhoCalls;

#[tonic::async_trait]
impl Health for WhoCalls {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let node = ringtail_peers::caller(&request)?;
        let status = i32::try_from(node.0).unwrap();
        Ok(Response::new(HealthCheckResponse { status }))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // Open to whoever was let in.
        assert!(request.extensions().get::<PeerInfo>().is_some());
        Ok(Response::new(tokio_stream::empty()))
    }
}

struct Running {
    address: String,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn serve(credentials: &NodeCredentials) -> Running {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = PeerListener::start(socket, credentials).unwrap();
    let address = listener.address().to_string();
    let server = Server::builder().add_service(HealthServer::new(WhoCalls));
    let task = tokio::spawn(async move {
        server
            .serve_with_incoming(listener.into_stream())
            .await
            .unwrap();
    });
    Running { address, task }
}

fn knowing(credentials: &NodeCredentials, node: u64, address: &str) -> Peers {
    let peers = Peers::new(credentials).unwrap();
    let addresses = BTreeMap::from([(NodeId(node), address.to_owned())]);
    peers.set_addresses(&addresses).unwrap();
    peers
}

async fn who_am_i(peers: &Peers, node: u64) -> Result<i32, Status> {
    let channel = peers.channel(NodeId(node)).unwrap();
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await?;
    Ok(answer.into_inner().status)
}

#[tokio::test]
async fn nodes_of_a_ring_know_each_other_by_their_certificates() {
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let second = NodeCredentials::issue(identity(2), share(&authority)).unwrap();
    let first = NodeCredentials::issue(identity(1), authority).unwrap();
    let running = serve(&first);
    let peers = knowing(&second, 1, &running.address);
    assert_eq!(peers.state(NodeId(1)), PeerState::Unknown);
    assert_eq!(who_am_i(&peers, 1).await.unwrap(), 2);
    assert_eq!(peers.state(NodeId(1)), PeerState::Reached);
    assert!(peers.channel(NodeId(2)).is_none(), "nobody calls itself");
}

#[tokio::test]
async fn another_node_at_the_address_is_not_taken_for_the_one_that_was_called() {
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let caller = NodeCredentials::issue(identity(2), share(&authority)).unwrap();
    let first = NodeCredentials::issue(identity(1), authority).unwrap();
    let running = serve(&first);
    let peers = knowing(&caller, 3, &running.address);
    assert_eq!(
        who_am_i(&peers, 3).await.unwrap_err().code(),
        Code::Unavailable
    );
    assert_eq!(peers.state(NodeId(3)), PeerState::Unreachable);
}

#[tokio::test]
async fn a_node_of_another_ring_is_refused_by_both_ends() {
    let first = NodeCredentials::issue(identity(1), RingAuthority::create(CLUSTER).unwrap());
    let running = serve(&first.unwrap());
    let stranger = NodeCredentials::issue(identity(2), RingAuthority::create(CLUSTER).unwrap());
    let peers = knowing(&stranger.unwrap(), 1, &running.address);
    assert!(who_am_i(&peers, 1).await.is_err());
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let expired = NodeCredentials::issue_for(identity(2), share(&authority), -60).unwrap();
    let first = NodeCredentials::issue(identity(1), authority).unwrap();
    let running = serve(&first);
    let peers = knowing(&expired, 1, &running.address);
    assert!(who_am_i(&peers, 1).await.is_err());
    let healthy = NodeCredentials::issue(identity(3), share(first.authority())).unwrap();
    let expired_server = serve(&expired);
    let peers = knowing(&healthy, 2, &expired_server.address);
    assert!(who_am_i(&peers, 2).await.is_err());
}

#[tokio::test]
async fn a_joining_node_reaches_the_ring_of_its_token_and_no_service_for_members() {
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let fingerprint = authority.fingerprint();
    let first = NodeCredentials::issue(identity(1), authority).unwrap();
    let running = serve(&first);
    let channel = admission_channel(&running.address, fingerprint)
        .await
        .unwrap();
    let mut client = HealthClient::new(channel);
    client.watch(HealthCheckRequest::default()).await.unwrap();
    let refused = client
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let other = admission_channel(&running.address, [9; 32])
        .await
        .unwrap_err();
    assert!(other.to_string().contains("UnknownIssuer"), "{other}");
    let nobody = admission_channel("127.0.0.1:1", fingerprint)
        .await
        .unwrap_err();
    assert!(nobody.to_string().contains("127.0.0.1:1"), "{nobody}");
}

#[tokio::test]
async fn connections_end_with_their_listener() {
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let second = NodeCredentials::issue(identity(2), share(&authority)).unwrap();
    let running = serve(&NodeCredentials::issue(identity(1), authority).unwrap());
    let peers = knowing(&second, 1, &running.address);
    assert_eq!(who_am_i(&peers, 1).await.unwrap(), 2);
    drop(running);
    let refused = async {
        while peers.state(NodeId(1)) != PeerState::Unreachable {
            drop(who_am_i(&peers, 1).await);
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(10);
    tokio::time::timeout(patience, refused).await.unwrap();
    assert!(who_am_i(&peers, 1).await.is_err());
}

#[tokio::test]
async fn garbage_at_the_door_harms_nobody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let second = NodeCredentials::issue(identity(2), share(&authority)).unwrap();
    let running = serve(&NodeCredentials::issue(identity(1), authority).unwrap());
    let mut socket = tokio::net::TcpStream::connect(&running.address)
        .await
        .unwrap();
    socket.write_all(&[0x41; 4096]).await.unwrap();
    let mut rest = Vec::new();
    // The other end says that it does not understand, and hangs up.
    drop(socket.read_to_end(&mut rest).await);
    assert_eq!(
        who_am_i(&knowing(&second, 1, &running.address), 1)
            .await
            .unwrap(),
        2
    );
}

#[test]
fn credentials_survive_their_files_and_are_renewed_in_time() {
    let directory = tempfile::tempdir().unwrap();
    assert!(
        NodeCredentials::load(directory.path(), identity(1))
            .unwrap()
            .is_none()
    );
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let made = NodeCredentials::issue(identity(1), share(&authority)).unwrap();
    made.save(directory.path()).unwrap();
    let certificate = std::fs::read(directory.path().join("node.der")).unwrap();
    let loaded = NodeCredentials::load(directory.path(), identity(1))
        .unwrap()
        .unwrap();
    assert_eq!(loaded.authority().fingerprint(), authority.fingerprint());
    assert_eq!(
        std::fs::read(directory.path().join("node.der")).unwrap(),
        certificate
    );
    let old = NodeCredentials::issue_for(identity(1), authority, 60).unwrap();
    old.save(directory.path()).unwrap();
    let old = std::fs::read(directory.path().join("node.der")).unwrap();
    NodeCredentials::load(directory.path(), identity(1))
        .unwrap()
        .unwrap();
    assert_ne!(
        std::fs::read(directory.path().join("node.der")).unwrap(),
        old
    );
    assert!(
        NodeCredentials::load(directory.path(), identity(2)).is_err(),
        "another node's"
    );
    std::fs::write(directory.path().join("authority.key"), b"junk").unwrap();
    assert!(NodeCredentials::load(directory.path(), identity(1)).is_err());
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let made = NodeCredentials::issue(identity(1), authority).unwrap();
    made.save(directory.path()).unwrap();
    for name in ["authority.key", "node.key"] {
        let file = std::fs::metadata(directory.path().join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn silent_connections_keep_no_node_out() {
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let second = NodeCredentials::issue(identity(2), share(&authority)).unwrap();
    let running = serve(&NodeCredentials::issue(identity(1), authority).unwrap());
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(
            tokio::net::TcpStream::connect(&running.address)
                .await
                .unwrap(),
        );
    }
    assert_eq!(
        who_am_i(&knowing(&second, 1, &running.address), 1)
            .await
            .unwrap(),
        2
    );
    // The oldest of them have given way.
    let mut rest = Vec::new();
    let oldest = silent.first_mut().unwrap();
    drop(tokio::io::AsyncReadExt::read_to_end(oldest, &mut rest).await);
    assert!(rest.is_empty());
}

#[tokio::test]
async fn only_so_many_strangers_are_connected_at_once() {
    let authority = RingAuthority::create(CLUSTER).unwrap();
    let fingerprint = authority.fingerprint();
    let second = NodeCredentials::issue(identity(2), share(&authority)).unwrap();
    let running = serve(&NodeCredentials::issue(identity(1), authority).unwrap());
    let mut connected = Vec::new();
    for _ in 0..40 {
        let Ok(channel) = admission_channel(&running.address, fingerprint).await else {
            continue;
        };
        let mut client = HealthClient::new(channel);
        if client.watch(HealthCheckRequest::default()).await.is_ok() {
            connected.push(client);
        }
    }
    assert_eq!(connected.len(), 16);
    assert_eq!(
        who_am_i(&knowing(&second, 1, &running.address), 1)
            .await
            .unwrap(),
        2
    );
}
