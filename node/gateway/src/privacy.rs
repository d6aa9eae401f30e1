//! Values that look like a person's address or a secret are masked before anything is written.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Stands for what looked like an e-mail address.
pub(crate) const EMAIL_MASK: &str = "[email]";
/// Stands for what looked like a secret.
pub(crate) const TOKEN_MASK: &str = "[token]";

/// The mask for a path segment or a query value, percent-encoded or not; none when it may stay.
pub(crate) fn mask_of(value: &str) -> Option<&'static str> {
    if may_hold_email(value) && is_email_like(&percent_decode_str(value).decode_utf8_lossy()) {
        return Some(EMAIL_MASK);
    }
    is_token_like(value).then_some(TOKEN_MASK)
}

/// Masks addresses within free text, word by word. Text without one is not copied.
pub(crate) fn mask_emails(text: &str) -> Cow<'_, str> {
    if !may_hold_email(text) {
        return Cow::Borrowed(text);
    }
    let is_end = |letter: char| {
        letter.is_whitespace()
            || matches!(
                letter,
                ',' | ';' | '<' | '>' | '"' | '(' | ')' | '/' | '?' | '&' | '='
            )
    };
    let mut masked = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_end) {
        let word = piece.strip_suffix(is_end).unwrap_or(piece);
        if is_email_like(&percent_decode_str(word).decode_utf8_lossy()) {
            masked.push_str(EMAIL_MASK);
            masked.push_str(piece.get(word.len()..).unwrap_or_default());
        } else {
            masked.push_str(piece);
        }
    }
    Cow::Owned(masked)
}

fn may_hold_email(value: &str) -> bool {
    value.contains('@') || value.contains("%40")
}

/// Something before an `@`, and after it a name with a dot.
fn is_email_like(value: &str) -> bool {
    let Some((local, host)) = value.rsplit_once('@') else {
        return false;
    };
    let Some((name, top)) = host.rsplit_once('.') else {
        return false;
    };
    !local.is_empty()
        && !name.is_empty()
        && top
            .chars()
            .take_while(|letter| letter.is_alphabetic())
            .count()
            >= 2
}

/// Signed tokens, long hexadecimal numbers, and long runs of mixed letters and digits as only machines write them.
///
/// UUIDs stay: they are the usual ids of products and orders, and a page report without them is useless.
fn is_token_like(value: &str) -> bool {
    if value.len() < 20 {
        return false;
    }
    if value.starts_with("eyJ") && value.len() >= 40 {
        return true;
    }
    value
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|run| run.len() >= 20 && is_random_run(run.as_bytes()))
}

fn is_random_run(run: &[u8]) -> bool {
    let has = |wanted: fn(&u8) -> bool| run.iter().any(wanted);
    let (digit, lower, upper) = (
        has(u8::is_ascii_digit),
        has(u8::is_ascii_lowercase),
        has(u8::is_ascii_uppercase),
    );
    let is_hex =
        run.len() >= 32 && run.iter().all(u8::is_ascii_hexdigit) && digit && (lower || upper);
    is_hex || (digit && lower && upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_secrets_are_masked_and_names_of_things_stay() {
        let check =
            |value: &str, expect: Option<&str>| assert_eq!(mask_of(value), expect, "{value}");
        check("jane@example.com", Some(EMAIL_MASK));
        check("jane%40example.com", Some(EMAIL_MASK));
        check("jane.doe+shop@mail.example.co.uk", Some(EMAIL_MASK));
        check("@jane", None);
        check("jane@home", None);
        check("npm@11.2", None);
        check("d41d8cd98f00b204e9800998ecf8427e", Some(TOKEN_MASK));
        check(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
            Some(TOKEN_MASK),
        );
        check("ya29A0ARrdaM8qZ1x2y3w4v5", Some(TOKEN_MASK));
        check("123e4567-e89b-12d3-a456-426614174000", None);
        check("how-to-choose-a-bicycle-in-2026-and-keep-it", None);
        check("12345678901234567890123456789012", None);
        check("Donaudampfschifffahrtsgesellschaft", None);
        check("", None);
    }

    #[test]
    fn addresses_within_text_are_masked_where_they_stand() {
        let check = |text: &str, expect: &str| assert_eq!(mask_emails(text), expect);
        check("plain text", "plain text");
        check("from jane@example.com, today", "from [email], today");
        check("<jane@example.com>", "<[email]>");
        check(
            "https://example.com/u/jane%40example.com?x=1",
            "https://example.com/u/[email]?x=1",
        );
        check("@", "@");
    }
}
