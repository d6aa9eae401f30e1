//! What group 0 does with commands, entry by entry.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panic"
)]

mod support;

use ringtail_metadata::{
    ClusterId, Command, GoalCondition, GoalId, Key, KeyId, KeyRefusal, Limits, MetadataError,
    NodeAddresses, OptionsChange, Outcome, Scope, Secret,
};
use ringtail_proto::{ErrorKind, NodeId, SiteId, UnixMillis};
use ringtail_raft::{Body, Machine as _};
use support::{Replica, add_site, domain, entry, hash, rename};

fn add_goal(site: u64, name: &str, event: &str) -> Command {
    Command::AddGoal {
        site: SiteId(site),
        name: name.to_owned(),
        condition: GoalCondition::EventName(event.to_owned()),
    }
}

fn add_key(number: u8, site: Option<u64>, expires: Option<i64>) -> Command {
    Command::AddKey {
        name: format!("key {number}"),
        scope: Scope::Read,
        site: site.map(SiteId),
        secret_hash: hash(number),
        expires: expires.map(UnixMillis),
    }
}

#[test]
fn nothing_is_added_before_the_ring_is_made() {
    let mut replica = Replica::new();
    assert_eq!(
        replica.run(add_site("a.example")),
        Err(MetadataError::NotInitialised)
    );
    assert_eq!(
        replica.run(add_key(1, None, None)),
        Err(MetadataError::NotInitialised)
    );
    assert_eq!(replica.directory().site_count(), 0);
}

#[test]
fn the_ring_is_made_once() {
    let mut replica = Replica::initialised(Limits::default());
    let again = |cluster| Command::InitCluster {
        cluster,
        groups: 4,
        limits: Limits::default(),
    };
    assert_eq!(replica.run(again(ClusterId(7))), Ok(Outcome::Done));
    let refused = replica.run(again(ClusterId(8)));
    assert_eq!(
        refused,
        Err(MetadataError::AlreadyInitialised {
            cluster: ClusterId(7)
        })
    );
    let cluster = replica.directory().cluster().unwrap();
    assert_eq!((cluster.id, cluster.groups), (ClusterId(7), 16));
    assert_eq!(replica.directory().slots().partitions().len(), 16);
}

#[test]
fn a_site_is_found_by_its_domain_in_any_case() {
    let mut replica = Replica::initialised(Limits::default());
    assert_eq!(
        replica.run(add_site("Example.COM")),
        Ok(Outcome::Site(SiteId(1)))
    );
    let directory = replica.directory();
    let check = |text: &str, expect: bool| {
        assert_eq!(directory.site_by_domain(text).is_some(), expect, "{text:?}");
    };
    check("example.com", true);
    check(" EXAMPLE.com", true);
    check("www.example.com", false);
    check("example.co", false);
    check("", false);
    let site = directory.site(SiteId(1)).unwrap();
    assert_eq!(
        (&*site.domain, site.created),
        ("example.com", UnixMillis(2_000))
    );
}

#[test]
fn a_domain_belongs_to_one_site_only() {
    let mut replica = Replica::initialised(Limits::default());
    replica.run(add_site("a.example")).unwrap();
    replica.run(add_site("b.example")).unwrap();
    let aliases = Command::SetAliases {
        site: SiteId(1),
        aliases: vec![domain("www.a.example")],
    };
    replica.run(aliases).unwrap();
    let taken = |name: &str, site: u64| {
        Err(MetadataError::SiteExists {
            domain: domain(name),
            site: SiteId(site),
        })
    };
    assert_eq!(replica.run(add_site("a.example")), taken("a.example", 1));
    assert_eq!(
        replica.run(add_site("www.a.example")),
        taken("www.a.example", 1)
    );
    assert_eq!(replica.run(rename(2, "a.example")), taken("a.example", 1));
    assert_eq!(
        replica.run(rename(2, "www.a.example")),
        taken("www.a.example", 1)
    );
    let aliases = Command::SetAliases {
        site: SiteId(2),
        aliases: vec![domain("a.example")],
    };
    assert_eq!(replica.run(aliases), taken("a.example", 1));
    assert_eq!(
        replica.run(add_site("c.example")),
        Ok(Outcome::Site(SiteId(3)))
    );
}

