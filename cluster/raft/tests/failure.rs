//! Groups that end although nobody ended them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use futures::FutureExt;
use ringtail_log::FaultDisk;
use ringtail_proto::GroupId;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_ends_by_itself_is_told_and_one_that_was_closed_is_not() {
    let node = start_node(&FaultDisk::new());
    let other = GroupId(GROUP.0 + 1);
    let closed = TestMachine::open(&Store::default());
    let opened = node.open_group(other, closed).await.unwrap();
    opened.initialize_single().await.unwrap();
    opened.ready().await.unwrap();
    let machine = TestMachine::open(&Store::default());
    let group = open_single(&node, &machine).await;
    node.close_group(other).await.unwrap();
    assert!(node.failed().now_or_never().is_none());
    machine.gate.close();
    let proposal = group.propose(command(1)).await.unwrap();
    proposal.applied().await.unwrap_err();
    let told = tokio::time::timeout(Duration::from_secs(30), node.failed()).await;
    let told = told.unwrap().to_string();
    let expect = format!("group {GROUP} has stopped: ");
    assert!(told.starts_with(&expect), "{told}");
}
