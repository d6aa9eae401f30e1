//! What a text is compared with.

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};

use super::{RuleSet, RuleSetError, error::text_fits};

/// What a text is compared with. Upper and lower case of ASCII letters are the same to all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// The text contains this.
    Contains(String),
    /// The whole text is this; `*` stands for any run of signs. The empty one means that there is no text.
    Whole(String),
    /// A regular expression finds something in the text. It knows ASCII: `\w`, `\d`, `\b` and `.` go by bytes.
    Regex(String),
}

/// How much a compiled expression may take, in bytes.
///
/// A rule set is accepted under the strict budget and applied under the wide one: a later version of the regex library
/// that needs more for the same expression still has to apply what was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    Strict,
    Wide,
}

impl Budget {
    /// A set of patterns that are matched at once.
    const SET_BYTES_MAX: usize = 6 << 20;
    /// One expression.
    const REGEX_BYTES_MAX: usize = 256 << 10;
    /// What matching may keep to be fast; beyond it, it is only slower.
    const CACHE_BYTES_MAX: usize = 512 << 10;

    const fn of(self, bytes_max: usize) -> usize {
        match self {
            Self::Strict => bytes_max,
            Self::Wide => 4 * bytes_max,
        }
    }
}

impl Pattern {
    /// How a rule file writes it: `/…/` is a regular expression, anything else a part of the text.
    #[must_use]
    pub fn part_or_regex(text: &str) -> Self {
        Self::regex_between_slashes(text).unwrap_or_else(|| Self::Contains(text.to_owned()))
    }

    /// How a rule file writes it: `/…/` is a regular expression, anything else the whole text with `*` for any run.
    #[must_use]
    pub fn whole_or_regex(text: &str) -> Self {
        Self::regex_between_slashes(text).unwrap_or_else(|| Self::Whole(text.to_owned()))
    }

    fn regex_between_slashes(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('/')?.strip_suffix('/')?;
        (!inner.is_empty()).then(|| Self::Regex(inner.to_owned()))
    }

    /// The pattern as an expression, once it is within its limits.
    fn expression(&self, at: &str) -> Result<String, RuleSetError> {
        match self {
            Self::Whole(text) if text.is_empty() => Ok("^$".to_owned()),
            Self::Contains(text) => {
                text_fits(at, text, RuleSet::PATTERN_BYTES_MAX)?;
                Ok(regex::escape(text))
            }
            Self::Whole(text) => {
                text_fits(at, text, RuleSet::PATTERN_BYTES_MAX)?;
                let parts: Vec<String> = text.split('*').map(regex::escape).collect();
                Ok(format!("^(?s:{})$", parts.join(".*")))
            }
            Self::Regex(text) => {
                expression_fits(at, text)?;
                Ok(text.clone())
            }
        }
    }
}

/// Patterns matched at once, ignoring case.
pub(super) fn pattern_set<'a>(
    named: impl Iterator<Item = (String, &'a Pattern)>,
    budget: Budget,
) -> Result<RegexSet, RuleSetError> {
    let mut expressions = Vec::new();
    for (at, pattern) in named {
        let expression = pattern.expression(&at)?;
        // Compiled alone first, so that an error names the pattern.
        if matches!(pattern, Pattern::Regex(_)) && budget == Budget::Strict {
            compile(&at, &expression, true, budget)?;
        }
        expressions.push((at, expression));
    }
    let at = expressions.first().map_or("", |(at, _)| at.as_str());
    RegexSetBuilder::new(expressions.iter().map(|(_, expression)| expression))
        .unicode(false)
        .case_insensitive(true)
        .size_limit(budget.of(Budget::SET_BYTES_MAX))
        .dfa_size_limit(Budget::CACHE_BYTES_MAX)
        .build()
        .map_err(|error| RuleSetError::Pattern {
            at: format!("{at} and those after it"),
            message: one_line(&error),
        })
}

/// One expression of a rule.
pub(super) fn expression(at: &str, text: &str, budget: Budget) -> Result<Regex, RuleSetError> {
    expression_fits(at, text)?;
    compile(at, text, false, budget)
}

