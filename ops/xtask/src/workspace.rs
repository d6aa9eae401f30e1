//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::Context;
use cargo_metadata::{Metadata, MetadataCommand};

/// The repository and its build folder.
pub(crate) struct Workspace {
    /// Folder of the virtual manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds; follows `CARGO_TARGET_DIR`.
    pub(crate) target: PathBuf,
    /// What cargo says about the members and their direct dependencies.
    pub(crate) metadata: Metadata,
}

/// The two folders with web files to build.
pub(crate) const FRONT_ENDS: [&str; 2] = ["node/tracker", "node/dashboard"];

impl Workspace {
    /// Asks cargo; works from any folder of the repository.
    pub(crate) fn find() -> anyhow::Result<Self> {
        // As cargo says now, not as it said when this was compiled: two checkouts may share a folder of builds.
        let crate_dir = std::env::var_os("CARGO_MANIFEST_DIR");
        let crate_dir = crate_dir.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let manifest = Path::new(&crate_dir).join("../../Cargo.toml");
        let metadata = MetadataCommand::new()
            .manifest_path(&manifest)
            .no_deps()
            .exec()
            .with_context(|| format!("cargo metadata of {}", manifest.display()))?;
        Ok(Self {
            root: metadata.workspace_root.clone().into(),
            target: metadata.target_directory.clone().into(),
            metadata,
        })
    }

    /// The binary of this profile, built or not.
    pub(crate) fn binary(&self, profile: &str) -> PathBuf {
        self.target.join(profile).join("ringtail")
    }

    /// The binary that has the switch for planted bugs; kept apart, so that nobody serves with it by mistake.
    pub(crate) fn planted_binary(&self) -> PathBuf {
        self.target.join("debug/planted/ringtail")
    }
}
