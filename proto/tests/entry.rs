//! The encoding of log entries: pinned by a golden file, refused when newer or broken.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{
    Acquisition, Client, CurrencyCode, DropReason, Event, EventFlags, EventId, Place, Revenue,
    SiteId, Text, UnixMillis, VisitorId,
    stored::{
        BatchWriter, ENTRY_VERSION, EntryError, EventBatch, ImportMark, Mirrored, PartitionEntry,
        SiteEvents, partition_entry::Body,
    },
};

/// Set this variable to write the golden file anew; only a new version byte is a reason to.
const REWRITE: &str = "RINGTAIL_REWRITE_GOLDEN";

fn event(number: u128, page: &str) -> Event {
    Event {
        id: EventId(number),
        visitor: VisitorId(7),
        visitor_previous: Some(VisitorId(8)),
        user_id: Some(Text::from("user-1")),
        name: Text::from("pageview"),
        time: Some(UnixMillis(1_700_000_000_000)),
        page: Text::from(page),
        hostname: Text::from("example.com"),
        client: Arc::new(Client {
            browser: Text::from("Firefox"),
            ..Client::default()
        }),
        place: Arc::new(Place {
            country: Text::from("DE"),
            ..Place::default()
        }),
        acquisition: Arc::new(Acquisition {
            source: Text::from("Google"),
            ..Acquisition::default()
        }),
        properties: vec![(Text::from("plan"), Text::from("pro"))],
        revenue: Some(Revenue {
            amount_micros: 12_500_000,
            currency: CurrencyCode::parse(b"eur").unwrap(),
        }),
        scroll_depth: Some(0),
        engaged_ms: 1_500,
        flags: EventFlags(EventFlags::NOT_INTERACTIVE),
        dropped: Some(DropReason::Bot),
    }
}

fn writer(events: &[Event]) -> BatchWriter {
    let mut writer = BatchWriter::new();
    let mark = ImportMark {
        source: Bytes::from_static(b"log"),
        first_line: 1,
        last_line: 2,
        prefix_hash: Bytes::from_static(&[9; 32]),
        lines: vec![0, 1],
    };
    writer.add(SiteId(42), events, Some(mark));
    writer
}

const STAMP: UnixMillis = UnixMillis(1_700_000_001_000);

fn entry(events: &[Event]) -> PartitionEntry {
    PartitionEntry {
        stamp_ms: STAMP.0,
        body: Some(Body::Events(writer(events).finish())),
    }
}

#[test]
fn the_encoding_of_an_entry_never_changes() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/partition_entry.v1.hex");
    let events = [event(1, "/a"), event(2, "/b")];
    let written = hex::encode(entry(&events).to_log());
    if std::env::var_os(REWRITE).is_some() {
        fs::write(&golden, &written).unwrap();
    }
    assert_eq!(written, fs::read_to_string(&golden).unwrap().trim());
    let bytes = Bytes::from(hex::decode(written).unwrap());
    assert_eq!(PartitionEntry::from_log(bytes).unwrap(), entry(&events));
}

#[test]
fn a_batch_is_written_as_the_entry_around_it_would_be() {
    let many: Vec<Event> = (0..300)
        .map(|number| event(number, &format!("/{}", number % 7)))
        .collect();
    for events in [&many[..0], &many[..1], &many[..]] {
        let mut written = writer(events);
        written.add(SiteId(0), &[], None);
        let mut plain = entry(events);
        let Some(Body::Events(batch)) = &mut plain.body else {
            panic!("events were written");
        };
        batch.sites.push(SiteEvents::default());
        assert_eq!(written.events(), events.len());
        assert_eq!(written.into_log(STAMP), plain.to_log());
    }
    let nothing = PartitionEntry {
        stamp_ms: 0,
        body: Some(Body::Events(EventBatch::default())),
    };
    assert_eq!(BatchWriter::new().into_log(UnixMillis(0)), nothing.to_log());
}

#[test]
fn shared_values_stand_once() {
    let mut events = vec![event(1, "/a")];
    events.push(Event {
        id: EventId(2),
        ..events[0].clone()
    });
    let Some(Body::Events(batch)) = entry(&events).body else {
        panic!("events were written");
    };
    assert_eq!(batch.clients.len(), 1);
    assert_eq!(batch.places.len(), 1);
    assert_eq!(batch.acquisitions.len(), 1);
    let texts: Vec<&[u8]> = batch.texts.iter().map(AsRef::as_ref).collect();
    let expect: [&[u8]; 6] = [
        b"pageview",
        b"/a",
        b"example.com",
        b"plan",
        b"pro",
        b"user-1",
    ];
    assert_eq!(texts, expect);
    let [first, second] = &batch.sites[0].events[..] else {
        panic!("two events were written");
    };
    assert_eq!((first.page, first.client), (second.page, second.client));
    assert_eq!(first.scroll_depth_plus_one, 1);
    assert_eq!(first.dropped, u32::from(DropReason::Bot.code()));
}

#[test]
fn newer_empty_and_broken_entries_are_refused() {
    let refuse =
        |bytes: &'static [u8]| PartitionEntry::from_log(Bytes::from_static(bytes)).unwrap_err();
    assert_eq!(refuse(b""), EntryError::Empty);
    assert_eq!(
        refuse(&[ENTRY_VERSION + 2]),
        EntryError::Newer {
            found: ENTRY_VERSION + 2
        }
    );
    assert!(matches!(
        refuse(&[ENTRY_VERSION, 0xff]),
        EntryError::Malformed(_)
    ));
}

#[test]
fn an_entry_about_history_is_not_skipped_by_a_binary_that_knows_none() {
    let entry = PartitionEntry {
        stamp_ms: 7,
        body: Some(Body::Mirrored(Mirrored { index: 9 })),
    };
    let bytes = entry.to_log();
    assert_eq!(bytes.first(), Some(&(ENTRY_VERSION + 1)));
    assert_eq!(PartitionEntry::from_log(bytes).unwrap(), entry);
}
