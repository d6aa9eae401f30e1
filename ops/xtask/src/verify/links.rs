//! Links between our own pages lead somewhere.

use std::path::Path;

use super::tracked::text;

/// One sentence for each relative link without a target.
pub(crate) fn broken(root: &Path, files: &[String]) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".md")) {
        let folder = root.join(file);
        let folder = folder.parent().unwrap_or(root);
        for target in targets(&text(root, file)?.unwrap_or_default()) {
            if !folder.join(&target).exists() {
                found.push(format!("{file}: link to {target} leads nowhere"));
            }
        }
    }
    Ok(found)
}

/// Relative targets of `[text](target)`, without the heading they point at.
fn targets(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in page.split("](").skip(1) {
        let Some((target, _)) = part.split_once(')') else {
            continue;
        };
        let path = target.split('#').next().unwrap_or_default();
        if !path.is_empty() && !path.contains(':') {
            found.push(path.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_targets_are_followed() {
        let page = "[a](x.md) [b](https://example.org/y) [c](#here) [d](../z.md#there)";
        assert_eq!(targets(page), ["x.md", "../z.md"]);
    }
}
