//! A page's address, cut to what may be kept.

use ringtail_proto::{DropReason, Text};
use url::Url;

use crate::{
    SiteRules,
    plain_url::PlainUrl,
    privacy::{mask_emails, mask_of},
};

/// What is kept of a page's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// In lower case, without port.
    pub(crate) hostname: Text,
    /// Path, with the site's own query parameters and, if the site is hash-routed, the fragment.
    pub(crate) path: Text,
    pub(crate) campaign: Campaign,
}

/// What the address says about how the visitor came. Read from the address, never kept in the path: the same page
/// reached by two campaigns is one page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Campaign {
    pub(crate) source: Text,
    pub(crate) medium: Text,
    pub(crate) name: Text,
    pub(crate) content: Text,
    pub(crate) term: Text,
    pub(crate) click: Option<Click>,
}

/// Whose click id the address carries. The id itself names a person to its network, so it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Click {
    /// A click on an advertisement of this source.
    Paid(&'static str),
    /// A click on any link at this source.
    Any(&'static str),
}

/// Click ids by their parameter. Facebook, Instagram and Pinterest mark every outgoing link, paid or not.
const CLICK_IDS: &[(&str, Click)] = &[
    ("gclid", Click::Paid("Google")),
    ("gbraid", Click::Paid("Google")),
    ("wbraid", Click::Paid("Google")),
    ("dclid", Click::Paid("Google")),
    ("msclkid", Click::Paid("Bing")),
    ("yclid", Click::Paid("Yandex")),
    ("ttclid", Click::Paid("TikTok")),
    ("twclid", Click::Paid("Twitter")),
    ("li_fat_id", Click::Paid("LinkedIn")),
    ("rdt_cid", Click::Paid("Reddit")),
    ("ScCid", Click::Paid("Snapchat")),
    ("fbclid", Click::Any("Facebook")),
    ("igshid", Click::Any("Instagram")),
    ("epik", Click::Any("Pinterest")),
];

/// Characters kept of a campaign value.
const CAMPAIGN_CHARS_MAX: usize = 200;

impl Page {
    /// Reads an address.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] when it is no address with a host.
    pub(crate) fn parse(
        url: &str,
        rules: &SiteRules,
        is_hash_routed: bool,
    ) -> Result<Self, DropReason> {
        if let Some(plain) = PlainUrl::split(url) {
            return Ok(Self::read(plain.host, plain.path, plain.query, None, rules));
        }
        let url = Url::parse(url).map_err(|_| DropReason::Malformed)?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let hostname = host.ok_or(DropReason::Malformed)?.to_lowercase();
        let fragment = url.fragment().filter(|_| is_hash_routed);
        let query = url.query().unwrap_or_default();
        Ok(Self::read(&hostname, url.path(), query, fragment, rules))
    }

    fn read(
        hostname: &str,
        path: &str,
        query: &str,
        fragment: Option<&str>,
        rules: &SiteRules,
    ) -> Self {
        let mut kept = KeptQuery::default();
        kept.read(query, rules);
        let mut path = masked_path(path);
        if let Some(fragment) = fragment {
            let (route, query) = fragment.split_once('?').unwrap_or((fragment, ""));
            kept.read(query, rules);
            path.push('#');
            path.push_str(&masked_segments(route));
        }
        path.push_str(&kept.query);
        Self {
            hostname: Text::from(hostname),
            path: Text::from(path),
            campaign: kept.campaign,
        }
    }
}

/// The path with masks in place of segments that say too much; `/` for an empty one.
pub(crate) fn masked_path(path: &str) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    masked_segments(path)
}

fn masked_segments(path: &str) -> String {
    let mut masked = String::with_capacity(path.len());
    for (position, segment) in path.split('/').enumerate() {
        if position > 0 {
            masked.push('/');
        }
        masked.push_str(mask_of(segment).unwrap_or(segment));
    }
    masked
}

/// What is kept of a query.
#[derive(Default)]
struct KeptQuery {
    query: String,
    campaign: Campaign,
}

impl KeptQuery {
    fn read(&mut self, query: &str, rules: &SiteRules) {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let Some(field) = self.campaign.field(name) {
                if field.is_empty() {
                    *field = campaign_value(value);
                }
            } else if let Some((_, click)) = CLICK_IDS.iter().find(|(id, _)| *id == name) {
                // A paid click says more than any other.
                if !value.is_empty() && !matches!(self.campaign.click, Some(Click::Paid(_))) {
                    self.campaign.click = Some(*click);
                }
            } else if rules
                .allowed_query_parameters
                .iter()
                .any(|allowed| allowed == name)
            {
                self.query
                    .push(if self.query.is_empty() { '?' } else { '&' });
                self.query.push_str(name);
                self.query.push('=');
                self.query.push_str(mask_of(value).unwrap_or(value));
            }
        }
    }
}

