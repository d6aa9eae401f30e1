//! What other nodes send that no honest one would.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use bytes::Bytes;
use futures::StreamExt as _;
use ringtail_proto::{
    SiteId,
    stored::{BatchWriter, PartitionEntry, SiteCommand, partition_entry::Body},
    wire::peer::{
        AskSpooledRequest, DropSpooledRequest, ForwardReply, ForwardRequest, KeepSpooledRequest,
        Refused, forward_reply::Answer,
    },
};
use ringtail_router::{Applied, RouterOptions};
use support::{
    events,
    ring::{Ring, quick},
};
use tonic::Code;

const GOLDEN: &[u8] = include_bytes!("golden/spool_v1.bin");

fn entry(site: SiteId, count: u128, stamp_ms: i64) -> Bytes {
    let events = events(0..count);
    let mut writer = BatchWriter::new();
    writer.add(site, &events, None);
    let body = Some(Body::Events(writer.finish()));
    PartitionEntry { stamp_ms, body }.to_log()
}

/// Node 2 sends these to node 1, and listens until each is answered.
async fn forward(ring: &Ring, entries: Vec<(u32, Bytes)>) -> Vec<ForwardReply> {
    let mut client = ring.wires[&(2, 1)].client();
    let count = entries.len();
    let requests = entries.into_iter().zip(0..);
    let requests = requests.map(|((group, entry), sequence)| ForwardRequest {
        sequence,
        group,
        entry,
    });
    let requests: Vec<_> = requests.collect();
    let requests = futures::stream::iter(requests).chain(futures::stream::pending());
    let mut replies = client.forward(requests).await.unwrap().into_inner();
    let mut answered = Vec::new();
    while answered.len() < count {
        let reply = replies.message().await.unwrap().unwrap();
        if !matches!(reply.answer, Some(Answer::Committed(_))) {
            answered.push(reply);
        }
    }
    answered.sort_by_key(|reply| reply.sequence);
    answered
}

fn refusal(reply: &ForwardReply) -> &Refused {
    match &reply.answer {
        Some(Answer::Refused(refused)) => refused,
        other => panic!("a refusal expected, found {other:?}"),
    }
}

#[actix_rt::test]
async fn an_entry_that_no_honest_node_sends_is_refused_and_the_next_is_taken() {
    let ring = Ring::start(RouterOptions {
        batch_events_max: 10,
        ..quick()
    })
    .await;
    let (site, foreign) = (ring.site_of(1), ring.site_of(2));
    let silent = PartitionEntry {
        stamp_ms: 0,
        body: None,
    };
    let command = PartitionEntry {
        stamp_ms: 0,
        body: Some(Body::Site(SiteCommand {
            site: foreign.0,
            change: None,
        })),
    };
    let cases = [
        (1, Bytes::new(), "internal", "entry is empty"),
        (
            1,
            vec![1, 0xff, 0xff].into(),
            "internal",
            "cannot be decoded",
        ),
        (1, vec![99].into(), "internal", "has version 99"),
        (1, silent.to_log(), "internal", "says nothing"),
        (1, entry(site, 1, 5), "internal", "carries a stamp"),
        (1, entry(foreign, 1, 0), "internal", "is not of this group"),
        (1, command.to_log(), "internal", "is not of this group"),
        (1, entry(site, 11, 0), "too_large", "11 events"),
        (9, entry(site, 1, 0), "internal", "group 9"),
        (0, entry(site, 1, 0), "internal", "group 0"),
    ];
    let sent = cases.iter().map(|case| (case.0, case.1.clone()));
    let sent = sent.chain([(1, entry(site, 10, 0))]).collect();
    let replies = forward(&ring, sent).await;
    for ((_, _, kind, message), reply) in cases.iter().zip(&replies) {
        let refused = refusal(reply);
        assert_eq!(refused.kind, *kind, "{}", refused.message);
        assert!(refused.message.contains(message), "{}", refused.message);
        assert!(!refused.may_commit && refused.leader.is_none());
    }
    let last = replies.last().unwrap();
    assert_eq!(last.answer, Some(Answer::Applied(vec![0; 10].into())));
    assert_eq!(ring.groups[0].entries(), 1);
    assert_eq!(ring.router(1).bytes_in_flight(), 0);
    ring.stop().await;
}

