//! Referrer → source → channel, with the campaign that the page's address names.

use std::{borrow::Cow, sync::Arc};

use ringtail_proto::{Acquisition, DropReason, Text};
use url::Url;

use crate::{
    SiteRules,
    agents::cut,
    channel::{Facts, channel, is_paid_medium},
    enricher::Work,
    memo::{KnownWay, Memo},
    page::{Campaign, Click, Page, masked_path},
    site_rules::without_www,
    sources::{Source, Sources},
};

/// Bytes of a referrer that are looked at, and kept.
const REFERRER_BYTES_MAX: usize = 2_000;
const REFERRER_KEPT_BYTES_MAX: usize = 500;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    let site = work.site()?;
    let page = work.page()?;
    let referrer = cut(work.hit.referrer.trim(), REFERRER_BYTES_MAX);
    let campaign = &page.campaign;
    let hash = work.hash_of(&[
        referrer.as_bytes(),
        page.hostname.as_bytes(),
        campaign.source.as_bytes(),
        campaign.medium.as_bytes(),
        campaign.name.as_bytes(),
        campaign.content.as_bytes(),
        campaign.term.as_bytes(),
        &site.stamp.to_le_bytes(),
    ]);
    let is_same = |known: &KnownWay| {
        known.rules == site.stamp
            && *known.referrer == *referrer
            && known.page.hostname == page.hostname
            && known.page.campaign == *campaign
    };
    if let Some(known) = work.memo.ways.get(hash, is_same) {
        work.draft.acquisition = Some(known.acquisition.clone());
        return Ok(());
    }
    let acquisition = Arc::new(acquire(&work.enricher.sources, &site, &page, referrer));
    if referrer.len() <= Memo::KEY_BYTES_MAX {
        let known = KnownWay {
            rules: site.stamp,
            referrer: referrer.into(),
            page,
            acquisition: acquisition.clone(),
        };
        work.memo.ways.put(hash, known);
    }
    work.draft.acquisition = Some(acquisition);
    Ok(())
}

/// A referring page of somebody else.
struct Referrer {
    host: String,
    path: String,
    raw: String,
}

impl Referrer {
    /// None for nonsense and for the site's own pages: a click within the site is no way of coming to it.
    fn parse(referrer: &str, site: &SiteRules, page: &Page) -> Option<Self> {
        let url = Url::parse(referrer).ok()?;
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())?
            .to_lowercase();
        if without_www(&host) == without_www(&page.hostname) || site.owns_host(&host) {
            return None;
        }
        let path = masked_path(url.path());
        let raw = format!("{}://{host}{path}", url.scheme());
        Some(Self { host, path, raw })
    }

    /// `example.com/a/b`; the bare host for its front page.
    fn shown(&self) -> String {
        format!(
            "{}{}",
            without_www(&self.host),
            self.path.trim_end_matches('/')
        )
    }
}

fn acquire(sources: &Sources, site: &SiteRules, page: &Page, referrer: &str) -> Acquisition {
    let campaign = &page.campaign;
    let referrer = Referrer::parse(referrer, site, page);
    let host = referrer
        .as_ref()
        .map_or("", |referrer| referrer.host.as_str());
    let source = source_of(sources, campaign, referrer.as_ref());
    let source_text = match (campaign.source.as_str(), &source) {
        ("", Some(source)) if host.is_empty() => source.name,
        ("", _) => host,
        (named, _) => named,
    };
    let channel = channel(Facts {
        source: source_text,
        kind: source.map(|source| source.kind),
        medium: &medium_of(campaign),
        campaign: &campaign.name,
        has_referrer: referrer.is_some(),
    });
    let shown_source = match source {
        Some(source) => Text::from_static(source.name),
        None if campaign.source.is_empty() => Text::from(without_www(host)),
        None => campaign.source.clone(),
    };
    let kept = |text: String| Text::from(cut(&text, REFERRER_KEPT_BYTES_MAX));
    Acquisition {
        referrer: kept(referrer.as_ref().map_or_else(String::new, Referrer::shown)),
        source: shown_source,
        channel: Text::from_static(channel),
        utm_source: campaign.source.clone(),
        utm_medium: campaign.medium.clone(),
        utm_campaign: campaign.name.clone(),
        utm_content: campaign.content.clone(),
        utm_term: campaign.term.clone(),
        raw_referrer: kept(referrer.map_or_else(String::new, |referrer| referrer.raw)),
    }
}

/// What the campaign names, else the referring page, else whose click id the address carries.
fn source_of(
    sources: &Sources,
    campaign: &Campaign,
    referrer: Option<&Referrer>,
) -> Option<Source> {
    if !campaign.source.is_empty() {
        return sources.named(&campaign.source);
    }
    if let Some(referrer) = referrer {
        return sources.of_page(&referrer.host, &referrer.path);
    }
    match campaign.click? {
        Click::Paid(name) | Click::Any(name) => sources.named(name),
    }
}

