//! Names and kinds of the places that visitors come from.

use std::sync::OnceLock;

use hashbrown::HashMap;
use serde::Deserialize;

use crate::site_rules::without_www;

const REFERRERS: &str = include_str!("../data/referrers/referrers.json");

/// What kind of place a source is; decides the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SourceKind {
    AiAssistant,
    Search,
    Shopping,
    Video,
    Social,
    Email,
    PaidNetwork,
    Other,
}

/// A source: its name as reports show it, and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) kind: SourceKind,
}

/// Sources that the list lacks or files elsewhere than GA4 does: host, name, kind. These win over the list.
const OWN: &[(&str, &str, SourceKind)] = &[
    ("chatgpt.com", "ChatGPT", SourceKind::AiAssistant),
    ("chat.openai.com", "ChatGPT", SourceKind::AiAssistant),
    ("openai.com", "ChatGPT", SourceKind::AiAssistant),
    ("claude.ai", "Claude", SourceKind::AiAssistant),
    ("gemini.google.com", "Gemini", SourceKind::AiAssistant),
    ("bard.google.com", "Gemini", SourceKind::AiAssistant),
    ("perplexity.ai", "Perplexity", SourceKind::AiAssistant),
    ("copilot.microsoft.com", "Copilot", SourceKind::AiAssistant),
    ("copilot.com", "Copilot", SourceKind::AiAssistant),
    ("edgeservices.bing.com", "Copilot", SourceKind::AiAssistant),
    ("deepseek.com", "DeepSeek", SourceKind::AiAssistant),
    ("chat.mistral.ai", "Mistral", SourceKind::AiAssistant),
    ("meta.ai", "Meta AI", SourceKind::AiAssistant),
    ("grok.com", "Grok", SourceKind::AiAssistant),
    ("you.com", "You.com", SourceKind::AiAssistant),
    ("poe.com", "Poe", SourceKind::AiAssistant),
    ("phind.com", "Phind", SourceKind::AiAssistant),
    ("qwen.ai", "Qwen", SourceKind::AiAssistant),
    ("kimi.com", "Kimi", SourceKind::AiAssistant),
    ("youtube.com", "YouTube", SourceKind::Video),
    ("youtu.be", "YouTube", SourceKind::Video),
    ("vimeo.com", "Vimeo", SourceKind::Video),
    ("dailymotion.com", "Dailymotion", SourceKind::Video),
    ("twitch.tv", "Twitch", SourceKind::Video),
    ("netflix.com", "Netflix", SourceKind::Video),
    ("hulu.com", "Hulu", SourceKind::Video),
    ("disneyplus.com", "Disney+", SourceKind::Video),
    ("bilibili.com", "Bilibili", SourceKind::Video),
    ("youku.com", "Youku", SourceKind::Video),
    ("iqiyi.com", "iQIYI", SourceKind::Video),
    ("wistia.com", "Wistia", SourceKind::Video),
    ("ted.com", "TED", SourceKind::Video),
    ("amazon.com", "Amazon", SourceKind::Shopping),
    ("amazon.co.uk", "Amazon", SourceKind::Shopping),
    ("amazon.de", "Amazon", SourceKind::Shopping),
    ("amazon.fr", "Amazon", SourceKind::Shopping),
    ("amazon.it", "Amazon", SourceKind::Shopping),
    ("amazon.es", "Amazon", SourceKind::Shopping),
    ("amazon.in", "Amazon", SourceKind::Shopping),
    ("amazon.co.jp", "Amazon", SourceKind::Shopping),
    ("ebay.com", "eBay", SourceKind::Shopping),
    ("ebay.co.uk", "eBay", SourceKind::Shopping),
    ("ebay.de", "eBay", SourceKind::Shopping),
    ("etsy.com", "Etsy", SourceKind::Shopping),
    ("walmart.com", "Walmart", SourceKind::Shopping),
    ("aliexpress.com", "AliExpress", SourceKind::Shopping),
    ("alibaba.com", "Alibaba", SourceKind::Shopping),
    (
        "shopping.google.com",
        "Google Shopping",
        SourceKind::Shopping,
    ),
    ("shopify.com", "Shopify", SourceKind::Shopping),
    ("shop.app", "Shop", SourceKind::Shopping),
    ("mercadolibre.com", "Mercado Libre", SourceKind::Shopping),
    ("rakuten.com", "Rakuten", SourceKind::Shopping),
    ("idealo.de", "idealo", SourceKind::Shopping),
    ("temu.com", "Temu", SourceKind::Shopping),
    ("tiktok.com", "TikTok", SourceKind::Social),
    ("threads.net", "Threads", SourceKind::Social),
    ("threads.com", "Threads", SourceKind::Social),
    ("mastodon.social", "Mastodon", SourceKind::Social),
    ("discord.com", "Discord", SourceKind::Social),
    ("snapchat.com", "Snapchat", SourceKind::Social),
    ("t.me", "Telegram", SourceKind::Social),
    ("web.whatsapp.com", "WhatsApp", SourceKind::Social),
    ("baidu.com", "Baidu", SourceKind::Search),
    ("search.brave.com", "Brave", SourceKind::Search),
    ("kagi.com", "Kagi", SourceKind::Search),
    ("ecosia.org", "Ecosia", SourceKind::Search),
    ("startpage.com", "Startpage", SourceKind::Search),
];