#[actix_rt::test]
async fn an_entry_for_another_leader_is_refused_with_its_name() {
    let ring = Ring::start(quick()).await;
    let site = ring.site_of(1);
    for (leader, expect) in [(Some(3), Some(3)), (None, None)] {
        ring.groups[0].lead(leader);
        let replies = forward(&ring, vec![(1, entry(site, 1, 0))]).await;
        let refused = refusal(&replies[0]);
        assert_eq!(refused.kind, "unavailable");
        assert_eq!((refused.leader, refused.may_commit), (expect, false));
    }
    assert_eq!(ring.groups[0].entries(), 0);
    ring.stop().await;
}

#[actix_rt::test]
async fn a_message_over_the_limit_ends_its_stream_and_harms_nobody() {
    let ring = Ring::start(RouterOptions {
        batch_bytes_max: 10_000,
        ..quick()
    })
    .await;
    let mut client = ring.wires[&(2, 1)].client();
    let request = ForwardRequest {
        sequence: 0,
        group: 1,
        entry: vec![0; 10_000 + (80 << 10)].into(),
    };
    let requests = futures::stream::iter([request]).chain(futures::stream::pending());
    let mut replies = client.forward(requests).await.unwrap().into_inner();
    assert!(!matches!(replies.message().await, Ok(Some(_))));
    let submission = ring.router(2).submit(ring.site_of(1), events(0..1), None);
    let applied = submission.unwrap().applied().await.unwrap();
    assert!(matches!(applied, Applied::Verdicts(_)));
    ring.stop().await;
}

#[actix_rt::test]
async fn copies_are_kept_for_their_owner_only_and_within_their_bounds() {
    let ring = Ring::start(RouterOptions {
        spool_copies_bytes_max: GOLDEN.len() as u64 * 2,
        ..quick()
    })
    .await;
    let mut client = ring.wires[&(2, 1)].client();
    let golden = Bytes::from_static(GOLDEN);
    let mut damaged = GOLDEN.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let cases = [
        (2, 1, golden.clone(), None),
        (2, 1, golden.clone(), None),
        (2, 2, damaged.into(), Some(Code::InvalidArgument)),
        (2, 3, Bytes::new(), Some(Code::InvalidArgument)),
        (3, 1, golden.clone(), Some(Code::PermissionDenied)),
        (1, 1, golden.clone(), Some(Code::PermissionDenied)),
        (2, 4, golden.clone(), None),
        (2, 5, golden.clone(), Some(Code::ResourceExhausted)),
    ];
    for (owner, file, content, expect) in cases {
        let request = KeepSpooledRequest {
            owner,
            file,
            content,
        };
        let code = client.keep_spooled(request).await.err();
        assert_eq!(code.map(|status| status.code()), expect, "{owner} {file}");
    }
    let files = || ring.nodes[&1].disk.files().len();
    assert_eq!(files(), 2);
    let drops = [
        (3, vec![1], Some(Code::PermissionDenied), 2),
        (2, vec![0; 10_001], Some(Code::InvalidArgument), 2),
        (2, vec![1, 1, 7, u64::MAX], None, 1),
    ];
    for (owner, names, expect, left) in drops {
        let request = DropSpooledRequest {
            owner,
            files: names,
        };
        let code = client.drop_spooled(request).await.err();
        assert_eq!(code.map(|status| status.code()), expect);
        assert_eq!(files(), left);
    }
    let ask = AskSpooledRequest {
        files: vec![0; 10_001],
    };
    let code = client.ask_spooled(ask).await.unwrap_err().code();
    assert_eq!(code, Code::InvalidArgument);
    ring.stop().await;
}

#[actix_rt::test]
async fn budgets_hold_under_what_other_nodes_forward() {
    const BYTES_MAX: usize = 8_000;
    let ring = Ring::start(RouterOptions {
        batch_bytes_max: 4_000,
        bytes_in_flight_max: BYTES_MAX,
        forward_bytes_max: 1 << 20,
        entries_in_flight_max: 8,
        quorum_wait_ms_max: 20_000,
        ..quick()
    })
    .await;
    ring.groups[0].set_quorum(false);
    let site = ring.site_of(1);
    let mut submissions = Vec::new();
    for node in [2, 3u64] {
        let mut next = u128::from(node) * 1_000;
        while let Ok(submission) = ring.router(node).submit(site, events(next..next + 4), None) {
            submissions.push(submission);
            next += 4;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    // The third node's entries find node 1 as full as it may be, and wait where they are.
    for _ in 0..20 {
        let bytes = ring.router(1).bytes_in_flight();
        assert!(bytes <= BYTES_MAX, "{bytes}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    ring.groups[0].set_quorum(true);
    let count = submissions.len();
    for submission in submissions {
        assert!(submission.applied().await.is_ok());
    }
    assert_eq!(ring.accepted().len(), count * 4);
    ring.stop().await;
}
