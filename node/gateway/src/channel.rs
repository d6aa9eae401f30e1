//! The channel through which a visitor came: GA4's default channel group, and AI assistants.
//!
//! The rules and their order follow "[GA4] Default channel group" of Google's Analytics help; the lists of search,
//! social, shopping and video sites are ours. A visit without campaign is judged by its referring page alone.

use crate::sources::SourceKind;

/// What the rules look at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    /// `utm_source`, or the host of the referring page; empty when the visitor came directly.
    pub(crate) source: &'a str,
    /// What kind of place the source is, if it is known.
    pub(crate) kind: Option<SourceKind>,
    /// `utm_medium`, or what a click id implies.
    pub(crate) medium: &'a str,
    /// `utm_campaign`.
    pub(crate) campaign: &'a str,
    /// True when a page with a host referred the visitor.
    pub(crate) has_referrer: bool,
}

/// The channel's name. The first rule that holds decides.
pub(crate) fn channel(facts: Facts<'_>) -> &'static str {
    let medium = facts.medium.trim().to_ascii_lowercase();
    let medium = medium.as_str();
    let source = facts.source.trim().to_ascii_lowercase();
    let campaign = facts.campaign.to_ascii_lowercase();
    let is_medium = |names: &[&str]| names.contains(&medium);
    let is_kind = |kind: SourceKind| facts.kind == Some(kind);
    let is_paid = is_paid_medium(medium);
    let is_shopping = is_kind(SourceKind::Shopping) || is_shopping_campaign(&campaign);

    if source.is_empty()
        && matches!(medium, "" | "(none)" | "(not set)")
        && campaign.is_empty()
        && !facts.has_referrer
        || source == "(direct)" && matches!(medium, "" | "(none)" | "(not set)")
    {
        return "Direct";
    }
    if campaign.contains("cross-network") {
        return "Cross-network";
    }
    if is_paid {
        if is_shopping {
            return "Paid Shopping";
        }
        match facts.kind {
            Some(SourceKind::Search) => return "Paid Search",
            Some(SourceKind::Social) => return "Paid Social",
            Some(SourceKind::Video) => return "Paid Video",
            _ => {}
        }
    }
    if is_medium(&["display", "banner", "expandable", "interstitial", "cpm"]) {
        return "Display";
    }
    if is_paid || (medium.is_empty() && is_kind(SourceKind::PaidNetwork)) {
        return "Paid Other";
    }
    if is_shopping {
        return "Organic Shopping";
    }
    if is_kind(SourceKind::AiAssistant) {
        return "AI Assistants";
    }
    if is_kind(SourceKind::Social)
        || is_medium(&[
            "social",
            "social-network",
            "social-media",
            "sm",
            "social network",
            "social media",
        ])
    {
        return "Organic Social";
    }
    if is_kind(SourceKind::Video) || medium.contains("video") {
        return "Organic Video";
    }
    if (is_kind(SourceKind::Search) && !is_other_medium(medium)) || medium == "organic" {
        return "Organic Search";
    }
    if is_email(&source) || is_email(medium) || (medium.is_empty() && is_kind(SourceKind::Email)) {
        return "Email";
    }
    if is_medium(&["affiliate", "affiliates"]) {
        return "Affiliates";
    }
    if is_medium(&["referral", "app", "link"]) {
        return "Referral";
    }
    if medium == "audio" {
        return "Audio";
    }
    if source == "sms" || medium == "sms" {
        return "SMS";
    }
    if medium.ends_with("push")
        || medium.contains("mobile")
        || medium.contains("notification")
        || source == "firebase"
    {
        return "Mobile Push Notifications";
    }
    if medium.is_empty() && facts.has_referrer {
        return "Referral";
    }
    "Unassigned"
}

/// `^(.*cp.*|ppc|retargeting|paid.*)$`
pub(crate) fn is_paid_medium(medium: &str) -> bool {
    medium.contains("cp")
        || medium == "ppc"
        || medium == "retargeting"
        || medium.starts_with("paid")
}

/// `^(.*(([^a-df-z]|^)shop|shopping).*)$`
fn is_shopping_campaign(campaign: &str) -> bool {
    campaign.contains("shopping")
        || campaign.match_indices("shop").any(|(position, _)| {
            let before = position
                .checked_sub(1)
                .and_then(|before| campaign.as_bytes().get(before));
            before.is_none_or(|letter| !letter.is_ascii_lowercase() || *letter == b'e')
        })
}

/// Media that say of a campaign at a search engine's source that it was something else.
fn is_other_medium(medium: &str) -> bool {
    is_email(medium)
        || matches!(
            medium,
            "affiliate" | "affiliates" | "referral" | "app" | "link" | "audio" | "sms"
        )
        || medium.ends_with("push")
        || medium.contains("notification")
}

fn is_email(text: &str) -> bool {
    matches!(text, "email" | "e-mail" | "e_mail" | "e mail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use SourceKind::*;

    #[test]
    fn the_first_rule_that_holds_decides() {
        let check =
            |source: &str, kind: Option<SourceKind>, medium: &str, campaign: &str, expect: &str| {
                let facts = Facts {
                    source,
                    kind,
                    medium,
                    campaign,
                    has_referrer: false,
                };
                assert_eq!(channel(facts), expect, "{facts:?}");
            };
        check("", None, "", "", "Direct");
        check("(direct)", None, "(none)", "", "Direct");
        check(
            "google",
            Some(Search),
            "cpc",
            "spring cross-network",
            "Cross-network",
        );
        check("amazon", Some(Shopping), "cpc", "", "Paid Shopping");
        check(
            "google",
            Some(Search),
            "cpc",
            "summer shopping",
            "Paid Shopping",
        );
        check("google", Some(Search), "cpc", "workshop", "Paid Search");
        check("google", Some(Search), "cpc", "eshop", "Paid Shopping");
        check("google", Some(Search), "CPC", "", "Paid Search");
        check("bing", Some(Search), "ppc", "", "Paid Search");
        check("facebook", Some(Social), "paid-social", "", "Paid Social");
        check("youtube", Some(Video), "cpv", "", "Paid Video");
        check("youtube", Some(Video), "cpc", "", "Paid Video");
        check("somewhere", None, "cpm", "", "Display");
        check("somewhere", None, "banner", "", "Display");
        check("somewhere", None, "retargeting", "", "Paid Other");
        check("amazon", Some(Shopping), "", "", "Organic Shopping");
        check("chatgpt.com", Some(AiAssistant), "", "", "AI Assistants");
        check("facebook", Some(Social), "", "", "Organic Social");
        check("partner", None, "social", "", "Organic Social");
        check("vimeo", Some(Video), "", "", "Organic Video");
        check("partner", None, "video-ad", "", "Organic Video");
        check("google", Some(Search), "", "", "Organic Search");
        check("google", Some(Search), "organic", "", "Organic Search");
        check("partner", None, "organic", "", "Organic Search");
        check("google", Some(Search), "email", "", "Email");
        check("newsletter", None, "email", "", "Email");
        check("e-mail", None, "", "", "Email");
        check("partner", None, "affiliate", "", "Affiliates");
        check("partner", None, "referral", "", "Referral");
        check("spotify", None, "audio", "", "Audio");
        check("sms", None, "", "", "SMS");
        check("crm", None, "sms", "", "SMS");
        check("firebase", None, "", "", "Mobile Push Notifications");
        check("crm", None, "web-push", "", "Mobile Push Notifications");
        check("crm", None, "", "", "Unassigned");
        check("", None, "", "spring", "Unassigned");
    }

    #[test]
    fn without_campaign_the_referring_page_decides() {
        let check = |kind: Option<SourceKind>, expect: &str| {
            let facts = Facts {
                source: "host",
                kind,
                has_referrer: true,
                ..Facts::default()
            };
            assert_eq!(channel(facts), expect, "{kind:?}");
        };
        check(None, "Referral");
        check(Some(Other), "Referral");
        check(Some(Search), "Organic Search");
        check(Some(Email), "Email");
        check(Some(PaidNetwork), "Paid Other");
        check(Some(AiAssistant), "AI Assistants");
    }
}
