//! The mirror holds what the nodes hold.

use crate::{
    load::Load,
    retention::until_metric,
    shared::{Shared, assert_success, start, start_joining, store_init},
    support::ring::{is_settled, until_ring},
};

pub(crate) fn three_nodes(shared: &mut Shared) {
    const KEYSPACE: &str = "three_nodes";
    let mut environment = shared.environment(KEYSPACE);
    environment.push(("RINGTAIL_MIRROR_LOCAL_DAYS", "1".to_owned()));
    let first = start(&environment);
    assert_success(&store_init(&first, &environment));
    // Some of it is there before the others come.
    let mut load = Load::new(shared, &first, 5);
    load.send(shared, &first, 2_000);
    let (second, third) = (
        start_joining(&first, &environment),
        start_joining(&first, &environment),
    );
    let nodes = [first, second, third];
    let token = nodes[0].token();
    for node in &nodes {
        let settled = until_ring(node, &token, "settled on three", |ring| is_settled(ring, 3));
        shared.runtime.block_on(settled);
    }
    for round in 0..6 {
        load.send(shared, &nodes[round % 3], 3_000);
    }
    load.until_equal(shared, &nodes, KEYSPACE);
    // All replicas fold the same bytes: each finds its own pages in the leaders' mirror and gives them up.
    for node in &nodes {
        until_metric(shared, node, "ringtail_mirror_evicted_pages_total", 20);
    }
    load.until_equal(shared, &nodes, KEYSPACE);
}
