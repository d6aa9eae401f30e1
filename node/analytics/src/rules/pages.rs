//! Rewrites of pages.

use std::borrow::Cow;

use bytes::Bytes;
use regex::bytes::Regex;

use super::{
    PageRewrite, RuleSet, RuleSetError,
    error::{list_fits, text_fits},
    pattern::{Budget, expression},
    template::Template,
};

/// Rewrites of pages, compiled.
#[derive(Clone, Debug)]
pub(super) struct Pages(Vec<Rewrite>);

#[derive(Clone, Debug)]
enum Rewrite {
    Replace(Regex, Template),
    LowerCase,
    DropTrailingSlash,
    DropPrefix(String),
    DropQuery,
}

impl Pages {
    pub(super) fn compile(rules: &[PageRewrite], budget: Budget) -> Result<Self, RuleSetError> {
        list_fits("pages", rules.len(), RuleSet::PAGES_MAX)?;
        let compiled = rules.iter().enumerate().map(|(position, rule)| {
            let at = format!("pages[{position}]");
            Ok(match rule {
                PageRewrite::Replace { pattern, with } => replace(&at, pattern, with, budget)?,
                PageRewrite::LowerCase => Rewrite::LowerCase,
                PageRewrite::DropTrailingSlash => Rewrite::DropTrailingSlash,
                PageRewrite::DropPrefix(prefix) => {
                    let at = format!("{at}.drop_prefix");
                    text_fits(&at, prefix, RuleSet::PATTERN_BYTES_MAX)?;
                    let prefix = prefix.trim_end_matches('/');
                    text_fits(&at, prefix, RuleSet::PATTERN_BYTES_MAX)?;
                    Rewrite::DropPrefix(prefix.to_owned())
                }
                PageRewrite::DropQuery => Rewrite::DropQuery,
            })
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// The page under the rules; none when they do not change it.
    pub(super) fn rewritten(&self, page: &[u8]) -> Option<Bytes> {
        // As the site's state reads a page that is not UTF-8.
        let original = String::from_utf8_lossy(page);
        let mut text = Cow::Borrowed(original.as_ref());
        for rewrite in &self.0 {
            if let Some(changed) = rewrite.run(&text) {
                text = Cow::Owned(cut(changed));
            }
        }
        match text.as_ref() == original.as_ref() {
            true => None,
            false => Some(Bytes::copy_from_slice(text.as_bytes())),
        }
    }
}

impl Rewrite {
    /// The page after this rewrite; none when it stays.
    fn run(&self, page: &str) -> Option<String> {
        let (path, query) = page.split_at(page.find(['?', '#']).unwrap_or(page.len()));
        match self {
            Self::Replace(regex, template) => replaced(regex, template, page),
            Self::LowerCase => page
                .bytes()
                .any(|byte| byte.is_ascii_uppercase())
                .then(|| page.to_ascii_lowercase()),
            Self::DropTrailingSlash => {
                let kept = path.trim_end_matches('/');
                let is_changed = kept.len() < path.len() && path != "/";
                is_changed.then(|| rooted(kept, query))
            }
            Self::DropPrefix(prefix) => {
                let rest = path.strip_prefix(prefix.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then(|| rooted(rest, query))
            }
            Self::DropQuery => (!query.is_empty()).then(|| rooted(path, "")),
        }
    }
}

fn replace(at: &str, pattern: &str, with: &str, budget: Budget) -> Result<Rewrite, RuleSetError> {
    let regex = expression(&format!("{at}.replace"), pattern, budget)?;
    let at = format!("{at}.with");
    if !with.is_empty() {
        text_fits(&at, with, RuleSet::REPLACEMENT_BYTES_MAX)?;
    }
    let template = Template::parse(&at, with, &regex)?;
    Ok(Rewrite::Replace(regex, template))
}

/// Stops as soon as the limit is reached, so that no expression can make much out of little. A replacement that would break a
/// letter of several bytes apart is none.
fn replaced(regex: &Regex, template: &Template, page: &str) -> Option<String> {
    let bytes = page.as_bytes();
    let mut output = Vec::new();
    let mut copied = 0;
    let mut is_found = false;
    for found in regex.captures_iter(bytes) {
        is_found = true;
        let matched = found.get_match();
        output.extend_from_slice(bytes.get(copied..matched.start()).unwrap_or_default());
        template.expand(&found, &mut output);
        copied = matched.end();
        if output.len() > RuleSet::PAGE_BYTES_MAX {
            copied = bytes.len();
            break;
        }
    }
    if !is_found {
        return None;
    }
    output.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    let text = String::from_utf8(output).ok()?;
    Some(match text.is_empty() {
        true => "/".to_owned(),
        false => text,
    })
}

fn rooted(path: &str, query: &str) -> String {
    let path = if path.is_empty() { "/" } else { path };
    format!("{path}{query}")
}

fn cut(mut page: String) -> String {
    page.truncate(page.floor_char_boundary(RuleSet::PAGE_BYTES_MAX));
    page
}
