//! Verdicts and drop reasons as the words of their columns; codes of newer versions stay numbers and come back as such.

use bytes::Bytes;
use ringtail_proto::{DropReason, Verdict};

/// The code of a verdict that drops for no reason: reasons are added to it.
const DROPPED: u8 = 16;

/// A verdict's code as (verdict, drop reason).
pub(crate) fn to_words(code: u8) -> (Bytes, Option<Bytes>) {
    let verdict = match Verdict::from_code(code) {
        Some(Verdict::Accepted) => "accepted",
        Some(Verdict::Late) => "late",
        Some(Verdict::Duplicate) => "duplicate",
        Some(Verdict::Dropped(_)) => "dropped",
        None if code >= DROPPED => "dropped",
        None => return (code_name(u32::from(code)), None),
    };
    let reason = code
        .checked_sub(DROPPED)
        .map(|code| reason_word(u32::from(code)));
    (Bytes::from_static(verdict.as_bytes()), reason)
}

/// The code of (verdict, drop reason); none when the words are not ours.
pub(crate) fn from_words(verdict: &str, reason: Option<&str>) -> Option<u8> {
    match verdict {
        "accepted" => Some(Verdict::Accepted.code()),
        "late" => Some(Verdict::Late.code()),
        "duplicate" => Some(Verdict::Duplicate.code()),
        "dropped" => DROPPED.checked_add(u8::try_from(reason_code(reason?)?).ok()?),
        other => u8::try_from(named_code(other)?).ok(),
    }
}

/// The word for a reason's code.
pub(crate) fn reason_word(code: u32) -> Bytes {
    match u8::try_from(code).ok().and_then(DropReason::from_code) {
        Some(reason) => Bytes::from_static(reason.name().as_bytes()),
        None => code_name(code),
    }
}

/// The code for a reason's word.
pub(crate) fn reason_code(word: &str) -> Option<u32> {
    DropReason::ALL
        .iter()
        .find(|reason| reason.name() == word)
        .map(|reason| u32::from(reason.code()))
        .or_else(|| named_code(word))
}

fn code_name(code: u32) -> Bytes {
    format!("code_{code}").into()
}

fn named_code(word: &str) -> Option<u32> {
    word.strip_prefix("code_")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_its_words() {
        for code in 0..=u8::MAX {
            let (verdict, reason) = to_words(code);
            let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("words are text");
            let reason = reason.as_ref().map(text);
            assert_eq!(
                from_words(&text(&verdict), reason.as_deref()),
                Some(code),
                "{verdict:?} {reason:?}"
            );
        }
        assert_eq!(from_words("accepted?", None), None);
        assert_eq!(from_words("dropped", None), None);
    }

    #[test]
    fn a_reason_is_the_word_that_answers_and_metrics_use() {
        assert_eq!(
            to_words(Verdict::Dropped(DropReason::Bot).code()),
            ("dropped".into(), Some("bot".into()))
        );
    }
}
