//! What a node does that cannot mirror yet, or never will.

use serde_json::json;

use crate::{
    load::Load,
    shared::{Shared, assert_success, start, store_init},
    support::{Node, refused_start_in},
};

pub(crate) fn before_init(shared: &mut Shared) {
    let environment = shared.environment("before_init");
    let node = start(&environment);
    shared.until_mirror(&node, "told of the keyspace", |mirror| {
        let said = mirror["error"].as_str().unwrap_or_default();
        mirror["state"] == json!("connecting") && said.contains("store init")
    });
    let mut load = Load::new(shared, &node, 1);
    load.send(shared, &node, 20);
    let shown = String::from_utf8(node.cli(&["status"]).stdout).unwrap();
    assert!(shown.contains("mirror: connecting"), "{shown}");

    assert_success(&store_init(&node, &environment));
    assert_success(&store_init(&node, &environment));
    shared.until_mirror(&node, "up", |mirror| mirror["state"] == json!("up"));
    load.until_equal(shared, &[node], "before_init");
}

pub(crate) fn other_ring(shared: &mut Shared) {
    let environment = shared.environment("other_ring");
    let (theirs, ours) = (start(&environment), start(&environment));
    assert_success(&store_init(&theirs, &environment));
    let refused = store_init(&ours, &environment);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("belongs to cluster"), "{said}");
    shared.until_mirror(&ours, "told whose it is", |mirror| {
        let said = mirror["error"].as_str().unwrap_or_default();
        said.contains("belongs to cluster")
    });
    let mut load = Load::new(shared, &ours, 1);
    load.send(shared, &ours, 5);
}

pub(crate) fn bad_configuration(_: &mut Shared) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ringtail.toml");
    for (text, expect) in [
        (
            "mirror_nodes = [\"127.0.0.1:1\"]\nmirror_keyspace = \"no such name\"\n",
            "a keyspace is named by",
        ),
        (
            "mirror_nodes = [\"127.0.0.1:1\"]\nmirror_user = \"u\"\nmirror_password_file = \"/nowhere\"\n",
            "mirror_password_file /nowhere",
        ),
    ] {
        std::fs::write(&config, text).unwrap();
        let data = tempfile::tempdir().unwrap();
        let said = refused_start_in(&data, &["--config", config.to_str().unwrap()]);
        assert!(said.contains(expect), "{said}");
    }
    // Nobody answers there, and the node serves all the same.
    let away = [("RINGTAIL_MIRROR_NODES", "[\"127.0.0.1:1\"]")];
    let node = Node::start_with(tempfile::tempdir().unwrap(), &[], &away);
    let shown = String::from_utf8(node.cli(&["status"]).stdout).unwrap();
    assert!(shown.contains("mirror: connecting"), "{shown}");
}