impl Campaign {
    fn field(&mut self, parameter: &str) -> Option<&mut Text> {
        match parameter {
            "utm_source" => Some(&mut self.source),
            "utm_medium" => Some(&mut self.medium),
            "utm_campaign" => Some(&mut self.name),
            "utm_content" => Some(&mut self.content),
            "utm_term" => Some(&mut self.term),
            _ => None,
        }
    }
}

fn campaign_value(raw: &str) -> Text {
    let spaced = raw.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy();
    let cut: String = decoded
        .trim()
        .chars()
        .filter(|letter| !letter.is_control())
        .take(CAMPAIGN_CHARS_MAX)
        .collect();
    Text::from(mask_emails(&cut).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SiteRulesInput;

    fn rules() -> SiteRules {
        SiteRules::new(SiteRulesInput {
            allowed_query_parameters: vec!["q".into(), "page".into()],
            ..SiteRulesInput::default()
        })
    }

    #[test]
    fn a_page_is_its_path_with_the_sites_own_parameters() {
        let check = |url: &str, expect: Option<(&str, &str)>| {
            let page = Page::parse(url, &rules(), false).ok();
            let found = page
                .as_ref()
                .map(|page| (page.hostname.as_str(), page.path.as_str()));
            assert_eq!(found, expect, "{url}");
        };
        check("https://Example.COM", Some(("example.com", "/")));
        check(
            "https://example.com:8443/a/b?x=1#top",
            Some(("example.com", "/a/b")),
        );
        check(
            "https://example.com/s?x=1&q=shoes&page=2&utm_source=a",
            Some(("example.com", "/s?q=shoes&page=2")),
        );
        check("https://example.com/s?q", Some(("example.com", "/s?q=")));
        check(
            "https://example.com/u/jane@example.com/edit",
            Some(("example.com", "/u/[email]/edit")),
        );
        check(
            "https://example.com/r/d41d8cd98f00b204e9800998ecf8427e",
            Some(("example.com", "/r/[token]")),
        );
        check(
            "https://example.com/s?q=jane%40example.com",
            Some(("example.com", "/s?q=[email]")),
        );
        check("https://example.com/a b", Some(("example.com", "/a%20b")));
        check(
            "https://münchen.de/ü",
            Some(("xn--mnchen-3ya.de", "/%C3%BC")),
        );
        check(
            "https://user:secret@example.com/",
            Some(("example.com", "/")),
        );
        check("app://Shop/cart", Some(("shop", "/cart")));
        check("https://[2001:db8::1]/", Some(("[2001:db8::1]", "/")));
        check("", None);
        check("/relative", None);
        check("example.com/no-scheme", None);
        check("https://", None);
        check("data:text/plain,hello", None);
        check("about:blank", None);
    }

    #[test]
    fn the_fragment_counts_only_where_pages_are_told_apart_by_it() {
        let check = |url: &str, expect: &str| {
            let page = Page::parse(url, &rules(), true).unwrap();
            assert_eq!(page.path.as_str(), expect);
        };
        check("https://example.com/#/cart", "/#/cart");
        check("https://example.com/#/find?q=a&secret=b", "/#/find?q=a");
        check("https://example.com/#/u/jane@example.com", "/#/u/[email]");
        check("https://example.com/app", "/app");
    }

    #[test]
    fn a_campaign_is_read_decoded_cut_and_masked() {
        let read = |query: &str| {
            Page::parse(&format!("https://example.com/?{query}"), &rules(), false)
                .unwrap()
                .campaign
        };
        let campaign = read(
            "utm_source=News+Letter&utm_medium=email&utm_campaign=spring%20sale&utm_content=top&utm_term=a%2Bb",
        );
        assert_eq!(
            [
                &campaign.source,
                &campaign.medium,
                &campaign.name,
                &campaign.content,
                &campaign.term
            ]
            .map(|text| text.as_str()),
            ["News Letter", "email", "spring sale", "top", "a+b"]
        );
        assert_eq!(read("utm_source=a&utm_source=b").source.as_str(), "a");
        assert_eq!(read("utm_term=jane@example.com").term.as_str(), "[email]");
        assert_eq!(
            read(&format!("utm_term={}", "x".repeat(900))).term.len(),
            CAMPAIGN_CHARS_MAX
        );
        assert_eq!(read("utm_term=%FF%00x").term.as_str(), "\u{fffd}x");
        assert_eq!(read("gclid=abc").click, Some(Click::Paid("Google")));
        assert_eq!(
            read("fbclid=abc&gclid=x").click,
            Some(Click::Paid("Google"))
        );
        assert_eq!(
            read("gclid=x&fbclid=abc").click,
            Some(Click::Paid("Google"))
        );
        assert_eq!(read("fbclid=abc").click, Some(Click::Any("Facebook")));
        assert_eq!(read("gclid=").click, None);
        assert_eq!(read(""), Campaign::default());
    }
}
