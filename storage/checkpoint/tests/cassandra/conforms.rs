//! The one suite that every store passes.

use std::sync::Arc;

use bytes::Bytes;
use ringtail_checkpoint::{CheckpointStore, GroupBatch, GroupKey, conformance};
use ringtail_proto::GroupId;

use crate::server::{KEYSPACE, SITE, Server, page};

pub(crate) fn all(server: &mut Server) {
    let session = server.session();
    conformance::check_all(|| {
        for table in ["row_versions", "sites", "buckets", "row_sets"] {
            server.run(&session, &format!("TRUNCATE {KEYSPACE}.{table}"));
        }
        server.store()
    });
}

/// What was persisted is there for another session that knows nothing of the first.
pub(crate) fn reopened(server: &mut Server) {
    conformance::check_reopen(|| server.store());
}

/// A killed process of ours leaves its rows behind, and its session, which the server does not know to be dead.
pub(crate) fn replaced_and_killed(server: &mut Server) {
    let session = server.session();
    server.run(&session, &format!("TRUNCATE {KEYSPACE}.row_sets"));
    let mut killed: Vec<Arc<dyn CheckpointStore>> = Vec::new();
    conformance::check_replace_and_kill(|| {
        let store = server.store();
        killed.push(store.clone());
        store
    });
}

/// What a commit leaves that was cut off before its head: rows of a version that nobody sees. Later commits must not
/// show them.
pub(crate) fn cut_off(server: &mut Server) {
    let group = GroupId(40);
    let commit = |store: &Arc<dyn CheckpointStore>, week: i64, text: &'static str| {
        let mut batch = GroupBatch::new();
        batch.put(
            &GroupKey::Site(SITE, page(week)),
            Bytes::from_static(text.as_bytes()),
        );
        store.group(group).unwrap().commit(batch).unwrap();
    };
    let get = |store: &Arc<dyn CheckpointStore>, week: i64| {
        let snapshot = store.group(group).unwrap().snapshot();
        snapshot.get(&GroupKey::Site(SITE, page(week))).unwrap()
    };
    let store = server.store();
    commit(&store, 1, "first");
    commit(&store, 2, "cut off");
    let session = server.session();
    let text = format!(
        "SELECT incarnation, version FROM {KEYSPACE}.row_versions WHERE group_id = 40 AND site = 0 ALLOW FILTERING"
    );
    let answer = server
        .runtime
        .block_on(session.query_unpaged(text, ()))
        .unwrap();
    let answer = answer.into_rows_result().unwrap();
    let heads: Vec<(uuid::Uuid, i64)> = answer.rows().unwrap().map(Result::unwrap).collect();
    let (incarnation, newest) = heads
        .iter()
        .max_by_key(|(_, version)| *version)
        .copied()
        .unwrap();
    assert_eq!((heads.len(), newest), (2, 2));
    // As if the process had been killed before the second head.
    server.run(
        &session,
        &format!(
            "DELETE FROM {KEYSPACE}.row_versions USING TIMESTAMP 2 WHERE incarnation = {incarnation} AND group_id = 40 \
             AND site = 0 AND generation = 0 AND bucket = {} AND row_key = 0x01{} AND version = 2",
            i64::MIN + 1,
            "ff".repeat(256)
        ),
    );
    let next = server.store();
    assert_eq!(get(&next, 1).as_deref(), Some(&b"first"[..]));
    assert_eq!(get(&next, 2), None);
    commit(&next, 3, "third");
    assert_eq!(
        get(&next, 2),
        None,
        "the next commit shows what was cut off"
    );
    commit(&next, 2, "again");
    assert_eq!(get(&server.store(), 2).as_deref(), Some(&b"again"[..]));
    assert_eq!(get(&server.store(), 3).as_deref(), Some(&b"third"[..]));
}