#[test]
fn a_renamed_site_keeps_its_id_and_is_found_by_both_names() {
    let mut replica = Replica::initialised(Limits::default());
    replica.run(add_site("old.example")).unwrap();
    replica.run(add_goal(1, "Signup", "signup")).unwrap();
    let before = replica.directory().site(SiteId(1)).unwrap();
    assert_eq!(
        replica.run(rename(1, "new.example")),
        Ok(Outcome::Site(SiteId(1)))
    );
    let directory = replica.directory();
    let site = directory.site_by_domain("new.example").unwrap();
    assert_eq!((site.id, &*site.domain), (SiteId(1), "new.example"));
    assert_eq!(site.aliases, [domain("old.example")]);
    assert_eq!(site.settings, before.settings);
    assert_eq!(site.created, before.created);
    assert_eq!(directory.site_by_domain("old.example").unwrap(), site);
    // And back: the names change places.
    replica.run(rename(1, "old.example")).unwrap();
    let site = directory.site_by_domain("new.example").unwrap();
    assert_eq!(
        (&*site.domain, &*site.aliases),
        ("old.example", &[domain("new.example")][..])
    );
    // A name that is given up is free again.
    replica
        .run(Command::SetAliases {
            site: SiteId(1),
            aliases: Vec::new(),
        })
        .unwrap();
    assert_eq!(directory.site_by_domain("new.example"), None);
    assert_eq!(
        replica.run(add_site("new.example")),
        Ok(Outcome::Site(SiteId(2)))
    );
}

