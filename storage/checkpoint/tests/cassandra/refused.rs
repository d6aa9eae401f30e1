//! Why a mirror is not opened.

use std::collections::BTreeMap;

use ringtail_checkpoint::cassandra::{
    CassandraOptions, Mirror, MirrorError, Replication, SCHEMA_VERSION, init,
};
use ringtail_proto::GroupId;
use uuid::Uuid;

use crate::server::{CLUSTER, Server, until, value};

fn with_keyspace(server: &Server, keyspace: &str) -> CassandraOptions {
    CassandraOptions {
        keyspace: keyspace.to_owned(),
        ..server.options()
    }
}

fn open(server: &Server, options: &CassandraOptions, cluster: Uuid) -> Result<(), MirrorError> {
    let opened = Mirror::open(options.clone(), cluster);
    server.runtime.block_on(opened).map(drop)
}

fn make(server: &Server, options: &CassandraOptions, cluster: Uuid) -> Result<(), MirrorError> {
    let made = init(options, &Replication::Simple(1), cluster);
    server.runtime.block_on(made)
}

pub(crate) fn reasons(server: &mut Server) {
    let options = with_keyspace(server, "reasons");
    let session = server.session();
    let check = |options: &CassandraOptions, expect: &str| {
        let error = open(server, options, CLUSTER).unwrap_err();
        assert!(
            error.to_string().contains(expect),
            "{error} lacks {expect:?}"
        );
    };
    let nobody = CassandraOptions {
        nodes: vec!["127.0.0.1:1".to_owned()],
        ..options.clone()
    };
    check(&nobody, "no server is reached at 127.0.0.1:1");
    let nowhere = CassandraOptions {
        datacenter: Some("atlantis".to_owned()),
        ..options.clone()
    };
    check(
        &nowhere,
        "no server is in data centre \"atlantis\", there are [\"datacenter1\"]",
    );
    check(&options, "keyspace reasons does not exist");
    let elsewhere = BTreeMap::from([("atlantis".to_owned(), 1)]);
    let elsewhere = Replication::Datacenters(elsewhere);
    let made = init(&options, &elsewhere, CLUSTER);
    let refused = server.runtime.block_on(made);
    assert!(
        matches!(refused, Err(MirrorError::Refused { .. })),
        "{refused:?}"
    );
    // As an operator makes it, who wants to choose.
    server.run(
        &session,
        "CREATE KEYSPACE reasons WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}",
    );
    check(
        &options,
        "keyspace reasons has no tables [\"clusters\", \"row_versions\", ",
    );
    make(server, &options, CLUSTER).unwrap();
    open(server, &options, CLUSTER).unwrap();
    make(server, &options, CLUSTER).unwrap();
    open(server, &options, CLUSTER).unwrap();
    for (schema, expect) in [
        (SCHEMA_VERSION - 1, "this binary needs 1"),
        (SCHEMA_VERSION + 1, "this binary knows up to 1"),
    ] {
        let set = |schema: i32| {
            let text = format!(
                "INSERT INTO reasons.clusters (name, cluster, schema_version) VALUES ('ringtail', {CLUSTER}, {schema})"
            );
            server.run(&session, &text);
        };
        set(schema);
        check(&options, expect);
        let error = make(server, &options, CLUSTER).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        set(SCHEMA_VERSION);
    }
    server.run(&session, "DROP TABLE reasons.buckets");
    check(&options, "keyspace reasons has no tables [\"buckets\"]");
    make(server, &options, CLUSTER).unwrap();
    server.run(&session, "TRUNCATE reasons.clusters");
    check(&options, "keyspace reasons belongs to no cluster yet");
    server.run(&session, "DROP KEYSPACE reasons");
}

