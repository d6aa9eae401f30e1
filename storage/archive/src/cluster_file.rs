//! `v1/cluster.json`: whose archive this is.

use serde::{Deserialize, Serialize};

use crate::{error::ArchiveError, table::FORMAT};

/// Its path below the archive's prefix.
pub(crate) const CLUSTER_FILE: &str = "v1/cluster.json";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClusterFile {
    format: u32,
    cluster: String,
}

impl ClusterFile {
    pub(crate) fn new(cluster: &str) -> Self {
        Self {
            format: FORMAT,
            cluster: cluster.to_owned(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("two plain fields serialize")
    }

    /// Refuses what is not the given cluster's.
    pub(crate) fn check(bytes: &[u8], at: &str, expected: &str) -> Result<(), ArchiveError> {
        let file: Self = serde_json::from_slice(bytes)
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
                at: at.to_owned(),
                found: file.cluster,
                expected: expected.to_owned(),
            });
        }
        Ok(())
    }
}