/// What people write into `utm_source` for a source with a longer name.
const NICKNAMES: &[(&str, &str)] = &[
    ("adwords", "Google"),
    ("googleads", "Google"),
    ("google-ads", "Google"),
    ("google_ads", "Google"),
    ("fb", "Facebook"),
    ("facebook-ads", "Facebook"),
    ("facebook_ads", "Facebook"),
    ("ig", "Instagram"),
    ("yt", "YouTube"),
    ("x", "Twitter"),
    ("tw", "Twitter"),
    ("openai", "ChatGPT"),
    ("yahoo", "Yahoo!"),
    ("hn", "Hacker News"),
];

#[derive(Deserialize)]
struct Row {
    medium: String,
    source: &'static str,
}

struct Lists {
    /// By host, or host and path.
    hosts: HashMap<&'static str, Source>,
    /// By name in lower case.
    names: HashMap<String, Source>,
}

/// Finds sources.
pub(crate) struct Sources(OnceLock<Lists>);

impl Sources {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Reads the list, which takes a moment.
    pub(crate) fn warm_up(&self) {
        self.lists();
    }

    /// The source of a referring page, by host (in lower case) and path.
    pub(crate) fn of_page(&self, host: &str, path: &str) -> Option<Source> {
        let hosts = &self.lists().hosts;
        let first = path
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        if !first.is_empty() {
            let page = format!("{}/{first}", without_www(host));
            if let Some(source) = hosts.get(page.as_str()) {
                return Some(*source);
            }
        }
        if let Some(source) = hosts.get(host).or_else(|| hosts.get(without_www(host))) {
            return Some(*source);
        }
        // Below a known host; but what is below a search engine (documents, news) is not the search.
        let mut parent = host;
        while let Some((_, rest)) = parent.split_once('.') {
            parent = rest;
            match hosts.get(parent) {
                Some(source) if matches!(source.kind, SourceKind::Search | SourceKind::Email) => {
                    return host
                        .strip_prefix("m.")
                        .and_then(|bare| (bare == parent).then_some(*source));
                }
                Some(source) => return Some(*source),
                None => {}
            }
        }
        None
    }

    /// The source that a campaign names, by name, nickname or host.
    pub(crate) fn named(&self, name: &str) -> Option<Source> {
        let lists = self.lists();
        let name = name.to_lowercase();
        let known = NICKNAMES.iter().find(|(nickname, _)| *nickname == name);
        if let Some((_, full)) = known {
            return lists.names.get(&full.to_lowercase()).copied();
        }
        lists.names.get(&name).copied().or_else(|| {
            let is_host = name.contains('.');
            is_host.then(|| self.of_page(&name, "")).flatten()
        })
    }

    fn lists(&self) -> &Lists {
        self.0.get_or_init(Lists::load)
    }
}

