//! A site's domain, parsed once.

use std::{borrow::Borrow, borrow::Cow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::MetadataError;

/// The longest host name that DNS can carry.
pub const DOMAIN_BYTES_MAX: usize = 253;

/// The longest part between two dots.
const LABEL_BYTES_MAX: usize = 63;

/// A host name in lower case: no scheme, no port, no path. `www.` is part of the name, as it is in Plausible.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Parses what an administrator typed.
    ///
    /// # Errors
    /// [`MetadataError::InvalidDomain`] with the reason.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        let name = Self::normalise(text);
        match fault_of(&name) {
            None => Ok(Self(Arc::from(name.as_ref()))),
            Some(reason) => Err(MetadataError::InvalidDomain {
                domain: text.chars().take(DOMAIN_BYTES_MAX).collect(),
                reason: reason.to_owned(),
            }),
        }
    }

    /// The form under which domains are kept and looked up; copies only when something has to change.
    #[must_use]
    pub fn normalise(text: &str) -> Cow<'_, str> {
        let trimmed = text.trim();
        if trimmed.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(trimmed.to_ascii_lowercase())
        } else {
            Cow::Borrowed(trimmed)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn fault_of(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.contains("://") {
        return Some("leave out the scheme");
    }
    if name.contains('/') {
        return Some("leave out the path");
    }
    if name.contains(':') {
        return Some("leave out the port");
    }
    if !name.is_ascii() {
        return Some("write international names in their xn-- form");
    }
    if name.len() > DOMAIN_BYTES_MAX {
        return Some("it is longer than 253 bytes");
    }
    name.split('.').find_map(fault_of_label)
}

fn fault_of_label(label: &str) -> Option<&'static str> {
    if label.is_empty() {
        return Some("a part between dots is empty");
    }
    if label.len() > LABEL_BYTES_MAX {
        return Some("a part between dots is longer than 63 bytes");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Some("a part between dots begins or ends with a hyphen");
    }
    let is_valid = label
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (!is_valid).then_some("only letters, digits, hyphens, underscores and dots are allowed")
}

impl Deref for Domain {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_host_name_in_lower_case() {
        let check = |text: &str, expect: Option<&str>| {
            let parsed = Domain::parse(text).ok();
            assert_eq!(parsed.as_deref(), expect, "{text:?}");
        };
        check("example.com", Some("example.com"));
        check(" Example.COM ", Some("example.com"));
        check("www.example.com", Some("www.example.com"));
        check("localhost", Some("localhost"));
        check("xn--mller-kva.de", Some("xn--mller-kva.de"));
        check("dev_box.example.com", Some("dev_box.example.com"));
        check("", None);
        check("https://example.com", None);
        check("example.com/shop", None);
        check("example.com:8080", None);
        check("müller.de", None);
        check("example..com", None);
        check("example.com.", None);
        check("-example.com", None);
        check("a b.com", None);
        check("a,b.com", None);
        check(&"a".repeat(64), None);
        check(
            &format!("{}.com", "a".repeat(63)),
            Some(&format!("{}.com", "a".repeat(63))),
        );
        check(&vec!["abc"; 64].join("."), None);
        check("a\0b.com", None);
    }
}
