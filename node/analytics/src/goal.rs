//! Goals: which events meet them.

use ringtail_proto::{UnixMillis, stored};
use serde::{Deserialize, Serialize};

/// A goal of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Its id; as decimal text it is the value of the goal dimension.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Events before its creation do not meet it.
    pub since: UnixMillis,
    /// What meets it.
    pub condition: Condition,
}

/// What meets a goal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// An event with exactly this name.
    EventName(String),
    /// A page view whose path matches: `*` stands for a run without `/`, `**` for any run.
    PagePattern(String),
}

impl Goal {
    /// Reads the goal of a settings command; one without a condition is met by nothing and left out.
    pub(crate) fn from_command(goal: &stored::Goal) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let condition = match goal.condition.as_ref()? {
            stored::goal::Condition::EventName(name) => Condition::EventName(text(name)),
            stored::goal::Condition::PagePattern(pattern) => Condition::PagePattern(text(pattern)),
        };
        Some(Self {
            id: goal.id,
            name: text(&goal.name),
            since: UnixMillis(goal.since_ms),
            condition,
        })
    }

    /// True when an event of this name, page and time meets the goal.
    #[must_use]
    pub fn is_met(&self, name: &str, page: &str, time: UnixMillis) -> bool {
        if time < self.since {
            return false;
        }
        match &self.condition {
            Condition::EventName(wanted) => wanted == name,
            Condition::PagePattern(pattern) => {
                name == "pageview" && matches(pattern.as_bytes(), page.as_bytes())
            }
        }
    }
}

/// Matches with two remembered branch points, one for the latest `**` and one for the latest `*` after it: time grows
/// with the product of the lengths, never exponentially.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    let mut any_run: Option<(usize, usize)> = None;
    let mut segment_run: Option<(usize, usize)> = None;
    loop {
        let rest = pattern.get(at..).unwrap_or_default();
        if rest.starts_with(b"**") {
            at += 2;
            any_run = Some((at, pos));
            segment_run = None;
            continue;
        }
        if rest.first() == Some(&b'*') {
            at += 1;
            segment_run = Some((at, pos));
            continue;
        }
        match (rest.first(), path.get(pos)) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found => {
                at += 1;
                pos += 1;
                continue;
            }
            _ => {}
        }
        if let Some((after, tried)) = segment_run
            && path.get(tried).is_some_and(|byte| *byte != b'/')
        {
            segment_run = Some((after, tried + 1));
            (at, pos) = (after, tried + 1);
            continue;
        }
        match any_run {
            Some((after, tried)) if tried < path.len() => {
                any_run = Some((after, tried + 1));
                segment_run = None;
                (at, pos) = (after, tried + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    fn check(pattern: &str, path: &str, expect: bool) {
        assert_eq!(
            matches(pattern.as_bytes(), path.as_bytes()),
            expect,
            "{pattern} against {path}"
        );
    }

    #[test]
    fn a_star_stays_within_a_segment_and_two_cross() {
        check("/thanks", "/thanks", true);
        check("/thanks", "/thanks/", false);
        check("/blog/*", "/blog/a", true);
        check("/blog/*", "/blog/a/b", false);
        check("/blog/**", "/blog/a/b", true);
        check("/blog/**", "/blog", false);
        check("**/done", "/a/b/done", true);
        check("/*/x/*", "/a/x/b", true);
        check("/*/x/*", "/a/b/x/c", false);
        check("/**/x/*", "/a/b/x/c", true);
        check("/**/x/*", "/a/x/b/x/c", true);
        check("/**/x/*", "/a/x/b/x/c/d", false);
        check("*", "", true);
        check("**", "/any/thing", true);
        check("/a*c", "/abc", true);
        check("/a*c", "/ab/c", false);
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = "*a**".repeat(30);
        check(&pattern, &"b".repeat(2_000), false);
    }
}
