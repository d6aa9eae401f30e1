//! The top level has exactly the rooms that the code map names: a newcomer finds everything from one page.

use std::collections::BTreeSet;

/// Everything that may lie at the top, and must.
const TOP_LEVEL: [&str; 15] = [
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".gitignore",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "chaos-tests",
    "cluster",
    "node",
    "ops",
    "proto",
    "storage",
];

/// One sentence for each name too many or too few.
pub(crate) fn violations(files: &[String]) -> Vec<String> {
    let known: BTreeSet<&str> = TOP_LEVEL.into_iter().collect();
    let found: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.split('/').next())
        .collect();
    let extra = found
        .difference(&known)
        .map(|name| format!("{name} has no place at the top level"));
    let missing = known
        .difference(&found)
        .map(|name| format!("{name} is missing at the top level"));
    extra.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_and_a_missing_name_are_found() {
        let rooms = TOP_LEVEL.iter().filter(|name| **name != "storage");
        let mut files: Vec<String> = rooms.map(|name| format!("{name}/file")).collect();
        files.push("notes.txt".to_owned());
        assert_eq!(
            violations(&files),
            [
                "notes.txt has no place at the top level",
                "storage is missing at the top level"
            ]
        );
    }
}