#[test]
fn every_limit_is_a_typed_error() {
    let mut replica = Replica::initialised(Limits {
        sites_max: 2,
        aliases_per_site_max: 1,
        goals_per_site_max: 2,
        keys_max: 2,
        nodes_max: 1,
        audit_records_max: 100,
    });
    let node = |node| Command::RegisterNode {
        node: NodeId(node),
        addresses: NodeAddresses {
            http: format!("127.0.0.1:{node}"),
            grpc: String::new(),
            peer: String::new(),
        },
    };
    for command in [
        add_site("a.example"),
        add_site("b.example"),
        add_goal(1, "One", "one"),
        add_goal(1, "Two", "two"),
        add_key(1, None, None),
        add_key(2, Some(1), None),
        node(1),
        rename(1, "c.example"),
    ] {
        replica
            .run(command.clone())
            .unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    let visible = replica.directory().sites();
    let mut check = |command: Command, expect: MetadataError| {
        assert_eq!(expect.kind(), ErrorKind::TooLarge);
        assert_eq!(replica.run(command), Err(expect));
    };
    check(
        add_site("d.example"),
        MetadataError::TooManySites { max: 2 },
    );
    check(
        rename(1, "d.example"),
        MetadataError::TooManyAliases {
            site: SiteId(1),
            max: 1,
        },
    );
    let aliases = vec![domain("d.example"), domain("e.example")];
    check(
        Command::SetAliases {
            site: SiteId(1),
            aliases,
        },
        MetadataError::TooManyAliases {
            site: SiteId(1),
            max: 1,
        },
    );
    check(
        add_goal(1, "Three", "three"),
        MetadataError::TooManyGoals {
            site: SiteId(1),
            max: 2,
        },
    );
    check(
        add_key(3, None, None),
        MetadataError::TooManyKeys { max: 2 },
    );
    check(node(2), MetadataError::TooManyNodes { max: 1 });
    assert_eq!(replica.directory().sites(), visible);
    // A node that is known may move.
    replica.run(node(1)).unwrap();
}

#[test]
fn a_revoked_key_gives_way_when_there_are_too_many() {
    let mut replica = Replica::initialised(Limits {
        keys_max: 2,
        ..Limits::default()
    });
    replica.run(add_key(1, None, None)).unwrap();
    replica.run(add_key(2, None, None)).unwrap();
    replica.run(Command::RevokeKey { key: KeyId(1) }).unwrap();
    assert_eq!(
        replica.run(add_key(3, None, None)),
        Ok(Outcome::Key(KeyId(3)))
    );
    let ids: Vec<_> = replica
        .directory()
        .keys()
        .iter()
        .map(|key| key.id)
        .collect();
    assert_eq!(ids, [KeyId(2), KeyId(3)]);
    assert_eq!(replica.directory().key_of_hash(&hash(1)), None);
}

#[test]
fn what_is_not_there_is_refused() {
    let mut replica = Replica::initialised(Limits::default());
    replica.run(add_site("a.example")).unwrap();
    let mut check = |command: Command, expect: MetadataError| {
        assert_eq!(expect.kind(), ErrorKind::NotFound);
        assert_eq!(replica.run(command), Err(expect));
    };
    let unknown = || MetadataError::UnknownSite { site: SiteId(9) };
    check(rename(9, "b.example"), unknown());
    check(
        Command::PauseSite {
            site: SiteId(9),
            is_paused: true,
        },
        unknown(),
    );
    check(add_goal(9, "Signup", "signup"), unknown());
    check(add_key(1, Some(9), None), unknown());
    let change = OptionsChange::default();
    check(
        Command::SetSiteOptions {
            site: SiteId(9),
            change,
        },
        unknown(),
    );
    check(
        Command::RevokeKey { key: KeyId(9) },
        MetadataError::UnknownKey { key: KeyId(9) },
    );
    check(
        Command::RemoveGoal {
            site: SiteId(1),
            goal: GoalId(9),
        },
        MetadataError::UnknownGoal {
            site: SiteId(1),
            goal: GoalId(9),
        },
    );
}

#[test]
fn goals_count_from_their_creation_and_are_told_apart() {
    let mut replica = Replica::initialised(Limits::default());
    replica.run(add_site("a.example")).unwrap();
    let made = replica.run_at(UnixMillis(5_000), add_goal(1, "Signup", "signup"));
    assert_eq!(made, Ok(Outcome::Goal(GoalId(1))));
    let exists = Err(MetadataError::GoalExists { goal: GoalId(1) });
    assert_eq!(replica.run(add_goal(1, "Signup", "other")), exists);
    assert_eq!(replica.run(add_goal(1, "Other", "signup")), exists);
    let site = replica.directory().site(SiteId(1)).unwrap();
    assert_eq!(site.goal(GoalId(1)).unwrap().since, UnixMillis(5_000));
    assert_eq!(site.settings.revision, 2);
    replica
        .run(Command::RemoveGoal {
            site: SiteId(1),
            goal: GoalId(1),
        })
        .unwrap();
    // Ids are never used again, also after a restart.
    replica.reopen();
    let made = replica.run(add_goal(1, "Signup", "signup"));
    assert_eq!(made, Ok(Outcome::Goal(GoalId(2))));
}

#[test]
fn options_change_one_by_one_and_raise_the_revision() {
    let mut replica = Replica::initialised(Limits::default());
    replica.run(add_site("a.example")).unwrap();
    let change = OptionsChange {
        visit_timeout_minutes: Some(60),
        property_keys: Some(vec!["plan".to_owned()]),
        ..OptionsChange::default()
    };
    replica
        .run(Command::SetSiteOptions {
            site: SiteId(1),
            change,
        })
        .unwrap();
    let change = OptionsChange {
        require_consent: Some(true),
        ..OptionsChange::default()
    };
    replica
        .run(Command::SetSiteOptions {
            site: SiteId(1),
            change,
        })
        .unwrap();
    let settings = replica
        .directory()
        .site(SiteId(1))
        .unwrap()
        .settings
        .clone();
    assert_eq!(settings.visit_timeout_minutes, 60);
    assert_eq!(settings.property_keys, ["plan"]);
    assert!(settings.require_consent && !settings.obey_do_not_track);
    assert_eq!((settings.revision, settings.sketch_key), (3, 42));
}

#[test]
fn expired_revoked_and_unknown_keys_are_refused() {
    let mut replica = Replica::initialised(Limits::default());
    let secret = Secret::new(Scope::Admin, [1; 32]);
    let add = |secret: &Secret, expires| Command::AddKey {
        name: String::new(),
        scope: Scope::Admin,
        site: None,
        secret_hash: secret.hash(),
        expires,
    };
    replica.run(add(&secret, Some(UnixMillis(100)))).unwrap();
    let exists = replica.run(add(&secret, None));
    assert_eq!(exists, Err(MetadataError::KeyExists { key: KeyId(1) }));
    let directory = replica.directory();
    let ask = |text: &str, now| {
        directory
            .key_by_secret(text, UnixMillis(now))
            .map(|key| key.id)
    };
    assert_eq!(ask(secret.expose(), 99), Ok(KeyId(1)));
    assert_eq!(
        ask(secret.expose(), 100),
        Err(KeyRefusal::Expired(KeyId(1)))
    );
    assert_eq!(ask("", 99), Err(KeyRefusal::Unknown));
    assert_eq!(ask(&secret.expose()[1..], 99), Err(KeyRefusal::Unknown));
    assert_eq!(ask(&"x".repeat(100_000), 99), Err(KeyRefusal::Unknown));
    replica.run(Command::RevokeKey { key: KeyId(1) }).unwrap();
    assert_eq!(ask(secret.expose(), 99), Err(KeyRefusal::Revoked(KeyId(1))));
    replica.reopen();
    let refused = replica
        .directory()
        .key_by_secret(secret.expose(), UnixMillis(99));
    assert_eq!(refused, Err(KeyRefusal::Revoked(KeyId(1))));
}

#[test]
fn the_last_use_of_a_key_is_seen_at_once_and_written_in_one_batch() {
    let mut replica = Replica::initialised(Limits::default());
    let secrets: Vec<_> = (0..3)
        .map(|number| Secret::new(Scope::Read, [number; 32]))
        .collect();
    for secret in &secrets {
        let command = Command::AddKey {
            name: String::new(),
            scope: Scope::Read,
            site: None,
            secret_hash: secret.hash(),
            expires: None,
        };
        replica.run(command).unwrap();
    }
    let directory = replica.directory();
    for (secret, now) in [(0, 70), (1, 50), (0, 60)] {
        directory
            .key_by_secret(secrets[secret].expose(), UnixMillis(now))
            .unwrap();
    }
    let last_uses = |replica: &Replica| {
        let keys = replica.directory().keys();
        keys.iter()
            .map(|key: &std::sync::Arc<Key>| key.last_used)
            .collect::<Vec<_>>()
    };
    let expect = [Some(UnixMillis(70)), Some(UnixMillis(50)), None];
    assert_eq!(last_uses(&replica), expect);
    let mut used = directory.unwritten_uses(10);
    used.sort_unstable();
    assert_eq!(
        used,
        [(KeyId(1), UnixMillis(70)), (KeyId(2), UnixMillis(50))]
    );
    used.push((KeyId(1), UnixMillis(10)));
    used.push((KeyId(99), UnixMillis(10)));
    replica.run(Command::TouchKeys { used }).unwrap();
    assert_eq!(directory.unwritten_uses(10), []);
    replica.reopen();
    assert_eq!(last_uses(&replica), expect);
}

#[test]
fn settings_wait_until_the_partition_holds_them() {
    let mut replica = Replica::initialised(Limits::default());
    replica.run(add_site("a.example")).unwrap();
    replica.run(add_site("b.example")).unwrap();
    let directory = replica.directory();
    assert_eq!(directory.site_for_events("a.example"), None);
    let waiting = |replica: &Replica| {
        let pushes = replica.directory().settings_to_push(10).unwrap();
        pushes
            .iter()
            .map(|push| (push.site.0, push.revision))
            .collect::<Vec<_>>()
    };
    assert_eq!(waiting(&replica), [(1, 1), (2, 1)]);
    assert_eq!(directory.settings_to_push(1).unwrap().len(), 1);
    replica
        .run(Command::SettleSites {
            settled: vec![(SiteId(1), 1)],
        })
        .unwrap();
    assert_eq!(
        directory.site_for_events("a.example").unwrap().id,
        SiteId(1)
    );
    assert_eq!(waiting(&replica), [(2, 1)]);
    replica.run(add_goal(1, "Signup", "signup")).unwrap();
    assert_eq!(waiting(&replica), [(1, 2), (2, 1)]);
    // Events go on under the former settings meanwhile.
    assert!(directory.site_for_events("a.example").is_some());
    replica.reopen();
    assert_eq!(waiting(&replica), [(1, 2), (2, 1)]);
    // A revision that was never made cannot have been pushed.
    replica
        .run(Command::SettleSites {
            settled: vec![(SiteId(2), 99), (SiteId(1), 2)],
        })
        .unwrap();
    assert_eq!(waiting(&replica), []);
    assert_eq!(
        replica
            .directory()
            .site(SiteId(2))
            .unwrap()
            .settled_revision,
        1
    );
}

#[test]
fn pushed_settings_carry_all_that_apply_reads() {
    use ringtail_proto::stored::{goal::Condition, site_command::Change};
    let mut replica = Replica::initialised(Limits::default());
    let command = Command::AddSite {
        domain: domain("a.example"),
        timezone: "Asia/Kolkata".into(),
        sketch_key: 0xfeed,
    };
    replica.run(command).unwrap();
    replica
        .run_at(UnixMillis(9_000), add_goal(1, "Signup", "signup"))
        .unwrap();
    let push = replica.directory().settings_to_push(1).unwrap().remove(0);
    assert_eq!(push.command.site, 1);
    let Some(Change::Settings(settings)) = push.command.change else {
        panic!("settings expected")
    };
    assert_eq!((settings.revision, settings.sketch_key), (2, 0xfeed));
    assert_eq!(&settings.timezone[..], b"Asia/Kolkata");
    assert_eq!(settings.visit_timeout_minutes, 30);
    assert_eq!(settings.transitions.last().unwrap().offset_seconds, 19_800);
    let goal = &settings.goals[0];
    assert_eq!(
        (goal.id, goal.since_ms, &goal.name[..]),
        (1, 9_000, &b"Signup"[..])
    );
    assert_eq!(goal.condition, Some(Condition::EventName("signup".into())));
}

#[test]
fn the_audit_log_says_who_what_when_and_why_and_is_bounded() {
    let mut replica = Replica::initialised(Limits {
        audit_records_max: 3,
        ..Limits::default()
    });
    for number in 0..10 {
        replica
            .run(add_site(&format!("s{number}.example")))
            .unwrap();
    }
    replica.run(add_site("s0.example")).unwrap_err();
    replica
        .run(Command::SettleSites {
            settled: vec![(SiteId(1), 1)],
        })
        .unwrap();
    let records = replica.machine.audit(100).unwrap();
    let whats: Vec<_> = records.iter().map(|record| &*record.what).collect();
    let expect = [
        "add site s0.example in UTC",
        "add site s9.example in UTC",
        "add site s8.example in UTC",
    ];
    assert_eq!(whats, expect);
    let newest = &records[0];
    assert_eq!((&*newest.who, &*newest.why), ("tester", "a test"));
    assert_eq!((newest.index.0, newest.at), (12, UnixMillis(12_000)));
    assert_eq!(
        newest.refused.as_ref().map(MetadataError::kind),
        Some(ErrorKind::Conflict)
    );
    assert_eq!(records[1].refused, None);
    assert_eq!(replica.machine.audit(1).unwrap(), records[..1]);
    let audit_rows = replica
        .rows()
        .keys()
        .filter(|name| name.starts_with(b"audit/"))
        .count();
    assert_eq!(audit_rows, 3);
}

#[test]
fn secrets_and_random_keys_stay_out_of_the_audit_log() {
    let command = Command::AddSite {
        domain: domain("a.example"),
        timezone: "UTC".into(),
        sketch_key: 1_234_567_891_011,
    };
    assert_eq!(command.to_string(), "add site a.example in UTC");
    let command = add_key(0xab, Some(3), None);
    assert_eq!(command.to_string(), "add read key \"key 171\" for site 3");
}

#[test]
fn time_never_falls_although_a_clock_does() {
    let mut replica = Replica::initialised(Limits::default());
    replica
        .run_at(UnixMillis(50_000), add_site("a.example"))
        .unwrap();
    replica
        .run_at(UnixMillis(10), add_site("b.example"))
        .unwrap();
    replica.reopen();
    replica
        .run_at(UnixMillis(20), add_site("c.example"))
        .unwrap();
    let created: Vec<_> = replica
        .directory()
        .sites()
        .iter()
        .map(|site| site.created.0)
        .collect();
    assert_eq!(created, [50_000; 3]);
}

#[test]
fn one_more_site_writes_three_rows_however_many_there_are() {
    let mut replica = Replica::initialised(Limits {
        audit_records_max: 10,
        ..Limits::default()
    });
    let batch: Vec<_> = (0..100_000)
        .map(|number| {
            let command = add_site(&format!("site-{number}.example"));
            Body::Command(entry(UnixMillis(1), command).to_log())
        })
        .collect();
    replica.apply(batch);
    let directory = replica.directory();
    assert_eq!(directory.site_count(), 100_000);
    let (before, neighbour) = (replica.rows(), directory.site(SiteId(77)).unwrap());
    replica.run(add_site("one-more.example")).unwrap();
    let after = replica.rows();
    let is_same = |(name, value): &(&bytes::Bytes, &bytes::Bytes)| before.get(*name) == Some(value);
    let written: Vec<_> = after
        .iter()
        .filter(|row| !is_same(row))
        .map(|(name, _)| name.split(|byte| *byte == b'/').next().unwrap().to_vec())
        .collect();
    assert_eq!(
        written,
        [b"audit".to_vec(), b"head".to_vec(), b"site".to_vec()]
    );
    // The directory was changed in place: the others are the same allocations.
    assert!(std::sync::Arc::ptr_eq(
        &neighbour,
        &directory.site(SiteId(77)).unwrap()
    ));
    assert_eq!(
        directory.site_by_domain("site-99999.example").unwrap().id,
        SiteId(100_000)
    );
}

#[tokio::test]
async fn what_a_newer_binary_wrote_stops_the_group_and_changes_nothing() {
    let store = ringtail_checkpoint::MemoryStore::new();
    let group = ringtail_checkpoint::CheckpointStore::group(&store, support::GROUP).unwrap();
    let machine =
        ringtail_metadata::MetadataMachine::open(std::sync::Arc::new(store.clone())).unwrap();
    let committed = |bytes: &'static [u8]| ringtail_raft::Committed {
        position: ringtail_raft::LogPosition {
            term: 1,
            node: NodeId(1),
            index: 1.into(),
        },
        body: Body::Command(bytes::Bytes::from_static(bytes)),
    };
    for (bytes, expect) in [
        (&b"\x02rest"[..], "version 2, this binary knows 1"),
        (b"", "it is empty"),
        (b"\x01\xff\xff\xff\xff\xff\xff", "cannot be read"),
    ] {
        let error = machine
            .apply(vec![committed(bytes)])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expect), "{error}");
        assert_eq!(machine.floor_now().position, None);
    }
    let mut batch = ringtail_checkpoint::GroupBatch::new();
    let head = ringtail_checkpoint::GroupKey::named("head");
    batch.put(&head, bytes::Bytes::from_static(b"\x02"));
    group.commit(batch).unwrap();
    let error = ringtail_metadata::MetadataMachine::open(std::sync::Arc::new(store))
        .err()
        .unwrap()
        .to_string();
    assert_eq!(
        error,
        "head row cannot be read: it has version 2, this binary knows 1"
    );
}