fn compile(
    at: &str,
    text: &str,
    ignores_case: bool,
    budget: Budget,
) -> Result<Regex, RuleSetError> {
    RegexBuilder::new(text)
        .unicode(false)
        .case_insensitive(ignores_case)
        .size_limit(budget.of(Budget::REGEX_BYTES_MAX))
        .dfa_size_limit(Budget::CACHE_BYTES_MAX)
        .build()
        .map_err(|error| RuleSetError::Pattern {
            at: at.to_owned(),
            message: one_line(&error),
        })
}

fn expression_fits(at: &str, text: &str) -> Result<(), RuleSetError> {
    text_fits(at, text, RuleSet::PATTERN_BYTES_MAX)?;
    match asks_for_unicode(text) {
        true => Err(RuleSetError::Pattern {
            at: at.to_owned(),
            message: "the flag `u` is not allowed: what a letter is would change between versions"
                .to_owned(),
        }),
        false => Ok(()),
    }
}

/// True when a group like `(?u)` or `(?i-s:…)` switches the flag on.
fn asks_for_unicode(text: &str) -> bool {
    text.split("(?").skip(1).any(|group| {
        let end = group.find([')', ':']);
        let flags = end.and_then(|end| group.get(..end)).unwrap_or_default();
        let switched_on = flags.split('-').next().unwrap_or_default();
        switched_on.contains('u') && flags.chars().all(|flag| "imsUuxR- \t\r\n".contains(flag))
    })
}

/// The last line says what is wrong; the ones before it draw the expression.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: Pattern, text: &str) -> bool {
        let named = [("p".to_owned(), &pattern)];
        pattern_set(named.into_iter(), Budget::Strict)
            .unwrap()
            .is_match(text.as_bytes())
    }

    #[test]
    fn parts_wholes_and_expressions_match_without_regard_to_case() {
        let part = |text: &str| Pattern::part_or_regex(text);
        let whole = |text: &str| Pattern::whole_or_regex(text);
        for (pattern, text, expect) in [
            (part("Bot"), "my-robot/1.0", true),
            (part("bot."), "robots", false),
            (part("/^curl\\//"), "CURL/8.0", true),
            (part("/^curl\\//"), "libcurl/8.0", false),
            (part("/"), "a/b", true),
            (part("//"), "a//b", true),
            (part("ü"), "Grüße", true),
            (whole("google"), "Google", true),
            (whole("google"), "google.de", false),
            (whole("*.google.*"), "www.google.de", true),
            (whole("*"), "", true),
            (whole("a*c"), "a\nb\nc", true),
            (whole(""), "", true),
            (whole(""), "x", false),
            (whole("a.c"), "abc", false),
            (whole("/^(a|b)$/"), "B", true),
        ] {
            assert_eq!(
                is_match(pattern.clone(), text),
                expect,
                "{pattern:?} {text}"
            );
        }
    }

    #[test]
    fn what_goes_by_tables_of_unicode_is_refused() {
        for text in [r"\p{Greek}", "(?u)x", "(?iu:x)", "(?i)(?u-s:x)", "(?xu )a"] {
            let pattern = Pattern::Regex(text.to_owned());
            let named = [("p".to_owned(), &pattern)];
            let error = pattern_set(named.into_iter(), Budget::Strict).unwrap_err();
            assert!(matches!(error, RuleSetError::Pattern { .. }), "{error}");
        }
        assert!(is_match(
            Pattern::Regex("(?<user>x)|(?-u:y)".to_owned()),
            "X"
        ));
        assert!(!is_match(Pattern::Regex(r"^\w$".to_owned()), "ü"));
    }

    #[test]
    fn an_expression_over_its_size_is_refused_by_name() {
        let pattern = Pattern::Regex("((a{100}){100}){100}".to_owned());
        let named = [("bots.are[7]".to_owned(), &pattern)];
        let error = pattern_set(named.into_iter(), Budget::Strict).unwrap_err();
        assert!(error.to_string().starts_with("bots.are[7]: "), "{error}");
    }
}