impl Lists {
    fn load() -> Self {
        let rows: std::collections::HashMap<&'static str, Row> =
            serde_json::from_str(REFERRERS).expect("the referrer list is compiled in and tested");
        let mut lists = Self {
            hosts: HashMap::with_capacity(rows.len() + OWN.len()),
            names: HashMap::new(),
        };
        for (host, row) in rows {
            let kind = match row.medium.as_str() {
                "search" => SourceKind::Search,
                "social" => SourceKind::Social,
                "email" => SourceKind::Email,
                "paid" => SourceKind::PaidNetwork,
                _ => SourceKind::Other,
            };
            lists.add(
                host.trim_end_matches('/'),
                Source {
                    name: row.source,
                    kind,
                },
            );
        }
        for (host, name, kind) in OWN {
            let source = Source { name, kind: *kind };
            lists.hosts.insert(host, source);
            lists.names.insert(name.to_lowercase(), source);
        }
        lists
    }

    /// A name that stands for several kinds of host means its strongest kind: `google` is a search engine.
    fn add(&mut self, host: &'static str, source: Source) {
        self.hosts.insert(host, source);
        let named = self
            .names
            .entry(source.name.to_lowercase())
            .or_insert(source);
        if source.kind < named.kind {
            *named = source;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_names_and_kinds() {
        let sources = Sources::new();
        let check = |host: &str, path: &str, expect: Option<(&str, SourceKind)>| {
            let found = sources
                .of_page(host, path)
                .map(|source| (source.name, source.kind));
            assert_eq!(found, expect, "{host}{path}");
        };
        use SourceKind::*;
        check("www.google.com", "/", Some(("Google", Search)));
        check("www.google.co.uk", "/search", Some(("Google", Search)));
        check("google.de", "/imgres", Some(("Google Images", Search)));
        check("docs.google.com", "/document/d/1", None);
        check("support.google.com", "/", Some(("Google", Other)));
        check("duckduckgo.com", "/", Some(("DuckDuckGo", Search)));
        check("bing.com", "/", Some(("Bing", Search)));
        check("m.baidu.com", "/", Some(("Baidu", Search)));
        check("t.co", "/abc", Some(("Twitter", Social)));
        check("l.facebook.com", "/l.php", Some(("Facebook", Social)));
        check("out.reddit.com", "/", Some(("Reddit", Social)));
        check("m.youtube.com", "/watch", Some(("YouTube", Video)));
        check("chatgpt.com", "/", Some(("ChatGPT", AiAssistant)));
        check(
            "www.perplexity.ai",
            "/search",
            Some(("Perplexity", AiAssistant)),
        );
        check("claude.ai", "/chat", Some(("Claude", AiAssistant)));
        check("gemini.google.com", "/app", Some(("Gemini", AiAssistant)));
        check("copilot.microsoft.com", "/", Some(("Copilot", AiAssistant)));
        check("mail.google.com", "/", Some(("Gmail", Email)));
        check("com.google.android.gm", "/", Some(("Gmail", Email)));
        check("semicomplete.com", "/", None);
        check("notgoogle.com", "/", None);
        check("", "", None);
        check("com", "", None);
    }

    #[test]
    fn campaigns_name_sources_by_name_nickname_or_host() {
        let sources = Sources::new();
        let check = |name: &str, expect: Option<(&str, SourceKind)>| {
            assert_eq!(
                sources.named(name).map(|source| (source.name, source.kind)),
                expect,
                "{name}"
            );
        };
        use SourceKind::*;
        check("google", Some(("Google", Search)));
        check("GOOGLE", Some(("Google", Search)));
        check("adwords", Some(("Google", Search)));
        check("fb", Some(("Facebook", Social)));
        check("youtube", Some(("YouTube", Video)));
        check("yahoo", Some(("Yahoo!", Search)));
        check("chatgpt.com", Some(("ChatGPT", AiAssistant)));
        check("our newsletter", None);
        check("", None);
    }

    #[test]
    fn every_nickname_leads_to_a_source() {
        let sources = Sources::new();
        for (nickname, name) in NICKNAMES {
            assert!(sources.named(nickname).is_some(), "{nickname} → {name}");
        }
    }
}
