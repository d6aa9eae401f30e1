//! The gRPC interface on a real server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use ringtail_gateway::CollectorService;
use ringtail_proto::wire::v1::{CollectRequest, Event, Revenue, collector_client::CollectorClient};
use support::{BROWSER, World};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request,
    transport::{Channel, Server},
};

async fn start(world: &World) -> (CollectorClient<Channel>, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::builder().add_service(CollectorService::server(world.gateway.clone()));
    tokio::spawn(
        server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            drop(stopped.await)
        }),
    );
    (
        CollectorClient::connect(format!("http://{address}"))
            .await
            .unwrap(),
        stop,
    )
}

fn view(visitor: &str) -> Event {
    Event {
        name: "pageview".into(),
        url: "https://example.com/".into(),
        visitor: visitor.into(),
        user_agent: BROWSER.into(),
        ip: "8.8.8.8".into(),
        ..Event::default()
    }
}

fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

#[tokio::test]
async fn events_that_wait_for_a_quorum_are_pending() {
    let world = World::new();
    world
        .sink
        .is_spooling
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let (mut client, stop) = start(&world).await;
    let request = CollectRequest {
        site: "example.com".into(),
        events: vec![view("a"), view("b")],
        sequence: 7,
    };
    let answer = client
        .collect(with_key(request.clone(), "writer"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.accepted, answer.duplicate, answer.pending),
        (0, 0, 2)
    );
    let stream = tokio_stream::iter([request]);
    let acks = client.collect_stream(with_key(stream, "writer")).await;
    let ack = acks.unwrap().into_inner().message().await.unwrap().unwrap();
    assert_eq!((ack.sequence, ack.durable, ack.is_pending), (7, 2, true));
    drop(stop);
}

#[tokio::test]
async fn a_batch_is_counted_and_its_drops_are_named() {
    let world = World::new();
    let (mut client, stop) = start(&world).await;
    let revenue = |amount: &str| {
        Some(Revenue {
            amount: amount.into(),
            currency: "EUR".into(),
        })
    };
    let events = vec![
        Event {
            revenue: revenue("12.50"),
            ..view("a")
        },
        Event {
            revenue: revenue("much"),
            ..view("b")
        },
        Event {
            id: vec![1, 2, 3],
            ..view("c")
        },
        Event {
            time_unix_ms: i64::MIN,
            ..view("d")
        },
        Event {
            ip: "nowhere".into(),
            ..view("e")
        },
    ];
    let request = CollectRequest {
        site: "example.com".into(),
        events,
        sequence: 7,
    };
    let answer = client
        .collect(with_key(request, "writer"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.accepted, answer.duplicate, answer.pending),
        (1, 0, 0)
    );
    let dropped: Vec<_> = answer
        .dropped
        .iter()
        .map(|drop| (drop.position, drop.reason.as_str()))
        .collect();
    assert_eq!(
        dropped,
        [
            (1, "malformed"),
            (2, "malformed"),
            (3, "absurd_time"),
            (4, "malformed")
        ]
    );
    let event = world.sink.only();
    assert_eq!(
        (
            event.place.country.as_str(),
            event.revenue.unwrap().amount_micros
        ),
        ("US", 12_500_000)
    );
    drop(stop);
}

#[tokio::test]
async fn a_wrong_key_or_site_is_refused() {
    let world = World::new();
    let (mut client, stop) = start(&world).await;
    let request = |site: &str| CollectRequest {
        site: site.into(),
        events: vec![view("a")],
        sequence: 1,
    };
    let code = |answer: Result<_, tonic::Status>| {
        answer.map(|_: tonic::Response<_>| ()).unwrap_err().code()
    };
    assert_eq!(
        code(
            client
                .collect(with_key(request("example.com"), "wrong"))
                .await
        ),
        Code::Unauthenticated
    );
    assert_eq!(
        code(
            client
                .collect(with_key(request("example.com"), "writer-2"))
                .await
        ),
        Code::PermissionDenied
    );
    assert_eq!(
        code(client.collect(request("nobody.example")).await),
        Code::NotFound
    );
    assert_eq!(world.sink.count(), 0);
    drop(stop);
}

#[tokio::test]
async fn a_stream_acknowledges_each_batch_by_its_sequence() {
    let world = World::with(|settings| settings.stream_batches_max = 4);
    let (mut client, stop) = start(&world).await;
    let requests = (0..100_u64).map(|sequence| CollectRequest {
        site: if sequence == 50 {
            "nobody.example".into()
        } else {
            "example.com".into()
        },
        events: vec![view("a"), view("b")],
        sequence,
    });
    let requests: Vec<_> = requests.collect();
    let answers = client
        .collect_stream(with_key(tokio_stream::iter(requests), "writer"))
        .await
        .unwrap();
    let mut answers = answers.into_inner();
    let mut durable = vec![None; 100];
    while let Some(ack) = answers.message().await.unwrap() {
        let failure = ack.failure.map(|failure| failure.kind);
        assert!(
            durable[ack.sequence as usize]
                .replace((ack.durable, failure))
                .is_none()
        );
    }
    for (sequence, answer) in durable.into_iter().enumerate() {
        let expect = if sequence == 50 {
            (0, Some("not_found".to_owned()))
        } else {
            (2, None)
        };
        assert_eq!(answer, Some(expect), "{sequence}");
    }
    assert_eq!(world.sink.count(), 198);
    drop(stop);
}

#[tokio::test]
async fn an_open_stream_ends_after_its_last_acknowledgement_when_the_node_stops() {
    let world = World::new();
    let (mut client, stop) = start(&world).await;
    let (requests, outgoing) = tokio::sync::mpsc::channel(4);
    let request = CollectRequest {
        site: "example.com".into(),
        events: vec![view("a")],
        sequence: 1,
    };
    requests.send(request).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let answers = client.collect_stream(with_key(stream, "writer")).await;
    let mut answers = answers.unwrap().into_inner();
    let ack = answers.message().await.unwrap().unwrap();
    assert_eq!((ack.sequence, ack.durable), (1, 1));
    world.gateway.close_streams();
    // The client's side is still open.
    assert_eq!(answers.message().await.unwrap(), None);
    drop((requests, stop));
}
