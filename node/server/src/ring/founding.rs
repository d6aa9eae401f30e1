//! The birth of a ring.

use ringtail_metadata::{Actor, ClusterId, Command, Description, Limits, METADATA_GROUP, Metadata};
use ringtail_raft::RaftNode;

use crate::{
    data_directory::{FOUNDER, Identity},
    exit::{Exit, ExitError},
};

/// Makes the ring at the first start of its first node; later it does nothing.
pub(crate) async fn found(
    identity: &Identity,
    partitions: u32,
    raft: &RaftNode,
    metadata: &Metadata,
    description: &Description,
    actor: &Actor,
) -> Result<(), ExitError> {
    let directory = metadata.directory();
    if directory.cluster().is_some() && directory.node(FOUNDER).is_some() {
        return Ok(());
    }
    let group = raft.group(METADATA_GROUP);
    let group = group.ok_or_else(|| fail("the metadata's group is not open"))?;
    group.initialize_single().await.map_err(fail)?;
    group.ready().await.map_err(fail)?;
    if directory.cluster().is_none() {
        let init = Command::InitCluster {
            cluster: ClusterId(identity.cluster.as_u128()),
            groups: partitions,
            limits: Limits::default(),
        };
        let made = metadata.execute(init, actor, "first start").await;
        made.map_err(fail)?;
    }
    let register = Command::RegisterNode {
        node: FOUNDER,
        addresses: description.addresses.clone(),
    };
    let registered = metadata.execute(register, actor, "first start").await;
    registered.map(drop).map_err(fail)
}

fn fail(error: impl std::fmt::Display) -> ExitError {
    ExitError::new(Exit::Failure, error)
}