/// The campaign's medium; a paid click id makes it a paid one.
fn medium_of(campaign: &Campaign) -> Cow<'_, str> {
    let medium = campaign.medium.as_str();
    match campaign.click {
        Some(Click::Paid(_)) if !is_paid_medium(&medium.to_ascii_lowercase()) => {
            Cow::Borrowed("cpc")
        }
        _ => Cow::Borrowed(medium),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hit, steps::bench::Bench};

    fn acquire_from<'a>(bench: &Bench, url: &'a str, referrer: &'a str) -> Arc<Acquisition> {
        let hit = Hit {
            referrer: referrer.into(),
            user_agent: bench.browser(),
            ..Hit::new("example.com", url)
        };
        bench.enrich(&hit).unwrap().acquisition
    }

    #[test]
    fn source_and_channel_come_from_campaign_then_referrer_then_click() {
        let bench = Bench::new();
        let check = |query: &str, referrer: &str, expect: [&str; 3]| {
            let acquisition =
                acquire_from(&bench, &format!("https://example.com/{query}"), referrer);
            let found = [
                &acquisition.source,
                &acquisition.channel,
                &acquisition.referrer,
            ]
            .map(|text| text.as_str());
            assert_eq!(found, expect, "{query} {referrer}");
        };
        check("", "", ["", "Direct", ""]);
        check("", "-", ["", "Direct", ""]);
        check("", "https://example.com/other", ["", "Direct", ""]);
        check("", "https://www.example.com/", ["", "Direct", ""]);
        check("", "https://blog.example.com/", ["", "Direct", ""]);
        check(
            "",
            "https://www.google.com/search?q=secret",
            ["Google", "Organic Search", "google.com/search"],
        );
        check(
            "",
            "https://t.co/abc",
            ["Twitter", "Organic Social", "t.co/abc"],
        );
        check(
            "",
            "https://chatgpt.com/",
            ["ChatGPT", "AI Assistants", "chatgpt.com"],
        );
        check(
            "",
            "https://www.youtube.com/watch?v=1",
            ["YouTube", "Organic Video", "youtube.com/watch"],
        );
        check(
            "",
            "https://friend.example/blog/",
            ["friend.example", "Referral", "friend.example/blog"],
        );
        check(
            "",
            "android-app://com.google.android.gm/",
            ["Gmail", "Email", "com.google.android.gm"],
        );
        check(
            "?utm_source=google&utm_medium=cpc",
            "https://friend.example/",
            ["Google", "Paid Search", "friend.example"],
        );
        check(
            "?utm_source=spring-letter&utm_medium=email",
            "",
            ["spring-letter", "Email", ""],
        );
        check(
            "?utm_medium=affiliate",
            "https://friend.example/",
            ["friend.example", "Affiliates", "friend.example"],
        );
        check("?utm_campaign=spring", "", ["", "Unassigned", ""]);
        check("?gclid=x", "", ["Google", "Paid Search", ""]);
        check(
            "?gclid=x",
            "https://www.google.com/",
            ["Google", "Paid Search", "google.com"],
        );
        check(
            "?msclkid=x",
            "https://www.bing.com/",
            ["Bing", "Paid Search", "bing.com"],
        );
        check("?fbclid=x", "", ["Facebook", "Organic Social", ""]);
        check(
            "?fbclid=x&utm_medium=paid_social&utm_source=fb",
            "",
            ["Facebook", "Paid Social", ""],
        );
    }

    #[test]
    fn what_is_kept_of_a_referrer_names_nobody() {
        let bench = Bench::new();
        let acquisition = acquire_from(
            &bench,
            "https://example.com/",
            "https://mail.example.net/u/jane@example.net/?session=d41d8cd98f00b204e9800998ecf8427e",
        );
        assert_eq!(acquisition.referrer.as_str(), "mail.example.net/u/[email]");
        assert_eq!(
            acquisition.raw_referrer.as_str(),
            "https://mail.example.net/u/[email]/"
        );
        let long = acquire_from(
            &bench,
            "https://example.com/",
            &format!("https://a.example/{}", "x/".repeat(5_000)),
        );
        assert!(long.raw_referrer.len() <= REFERRER_KEPT_BYTES_MAX);
    }

    #[test]
    fn equal_ways_share_one_allocation() {
        let bench = Bench::new();
        let first = acquire_from(&bench, "https://example.com/a", "https://t.co/");
        assert!(Arc::ptr_eq(
            &first,
            &acquire_from(&bench, "https://example.com/b", "https://t.co/")
        ));
        assert!(!Arc::ptr_eq(
            &first,
            &acquire_from(&bench, "https://example.com/?utm_term=x", "https://t.co/")
        ));
    }
}
