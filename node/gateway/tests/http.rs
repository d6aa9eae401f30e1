//! The HTTP interfaces on a real server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{io::Write, net::SocketAddr, time::Duration};

use actix_web::{App, HttpServer, dev::ServerHandle, web};
use flate2::{Compression, write::GzEncoder};
use reqwest::{Client, Response, header::HeaderMap};
use ringtail_gateway::{PIXEL, Rate, configure};
use ringtail_proto::{DropReason, ErrorKind};
use serde_json::{Value, json};
use support::{BROWSER, World};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

struct Node {
    world: World,
    address: SocketAddr,
    server: ServerHandle,
    client: Client,
}

impl Node {
    fn start(world: World) -> Self {
        let gateway = web::Data::from(world.gateway.clone());
        let server = HttpServer::new(move || {
            App::new().configure(|config| configure(config, gateway.clone()))
        })
        .workers(1)
        .client_disconnect_timeout(Duration::from_millis(100))
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0];
        let running = server.run();
        let handle = running.handle();
        actix_web::rt::spawn(running);
        let client = Client::builder()
            .no_proxy()
            .user_agent(BROWSER)
            .build()
            .unwrap();
        Self {
            world,
            address,
            server: handle,
            client,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn beacon(&self, body: impl Into<reqwest::Body>) -> Response {
        self.client
            .post(self.url("/api/event"))
            .header("content-type", "text/plain")
            .body(body)
            .send()
            .await
            .unwrap()
    }

    async fn events(&self, key: Option<&str>, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let mut request = self.client.post(self.url("/api/v1/events")).body(body);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    async fn stop(self) -> World {
        self.server.stop(false).await;
        self.world
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn view(domain: &str) -> String {
    json!({"d": domain, "n": "pageview", "u": "https://example.com/shop?utm_source=google&utm_medium=cpc"}).to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[actix_web::test]
async fn a_beacon_is_answered_when_it_is_durable() {
    let node = Node::start(World::new());
    let response = node.beacon(view("example.com")).await;
    assert_eq!(response.status(), 202);
    assert_eq!(header(response.headers(), "x-plausible-dropped"), "0");
    assert_eq!(
        header(response.headers(), "access-control-allow-origin"),
        "*"
    );
    assert_eq!(response.text().await.unwrap(), "ok");
    let world = node.stop().await;
    let event = world.sink.only();
    assert_eq!(
        (event.page.as_str(), event.hostname.as_str()),
        ("/shop", "example.com")
    );
    assert_eq!(
        (
            event.acquisition.source.as_str(),
            event.acquisition.channel.as_str()
        ),
        ("Google", "Paid Search")
    );
    assert_eq!(event.client.browser.as_str(), "Firefox");
    assert_eq!(*world.sink.waits.lock().unwrap(), ["committed"]);
}

#[actix_web::test]
async fn drops_are_answered_202_with_their_number() {
    let node = Node::start(World::new());
    for (domain, dropped, sent) in [
        ("nobody.example", "1", 0),
        ("paused.example", "1", 0),
        ("strict.example", "1", 1),
        ("example.com, other.example,nobody.example", "1", 3),
    ] {
        let response = node.beacon(view(domain)).await;
        assert_eq!(response.status(), 202);
        assert_eq!(
            header(response.headers(), "x-plausible-dropped"),
            dropped,
            "{domain}"
        );
        assert_eq!(node.world.sink.count(), sent, "{domain}");
    }
    let robot = node
        .client
        .post(node.url("/api/event"))
        .header("user-agent", "curl/8.5.0")
        .body(view("example.com"));
    let response = robot.send().await.unwrap();
    assert_eq!(header(response.headers(), "x-plausible-dropped"), "1");
    let world = node.stop().await;
    let events = world.sink.events.lock().unwrap();
    assert_eq!(events.last().unwrap().1.dropped, Some(DropReason::Bot));
}

#[actix_web::test]
async fn bad_beacons_are_refused_with_a_reason() {
    let node = Node::start(World::with(|settings| {
        settings.event_body_bytes_max = 10_000
    }));
    let check = async |body: Vec<u8>, encoding: &'static str, status: u16, expect: &str| {
        let request = node
            .client
            .post(node.url("/api/event"))
            .header("content-encoding", encoding)
            .body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{expect}");
        assert_eq!(
            header(response.headers(), "access-control-allow-origin"),
            "*"
        );
        let text = response.text().await.unwrap();
        assert!(
            text.starts_with("{\"errors\":{") && text.contains(expect),
            "{text}"
        );
    };
    check(b"{".to_vec(), "", 400, "EOF while parsing").await;
    check(b"\xff\xfe".to_vec(), "", 400, "not UTF-8 from byte 0 on").await;
    check(
        br#"{"d":"example.com","n":"x","u":"/path"}"#.to_vec(),
        "",
        400,
        "\"url\":[\"is not an address",
    )
    .await;
    check(br#"{"d":1}"#.to_vec(), "", 400, "expected a text").await;
    check(
        br#"{"d":"example.com","n":"x"}"#.to_vec(),
        "",
        400,
        "\"url\":[\"is required\"]",
    )
    .await;
    check(vec![b' '; 10_001], "", 413, "larger than 10000 bytes").await;
    check(
        gzip(&vec![b' '; 1_000_000]),
        "gzip",
        413,
        "larger than 10000 bytes",
    )
    .await;
    check(b"not gzip".to_vec(), "gzip", 400, "not gzip").await;
    check(view("example.com").into_bytes(), "br", 400, "only gzip").await;
    let response = node
        .client
        .post(node.url("/api/event"))
        .header("content-encoding", "gzip")
        .body(gzip(view("example.com").as_bytes()));
    assert_eq!(response.send().await.unwrap().status(), 202);
    assert_eq!(node.stop().await.sink.count(), 1);
}

#[actix_web::test]
async fn an_endless_body_is_cut_off_and_a_body_that_stalls_is_given_up() {
    let node = Node::start(World::with(|settings| {
        settings.event_body_bytes_max = 100_000;
        settings.body_read_ms_max = 200;
    }));
    let head = "POST /api/event HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let (mut answers, mut endless) = TcpStream::connect(node.address).await.unwrap().into_split();
    endless.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 50_000, " ".repeat(50_000));
    let sending = async { while endless.write_all(chunk.as_bytes()).await.is_ok() {} };
    let mut answer = vec![0; 12];
    let reading = async { answers.read_exact(&mut answer).await.unwrap() };
    let both = async { tokio::join!(sending, reading) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("the node went on reading");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
    let mut stalled = TcpStream::connect(node.address).await.unwrap();
    stalled.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stalled.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    assert_eq!(node.stop().await.sink.count(), 0);
}

#[actix_web::test]
async fn a_batch_is_answered_when_it_is_counted_with_the_reason_of_each_drop() {
    let node = Node::start(World::new());
    let event = |name: &str, url: &str| json!({"name": name, "url": url});
    let body = json!({"site": "example.com", "events": [
        event("pageview", "https://example.com/"),
        event(&"n".repeat(121), "https://example.com/"),
        event("pageview", "nonsense"),
        {"name": 1},
        {"name": "pageview", "url": "https://example.com/", "time": "1970-01-01T00:00:00Z"},
    ]});
    let (status, answer) = node.events(None, body.to_string()).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({"accepted": 1, "duplicate": 0, "pending": 0,
            "dropped": [{"position": 1, "reason": "too_long"}, {"position": 2, "reason": "malformed"},
                {"position": 3, "reason": "malformed"}, {"position": 4, "reason": "absurd_time"}],
            "dropped_by_reason": {"absurd_time": 1, "malformed": 2, "too_long": 1}})
    );
    assert_eq!(*node.world.sink.waits.lock().unwrap(), ["applied"]);
    let empty = node
        .events(None, r#"{"site":"example.com","events":[]}"#)
        .await;
    assert_eq!((empty.0, &empty.1["accepted"]), (200, &json!(0)));
    node.stop().await;
}

#[actix_web::test]
async fn a_batch_is_refused_as_a_whole_with_the_kind_of_error() {
    let node = Node::start(World::with(|settings| settings.batch_events_max = 3));
    let body = |site: &str, events: usize| {
        let event = json!({"name": "pageview", "url": "https://example.com/", "visitor": "v", "ip": "8.8.8.8"});
        json!({"site": site, "events": vec![event; events]}).to_string()
    };
    let check = async |key: Option<&str>, body: String, status: u16, kind: &str| {
        let (found, answer) = node.events(key, body).await;
        assert_eq!(
            (found, answer["kind"].as_str().unwrap()),
            (status, kind),
            "{answer}"
        );
        assert!(
            answer["error"]
                .as_str()
                .is_some_and(|error| !error.is_empty())
        );
    };
    check(None, "[".into(), 400, "invalid_request").await;
    check(
        None,
        r#"{"site":"example.com"}"#.into(),
        400,
        "invalid_request",
    )
    .await;
    check(
        None,
        r#"{"site":"example.com","events":{}}"#.into(),
        400,
        "invalid_request",
    )
    .await;
    check(None, body("example.com", 4), 413, "too_large").await;
    check(None, body("nobody.example", 1), 404, "not_found").await;
    check(
        Some("wrong"),
        body("example.com", 1),
        401,
        "unauthenticated",
    )
    .await;
    check(Some("reader"), body("example.com", 1), 403, "forbidden").await;
    check(Some("writer-2"), body("example.com", 1), 403, "forbidden").await;
    for (kind, status) in [
        (ErrorKind::Overloaded, 503),
        (ErrorKind::StorageFull, 503),
        (ErrorKind::InDoubt, 503),
    ] {
        *node.world.sink.refusal.lock().unwrap() = Some(kind);
        check(None, body("example.com", 1), status, kind.name()).await;
    }
    *node.world.sink.refusal.lock().unwrap() = None;
    let (status, answer) = node.events(Some("writer"), body("example.com", 1)).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)));
    // Without a quorum the event waits on disk, which is as good a receipt.
    let is_spooling = &node.world.sink.is_spooling;
    is_spooling.store(true, std::sync::atomic::Ordering::Relaxed);
    let (status, answer) = node.events(Some("writer"), body("example.com", 2)).await;
    assert_eq!((status, &answer["pending"]), (202, &json!(2)));
    assert_eq!(answer["accepted"], json!(0));
    node.world.sink.events.lock().unwrap().truncate(1);
    let world = node.stop().await;
    assert_eq!(world.sink.only().place.country.as_str(), "US");
}

#[actix_web::test]
async fn over_the_rate_is_429_with_the_time_to_wait() {
    let node = Node::start(World::with(|settings| {
        settings.address_rate = Rate {
            events: 1,
            period_ms: 10_000,
            burst_events: 2,
        };
        settings.site_rate = Rate {
            events: 1,
            period_ms: 10_000,
            burst_events: 3,
        };
        settings.trusted_proxies = "127.0.0.0/8".parse().unwrap();
    }));
    let from = async |addresses: &str| {
        // A trusted proxy adds to the list; another one adds a header.
        let request = addresses
            .split(' ')
            .fold(node.client.post(node.url("/api/event")), |request, list| {
                request.header("x-forwarded-for", list)
            });
        let response = request.body(view("example.com")).send().await.unwrap();
        (
            response.status().as_u16(),
            header(response.headers(), "retry-after").to_owned(),
        )
    };
    assert_eq!(from("192.0.2.1").await, (202, String::new()));
    assert_eq!(from("192.0.2.1").await, (202, String::new()));
    assert_eq!(from("192.0.2.1 127.0.0.2").await, (429, "11".to_owned()));
    assert_eq!(from("192.0.2.2").await, (202, String::new()));
    // Another address is welcome, but the site has had its share.
    assert_eq!(from("192.0.2.3").await.0, 429);
    assert_eq!(node.stop().await.sink.count(), 3);
}

#[actix_web::test]
async fn a_pixel_is_always_answered_with_the_image() {
    let node = Node::start(World::new());
    for query in [
        "?d=example.com&u=https%3A%2F%2Fexample.com%2Fmail",
        "?d=example.com",
        "?d=nobody.example",
        "",
        "?%ff=%00",
    ] {
        let request = node.client.get(node.url(&format!("/pixel.gif{query}")));
        let response = request
            .header("referer", "https://example.com/article")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{query}");
        assert_eq!(header(response.headers(), "content-type"), "image/gif");
        assert!(header(response.headers(), "cache-control").contains("no-store"));
        let image = response.bytes().await.unwrap();
        assert_eq!((image.len(), image.as_ref()), (43, PIXEL.as_slice()));
    }
    let world = node.stop().await;
    let pages: Vec<_> = world
        .sink
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|(_, event)| event.page.to_string())
        .collect();
    assert_eq!(pages, ["/mail", "/article"]);
}

#[actix_web::test]
async fn any_page_may_send_after_a_preflight_that_lasts() {
    let node = Node::start(World::new());
    for path in ["/api/event", "/api/v1/events"] {
        let request = node
            .client
            .request(reqwest::Method::OPTIONS, node.url(path));
        let response = request
            .header("origin", "https://shop.example")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 204);
        assert_eq!(
            header(response.headers(), "access-control-allow-origin"),
            "*"
        );
        assert_eq!(
            header(response.headers(), "access-control-allow-credentials"),
            ""
        );
        assert_eq!(
            header(response.headers(), "access-control-max-age"),
            "86400"
        );
    }
    node.stop().await;
}
