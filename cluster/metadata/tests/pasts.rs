//! The generations of a site, command by command.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use ringtail_metadata::{Command, Limits, MetadataError, NodeAddresses, Outcome};
use ringtail_proto::{ErrorKind, NodeId, SiteId};
use support::{Replica, add_site};

const SITE: SiteId = SiteId(1);

fn replica() -> Replica {
    let mut replica = Replica::initialised(Limits::default());
    let addresses = NodeAddresses {
        http: "10.0.0.1:8080".into(),
        grpc: "10.0.0.1:7001".into(),
        peer: "10.0.0.1:7000".into(),
    };
    let node = NodeId(1);
    replica
        .run(Command::RegisterNode {
            node,
            addresses: addresses.clone(),
        })
        .unwrap();
    replica
        .run(Command::DescribeNode {
            node,
            addresses,
            zone: String::new(),
            feature_level: 2,
        })
        .unwrap();
    replica.run(add_site("a.example")).unwrap();
    replica
}

fn able() -> Replica {
    let mut replica = replica();
    let level = 2;
    replica.run(Command::RaiseFeatureGate { level }).unwrap();
    replica
}

fn reprocess(label: &str) -> Command {
    Command::Reprocess {
        site: SITE,
        rules: label.as_bytes().to_vec(),
        label: label.to_owned(),
    }
}

const fn switch(generation: u32) -> Command {
    Command::SwitchGeneration {
        site: SITE,
        generation,
    }
}

const fn pause(is_paused: bool) -> Command {
    Command::PauseReprocess {
        site: SITE,
        is_paused,
    }
}

const fn cancel(generation: u32) -> Command {
    Command::CancelReprocess {
        site: SITE,
        generation,
    }
}

const fn accept(former: u32) -> Command {
    Command::AcceptGeneration { site: SITE, former }
}

/// The generation that serves, the former and the next one, and all that have to be fed.
fn generations(replica: &Replica) -> (u32, Option<u32>, Option<u32>, Vec<u32>) {
    let directory = replica.directory();
    let past = directory.past(SITE).unwrap();
    assert_eq!(directory.serving(SITE), past.serving());
    let former = past.former.as_ref().map(|former| former.generation);
    let next = past.next.as_ref().map(|next| next.record.generation);
    let wanted = past.wanted();
    let wanted = wanted.iter().map(|record| record.generation).collect();
    (past.serving.generation, former, next, wanted)
}

#[test]
fn a_site_goes_from_generation_to_generation_and_back() {
    let mut replica = able();
    assert_eq!(replica.directory().past(SITE), None);
    assert_eq!(replica.directory().serving(SITE).generation.0, 0);
    assert_eq!(replica.run(reprocess("one")), Ok(Outcome::Generation(1)));
    assert_eq!(generations(&replica), (0, None, Some(1), vec![0, 1]));
    replica.run(switch(1)).unwrap();
    assert_eq!(generations(&replica), (1, Some(0), None, vec![0, 1]));
    replica.run(switch(0)).unwrap();
    assert_eq!(generations(&replica), (0, Some(1), None, vec![0, 1]));
    replica.run(switch(1)).unwrap();
    assert_eq!(replica.run(reprocess("two")), Ok(Outcome::Generation(2)));
    assert_eq!(generations(&replica), (1, Some(0), Some(2), vec![0, 1, 2]));
    replica.run(accept(0)).unwrap();
    assert_eq!(generations(&replica), (1, None, Some(2), vec![1, 2]));
    replica.run(cancel(2)).unwrap();
    assert_eq!(generations(&replica), (1, None, None, vec![1]));
    assert_eq!(replica.run(reprocess("three")), Ok(Outcome::Generation(3)));
    replica.crash(usize::MAX);
    assert_eq!(generations(&replica), (1, None, Some(3), vec![1, 3]));
    let past = replica.directory().past(SITE).unwrap();
    assert_eq!(past.serving.rules, b"one");
    assert_eq!(past.switches, 3);
    assert_eq!(past.next.as_ref().unwrap().record.label, "three");
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let mut replica = able();
    let site = SITE;
    let unknown = |generation| MetadataError::UnknownGeneration { site, generation };
    for (command, expect) in [
        (pause(true), MetadataError::NotReprocessed { site }),
        (cancel(1), unknown(1)),
        (accept(0), unknown(0)),
        (switch(1), unknown(1)),
    ] {
        assert_eq!(expect.kind(), ErrorKind::Conflict);
        assert_eq!(replica.run(command), Err(expect));
    }
    replica.run(reprocess("one")).unwrap();
    let again = replica.run(reprocess("two"));
    let expect = MetadataError::AlreadyReprocessed {
        site,
        generation: 1,
    };
    assert_eq!(again, Err(expect));
    let other = replica.run(switch(2));
    assert!(matches!(
        other,
        Err(MetadataError::UnknownGeneration { .. })
    ));
    assert_eq!(generations(&replica), (0, None, Some(1), vec![0, 1]));
    let unknown = Command::CancelReprocess {
        site: SiteId(9),
        generation: 1,
    };
    let refused = replica.run(unknown);
    assert_eq!(refused, Err(MetadataError::UnknownSite { site: SiteId(9) }));
}

#[test]
fn a_step_that_is_repeated_is_taken_once() {
    let mut replica = able();
    replica.run(reprocess("one")).unwrap();
    for _ in 0..2 {
        replica.run(switch(1)).unwrap();
        assert_eq!(generations(&replica), (1, Some(0), None, vec![0, 1]));
    }
    for _ in 0..2 {
        replica.run(accept(0)).unwrap();
        assert_eq!(generations(&replica), (1, None, None, vec![1]));
    }
    replica.run(reprocess("two")).unwrap();
    for _ in 0..2 {
        replica.run(cancel(2)).unwrap();
    }
    replica.run(reprocess("three")).unwrap();
    replica.run(cancel(2)).unwrap();
    assert_eq!(generations(&replica), (1, None, Some(3), vec![1, 3]));
    // Whoever means the one that serves now does not give up the other.
    replica.run(switch(3)).unwrap();
    replica.run(switch(1)).unwrap();
    let refused = replica.run(accept(1));
    assert!(matches!(
        refused,
        Err(MetadataError::UnknownGeneration { .. })
    ));
    assert_eq!(generations(&replica), (1, Some(3), None, vec![1, 3]));
}

#[test]
fn a_pause_is_kept_until_it_ends() {
    let mut replica = able();
    replica.run(reprocess("one")).unwrap();
    for is_paused in [true, true, false] {
        replica.run(pause(is_paused)).unwrap();
        let past = replica.directory().past(SITE).unwrap();
        assert_eq!(past.next.as_ref().unwrap().is_paused, is_paused);
    }
}

#[test]
fn nothing_is_reprocessed_before_every_binary_knows_how() {
    let mut replica = replica();
    let refused = replica.run(reprocess("one"));
    let expect = MetadataError::FeatureNotReady { needed: 2, gate: 0 };
    assert_eq!(refused, Err(expect));
    assert_eq!(replica.directory().past(SITE), None);
}
