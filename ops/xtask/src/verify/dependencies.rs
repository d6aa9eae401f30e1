//! Dependencies point one way: proto ← storage ← cluster ← node. `chaos-tests` may import all, `ops` only proto.
//!
//! The direction keeps the pure core testable without a runtime and lets a storage engineer read storage alone. One
//! owner per heavy dependency keeps its upgrade, and its compile time, in one place.

use std::path::Path;

use crate::workspace::Workspace;

/// A member of the workspace and what its manifest asks for.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    /// Name of the crate.
    pub(crate) name: String,
    /// Its folder, relative to the root: `cluster/raft`.
    pub(crate) folder: String,
    /// Names of its dependencies of every kind: normal, development, build.
    pub(crate) dependencies: Vec<String>,
}

/// Layers from the ground up; a crate may use its own layer and those before it.
const LAYERS: [&str; 4] = ["proto", "storage", "cluster", "node"];

/// Heavy dependencies and the folders that may name them.
const OWNERS: [(&str, &[&str]); 13] = [
    ("openraft", &["cluster/raft"]),
    ("openraft-rt-tokio", &["cluster/raft"]),
    ("actix", &["cluster/partition", "cluster/router"]),
    ("fjall", &["storage/checkpoint"]),
    ("scylla", &["storage/checkpoint"]),
    ("parquet", &["storage/archive"]),
    ("object_store", &["storage/archive"]),
    ("datafusion", &["node/sql"]),
    ("pgwire", &["node/sql"]),
    ("actix-web", &["node/gateway", "node/server"]),
    ("actix-cors", &["node/gateway", "node/server"]),
    ("actix-web-lab", &["node/gateway", "node/server"]),
    ("consistent_hash", &["cluster/ring"]),
];

/// What the pure product core must never reach, beside every crate of ours but proto.
const NOT_IN_THE_PURE_CORE: [&str; 6] =
    ["tokio", "actix", "actix-rt", "futures", "reqwest", "tonic"];

/// Reads the members from cargo's metadata.
pub(crate) fn packages(workspace: &Workspace) -> Vec<Package> {
    let members = workspace.metadata.workspace_packages();
    let package = |member: &&cargo_metadata::Package| Package {
        name: member.name.to_string(),
        folder: folder(&workspace.root, member.manifest_path.as_std_path()),
        dependencies: member
            .dependencies
            .iter()
            .map(|asked| asked.name.clone())
            .collect(),
    };
    members.iter().map(package).collect()
}

fn folder(root: &Path, manifest: &Path) -> String {
    let folder = manifest.parent().unwrap_or(manifest);
    folder
        .strip_prefix(root)
        .unwrap_or(folder)
        .to_string_lossy()
        .into_owned()
}

/// One sentence for each dependency that points the wrong way.
pub(crate) fn violations(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        if package.folder == "chaos-tests" {
            continue;
        }
        for dependency in &package.dependencies {
            let target = packages.iter().find(|other| other.name == *dependency);
            let complaint = match target {
                Some(target) => ours(package, target),
                None => foreign(package, dependency),
            };
            found.extend(complaint);
        }
    }
    found
}

fn ours(package: &Package, target: &Package) -> Option<String> {
    let (from, to) = (&package.folder, &target.folder);
    let only_proto = from.starts_with("ops/") || from == "node/analytics";
    if only_proto && to != "proto" {
        return Some(format!("{from} may import only proto, it asks for {to}"));
    }
    if from.starts_with("ops/") {
        return None;
    }
    match (layer(from), layer(to)) {
        (Some(own), Some(other)) if other <= own => None,
        (Some(_), Some(_)) => Some(format!("{from} is below {to} and may not import it")),
        (None, _) => Some(format!("{from} is in no known layer")),
        (_, None) => Some(format!("{from} may not import {to}")),
    }
}

fn foreign(package: &Package, dependency: &str) -> Option<String> {
    let from = package.folder.as_str();
    if from == "node/analytics" && NOT_IN_THE_PURE_CORE.contains(&dependency) {
        return Some(format!("{from} is pure and may not import {dependency}"));
    }
    let (_, owners) = OWNERS.iter().find(|(name, _)| *name == dependency)?;
    if owners.contains(&from) {
        return None;
    }
    Some(format!(
        "{from} imports {dependency}, which only {} may",
        owners.join(" and ")
    ))
}

fn layer(folder: &str) -> Option<usize> {
    let top = folder.split('/').next()?;
    LAYERS.iter().position(|layer| *layer == top)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, dependencies: &[&str]) -> Package {
        Package {
            name: folder.replace('/', "-"),
            folder: folder.to_owned(),
            dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// A small house in order, and one more crate with one planted dependency.
    fn check(folder: &str, dependency: &str, expect: &[&str]) {
        let packages = [
            package("proto", &[]),
            package("storage/log", &["proto"]),
            package("cluster/raft", &["proto", "storage-log", "openraft"]),
            package("node/server", &["cluster-raft", "proto", "actix-web"]),
            package("chaos-tests", &["node-server", "actix-web"]),
            package(folder, &[dependency]),
        ];
        assert_eq!(violations(&packages), expect, "{folder} → {dependency}");
    }

    #[test]
    fn dependencies_that_point_down_are_fine() {
        check("node/query", "cluster-raft", &[]);
        check("node/query", "node-server", &[]);
        check("cluster/router", "actix", &[]);
        check("ops/xtask", "proto", &[]);
        check("node/analytics", "proto", &[]);
    }

    #[test]
    fn a_planted_dependency_upwards_is_found() {
        check(
            "storage/checkpoint",
            "cluster-raft",
            &["storage/checkpoint is below cluster/raft and may not import it"],
        );
        check(
            "cluster/ring",
            "node-server",
            &["cluster/ring is below node/server and may not import it"],
        );
        check(
            "node/query",
            "chaos-tests",
            &["node/query may not import chaos-tests"],
        );
        check(
            "extra/thing",
            "proto",
            &["extra/thing is in no known layer"],
        );
    }

    #[test]
    fn ops_and_the_pure_core_import_only_proto() {
        check(
            "ops/xtask",
            "storage-log",
            &["ops/xtask may import only proto, it asks for storage/log"],
        );
        check(
            "node/analytics",
            "storage-log",
            &["node/analytics may import only proto, it asks for storage/log"],
        );
        check(
            "node/analytics",
            "tokio",
            &["node/analytics is pure and may not import tokio"],
        );
    }

    #[test]
    fn a_heavy_dependency_has_one_owner() {
        check(
            "node/query",
            "openraft",
            &["node/query imports openraft, which only cluster/raft may"],
        );
        check(
            "node/query",
            "actix-web",
            &["node/query imports actix-web, which only node/gateway and node/server may"],
        );
    }

    #[test]
    fn this_workspace_is_read_from_cargo() {
        let workspace = Workspace::find().expect("the repository has a manifest");
        let packages = packages(&workspace);
        let proto = packages.iter().find(|package| package.folder == "proto");
        assert_eq!(
            proto.map(|package| package.name.as_str()),
            Some("ringtail-proto")
        );
    }
}
