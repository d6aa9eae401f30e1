//! The replacement of a page rewrite: text with groups of the expression in it.

use regex::bytes::{Captures, Regex};

use super::RuleSetError;

/// `$1`, `${1}`, `$name` and `${name}` stand for groups, `$$` for a dollar sign.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    /// Reads a replacement for an expression.
    ///
    /// # Errors
    /// When it names a group that the expression does not have: it would silently stand for nothing.
    pub(super) fn parse(at: &str, text: &str, regex: &Regex) -> Result<Self, RuleSetError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            parts.push(Part::Text(before.to_owned()));
            if let Some(after) = after.strip_prefix('$') {
                parts.push(Part::Text("$".to_owned()));
                rest = after;
                continue;
            }
            let (name, after) = name_of(after);
            parts.push(Part::Group(group_of(at, name, regex)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }

    pub(super) fn expand(&self, found: &Captures<'_>, output: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => output.extend_from_slice(text.as_bytes()),
                Part::Group(group) => {
                    let group = found.get(*group).map(|group| group.as_bytes());
                    output.extend_from_slice(group.unwrap_or_default());
                }
            }
        }
    }
}

/// The name behind a dollar sign, and what comes after it.
fn name_of(text: &str) -> (&str, &str) {
    if let Some((name, after)) = text
        .strip_prefix('{')
        .and_then(|inner| inner.split_once('}'))
    {
        return (name, after);
    }
    let end = text
        .find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_')
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn group_of(at: &str, name: &str, regex: &Regex) -> Result<usize, RuleSetError> {
    let by_number = name
        .parse()
        .ok()
        .filter(|group| *group < regex.captures_len());
    let by_name = || regex.capture_names().position(|known| known == Some(name));
    by_number
        .or_else(by_name)
        .ok_or_else(|| RuleSetError::Pattern {
            at: at.to_owned(),
            message: format!(
                "the expression has no group {name:?}; write `${{1}}x` for group 1 before a letter, `$$` for a dollar sign"
            ),
        })
}