pub(crate) fn other_cluster(server: &mut Server) {
    let options = with_keyspace(server, "others");
    let other = Uuid::from_u128(8);
    make(server, &options, CLUSTER).unwrap();
    let expected = MirrorError::OtherCluster {
        keyspace: "others".to_owned(),
        found: CLUSTER,
        own: other,
    };
    assert_eq!(make(server, &options, other), Err(expected.clone()));
    assert_eq!(open(server, &options, other), Err(expected));
    open(server, &options, CLUSTER).unwrap();
    // Both at once: never does each believe that it has the keyspace.
    let session = server.session();
    for round in 0..5 {
        server.run(&session, "TRUNCATE others.clusters");
        let (left, right) = server.runtime.block_on(async {
            let replication = Replication::Simple(1);
            futures::join!(
                init(&options, &replication, CLUSTER),
                init(&options, &replication, other)
            )
        });
        let owners = [(CLUSTER, left), (other, right)]
            .map(|(cluster, made)| (made.is_ok(), open(server, &options, cluster).is_ok()));
        assert!(
            owners.iter().filter(|(made, _)| *made).count() <= 1,
            "round {round}: {owners:?}"
        );
        for (made, opened) in owners {
            assert_eq!(made, opened, "round {round}: {owners:?}");
        }
    }
    server.run(&session, "DROP KEYSPACE others");
}

/// The server is started again so that it asks for passwords, and as it was at the end.
pub(crate) fn rights(server: &mut Server) {
    restart(
        server,
        &[
            ("authenticator", Some("PasswordAuthenticator")),
            ("authorizer", Some("CassandraAuthorizer")),
            ("permissions_validity", Some("0ms")),
        ],
    );
    let login = |user: &str, password: &str| CassandraOptions {
        login: Some((user.to_owned(), password.to_owned())),
        ..server.options()
    };
    let root = login("cassandra", "cassandra");
    // The first user comes a little after the first answer.
    until("the first user may log in", || {
        open(server, &root, CLUSTER).is_ok()
    });
    let error = open(server, &server.options(), CLUSTER).unwrap_err();
    assert!(
        matches!(error, MirrorError::NotAuthenticated { .. }),
        "{error}"
    );
    let error = open(server, &login("cassandra", "wrong"), CLUSTER).unwrap_err();
    assert!(
        matches!(error, MirrorError::NotAuthenticated { .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("wrong\""), "{error}");
    let session = server.session_as("cassandra", "cassandra");
    let keyspace = &root.keyspace;
    server.run(
        &session,
        "CREATE ROLE reader WITH PASSWORD = 'r' AND LOGIN = true",
    );
    let reader = login("reader", "r");
    let no_permission = |outcome: Result<(), MirrorError>| match outcome {
        Err(MirrorError::NoPermission { user, message }) => assert_eq!(user, "reader", "{message}"),
        outcome => panic!("{outcome:?}"),
    };
    no_permission(open(server, &reader, CLUSTER));
    let elsewhere = CassandraOptions {
        keyspace: "forbidden".to_owned(),
        ..reader.clone()
    };
    no_permission(make(server, &elsewhere, CLUSTER));
    server.run(
        &session,
        &format!("GRANT SELECT ON KEYSPACE {keyspace} TO reader"),
    );
    no_permission(open(server, &reader, CLUSTER));
    server.run(
        &session,
        &format!("GRANT MODIFY ON KEYSPACE {keyspace} TO reader"),
    );
    let mirror = server
        .runtime
        .block_on(Mirror::open(reader.clone(), CLUSTER))
        .unwrap();
    // The right is taken away while the mirror is open.
    let changes = vec![(ringtail_proto::SiteRow::Site, value("1"))];
    server.write(&mirror, GroupId(80), 1, &changes).unwrap();
    server.run(
        &session,
        &format!("REVOKE MODIFY ON KEYSPACE {keyspace} FROM reader"),
    );
    until("the right is gone", || {
        matches!(
            server.write_once(&mirror, GroupId(80), 2, &changes),
            Err(MirrorError::NoPermission { .. })
        )
    });
    drop((session, mirror));
    restart(
        server,
        &[
            ("authenticator", None),
            ("authorizer", None),
            ("permissions_validity", None),
        ],
    );
    open(server, &server.options(), CLUSTER).unwrap();
}

fn restart(server: &mut Server, settings: &[(&str, Option<&str>)]) {
    let node = server.cassandra.node(0);
    // It loses nothing by that, and asking it to stop takes seconds.
    node.kill();
    for (name, value) in settings {
        node.set(name, *value);
    }
    node.start().unwrap();
}
