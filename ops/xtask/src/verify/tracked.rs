//! Rules over the files that git tracks: a clone must not carry the names of the machine that made it.

use std::{fs, path::Path};

use anyhow::Context;

use crate::run::{command, read};

/// The one source that every cargo lock file names, whichever mirror served the build.
const CARGO_SOURCE: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// Paths of all tracked files, and of new ones that nothing ignores, relative to the root.
pub(crate) fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let arguments = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let listed = read(&mut command(root, "git", &arguments))?;
    let names = listed.split('\0').filter(|name| root.join(name).is_file());
    Ok(names.map(str::to_owned).collect())
}

/// The file's text; none when it is binary.
pub(crate) fn text(root: &Path, file: &str) -> anyhow::Result<Option<String>> {
    let bytes = fs::read(root.join(file)).with_context(|| file.to_owned())?;
    Ok(String::from_utf8(bytes).ok())
}

/// Lock files hold names and hashes, no address of whichever registry answered.
pub(crate) fn lock_file_violations(root: &Path, files: &[String]) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for file in files {
        let is_npm = file.ends_with("package-lock.json");
        if !is_npm && !file.ends_with("Cargo.lock") {
            continue;
        }
        for (number, line) in text(root, file)?.unwrap_or_default().lines().enumerate() {
            if names_a_registry(line.trim(), is_npm) {
                found.push(format!(
                    "{file}:{}: names a registry: {}",
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    Ok(found)
}

fn names_a_registry(line: &str, is_npm: bool) -> bool {
    if is_npm {
        return line.starts_with("\"resolved\"");
    }
    line.starts_with("source = ") && line != CARGO_SOURCE
}

/// No absolute path of a person's machine and no host name of this one.
pub(crate) fn machine_names(root: &Path, files: &[String]) -> anyhow::Result<Vec<String>> {
    // Put together here, so that this file does not complain about itself.
    let mut names: Vec<String> = ["work", "root", "Users", "home"]
        .iter()
        .map(|folder| format!("/{folder}/"))
        .collect();
    names.push(root.to_string_lossy().into_owned());
    let mut found = Vec::new();
    for file in files {
        for (number, line) in text(root, file)?.unwrap_or_default().lines().enumerate() {
            if let Some(name) = names.iter().find(|name| names_path(line, name)) {
                found.push(format!("{file}:{}: absolute path {name}", number + 1));
            }
        }
    }
    Ok(found)
}

/// True when the path begins here, rather than in the middle of a URL or of a relative path.
fn names_path(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || "./-_~*})]$".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_path_is_told_from_a_url() {
        let root = format!("/{}/", "root");
        assert!(names_path(&format!("see {root}notes"), &root));
        assert!(!names_path(
            &format!("https://example.org{root}notes"),
            &root
        ));
        assert!(!names_path("see rooted/notes", &root));
    }

    #[test]
    fn a_mirror_in_a_lock_file_is_found() {
        assert!(names_a_registry(
            "\"resolved\": \"https://mirror.example/a.tgz\",",
            true
        ));
        assert!(!names_a_registry("\"integrity\": \"sha512-x\",", true));
        assert!(names_a_registry(
            "source = \"registry+https://mirror.example\"",
            false
        ));
        assert!(!names_a_registry(CARGO_SOURCE, false));
    }
}
