//! A real S3 client and a real S3 server with a wire between them that breaks: what was put is there and right, what cannot be put
//! says so, and nothing wrong is ever read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{
    log::{LogMaker, seal},
    s3::{S3Server, SECRET},
    wire::{Proxy, Wire},
};
use futures::TryStreamExt as _;
use ringtail_archive::{Archive, ArchiveError, ArchiveOptions, BuiltObject, verify};

struct Setup {
    proxy: Proxy,
    archive: Archive,
    /// The same, past the broken wire.
    direct: Archive,
    _server: S3Server,
}

/// Both archives try for so long.
async fn setup(retry_ms_max: u64) -> Setup {
    let server = S3Server::start().await;
    let proxy = Proxy::start(server.port).await;
    let options = |port| ArchiveOptions {
        retry_ms_max,
        attempt_ms_max: 20_000,
        part_bytes_max: 5 << 20,
        cached_bytes_max: 0,
        ..ArchiveOptions::new(S3Server::location_at(port, "ring", SECRET))
    };
    let direct = Archive::open(options(server.port), "ring").await.unwrap();
    let archive = Archive::open(options(proxy.port), "ring").await.unwrap();
    Setup {
        archive,
        direct,
        _server: server,
        proxy,
    }
}

fn objects() -> Vec<BuiltObject> {
    let log = LogMaker::new(5, 3).entries(120);
    log.chunks(40).flat_map(|part| seal(1, part)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_breaks_now_and_then_loses_nothing() {
    let setup = setup(120_000).await;
    let pause = Duration::from_millis(1);
    let broken = [
        vec![Wire::Busy; 3],
        vec![
            Wire::CutRequest(0),
            Wire::CutRequest(700),
            Wire::CutRequest(2_000),
        ],
        vec![
            Wire::CutAnswer(0),
            Wire::CutAnswer(10),
            Wire::CutAnswer(100),
        ],
        vec![
            Wire::Refused,
            Wire::Busy,
            Wire::CutRequest(1_500),
            Wire::Refused,
        ],
        vec![Wire::Slow(pause); 4],
    ];
    for (object, wires) in objects().iter().zip(broken.iter().cycle()) {
        setup.proxy.plan(wires);
        setup.archive.put(object).await.unwrap();
        let is_slow = wires.iter().all(|wire| matches!(wire, Wire::Slow(_)));
        assert!(
            is_slow || setup.proxy.is_through(),
            "all of {wires:?} was met"
        );
        assert_eq!(
            setup.archive.get(&object.object).await.unwrap(),
            object.bytes
        );
        verify(&setup.direct, &object.object).await.unwrap();
    }
    setup.proxy.plan(&[]);
    let listed: Vec<_> = setup.direct.list("v1").try_collect().await.unwrap();
    let parquet = listed
        .iter()
        .filter(|listed| listed.path.ends_with("parquet"));
    assert_eq!(parquet.count(), objects().len(), "and nothing by halves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_stays_broken_is_told_and_the_same_write_works_later() {
    let setup = setup(1_500).await;
    let object = objects().swap_remove(0);
    for wire in [
        Wire::Busy,
        Wire::CutRequest(900),
        Wire::CutAnswer(20),
        Wire::Refused,
    ] {
        setup.proxy.always(wire);
        for _ in 0..3 {
            let error = setup.archive.put(&object).await.unwrap_err();
            assert!(matches!(error, ArchiveError::Unavailable { .. }), "{error}");
            match setup.direct.get(&object.object).await {
                Ok(bytes) => assert_eq!(bytes, object.bytes, "all of it or nothing"),
                Err(error) => assert!(matches!(error, ArchiveError::Missing { .. }), "{error}"),
            }
        }
        setup.proxy.always(Wire::Whole);
        setup.archive.put(&object).await.unwrap();
        verify(&setup.archive, &object.object).await.unwrap();
        let path = std::str::from_utf8(&object.object.path).unwrap();
        setup.direct.delete(path).await.unwrap();
    }
}
