//! `v1/cluster.json`: whose archive this is.

use serde::{Deserialize, Serialize};

use crate::{archive::Archive, error::ArchiveError, table::FORMAT};

/// Its path below the archive's prefix.
const CLUSTER_FILE: &str = "v1/cluster.json";

#[derive(Debug, Serialize, Deserialize)]
struct ClusterFile {
    format: u32,
    cluster: String,
}

/// Makes an empty place the cluster's, and refuses another's.
pub(crate) async fn claim(archive: &Archive, cluster: &str) -> Result<(), ArchiveError> {
    match archive.read(CLUSTER_FILE, 0).await {
        Ok(bytes) => return check(archive, &bytes, cluster),
        Err(ArchiveError::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    let file = ClusterFile {
        format: FORMAT,
        cluster: cluster.to_owned(),
    };
    let bytes = serde_json::to_vec(&file).expect("two plain fields serialize");
    archive.create(CLUSTER_FILE, bytes.into()).await?;
    // Another node may have been faster: whoever came first has the place.
    check(archive, &archive.read(CLUSTER_FILE, 0).await?, cluster)
}

fn check(archive: &Archive, bytes: &[u8], expected: &str) -> Result<(), ArchiveError> {
    let file: ClusterFile = serde_json::from_slice(bytes)
        .map_err(|error| ArchiveError::damaged(CLUSTER_FILE, error))?;
    if file.format > FORMAT {
        return Err(ArchiveError::Newer {
            path: CLUSTER_FILE.to_owned(),
            found: file.format,
            known: FORMAT,
        });
    }
    if file.cluster != expected {
        return Err(ArchiveError::OtherCluster {
            at: archive.options().location.to_string(),
            found: file.cluster,
            expected: expected.to_owned(),
        });
    }
    Ok(())
}
