//! User agents: browser, operating system, kind of device, and whether a robot is speaking.

use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use moka::sync::Cache;
use regex::RegexSet;
use ringtail_proto::{Client, Text};
use serde::Deserialize;
use ua_parser::{os, user_agent};
use xxhash_rust::xxh3::xxh3_128_with_seed;

pub(crate) mod device;
mod regexes;

const CRAWLERS: &str = include_str!("../data/crawlers/crawler-user-agents.json");
const REGEXES: &str = include_str!("../data/user-agents/regexes.yaml");

/// Characters kept of a user agent; real ones are shorter.
const USER_AGENT_BYTES_MAX: usize = 512;
/// Agents remembered by all workers together.
const AGENTS_MAX: u64 = 10_000;

/// What a user agent says.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) is_bot: bool,
    /// 128 bits that stand for the user agent in visitor hashes.
    pub(crate) digest: u128,
    /// 128 bits that stand for it in caches, under a secret seed.
    key: u128,
    parts: Client,
}

/// Recognises user agents, and remembers what it recognised.
pub(crate) struct Agents {
    rules: OnceLock<Rules>,
    seed: u64,
    agents: Cache<u128, Arc<Agent>>,
    clients: Cache<(u128, Text, &'static str), Arc<Client>>,
}

struct Rules {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
    literals: AhoCorasick,
    patterns: RegexSet,
}

impl Agents {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rules: OnceLock::new(),
            seed,
            agents: Cache::new(AGENTS_MAX),
            clients: Cache::new(AGENTS_MAX),
        }
    }

    /// Prepares the rules, which takes long enough to do it before the first request.
    pub(crate) fn warm_up(&self) {
        self.rules.get_or_init(Rules::load);
    }

    /// What this user agent says.
    pub(crate) fn agent(&self, user_agent: &str) -> Arc<Agent> {
        let digest = xxh3_128_with_seed(user_agent.as_bytes(), self.seed);
        if let Some(known) = self.agents.get(&digest) {
            return known;
        }
        let agent = Arc::new(
            self.rules
                .get_or_init(Rules::load)
                .recognise(user_agent, digest),
        );
        self.agents.insert(digest, agent.clone());
        agent
    }

    /// The agent with its screen and language; one allocation for all events of equal ones.
    pub(crate) fn client(
        &self,
        agent: &Agent,
        screen: &'static str,
        language: &Text,
    ) -> Arc<Client> {
        let key = (agent.key, language.clone(), screen);
        self.clients.get_with(key, || {
            Arc::new(Client {
                screen: Text::from_static(screen),
                language: language.clone(),
                ..agent.parts.clone()
            })
        })
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> u64 {
        self.agents.run_pending_tasks();
        self.agents.entry_count()
    }
}

impl Rules {
    fn load() -> Self {
        #[derive(Deserialize)]
        struct Crawler {
            pattern: String,
        }
        let crawlers: Vec<Crawler> =
            serde_json::from_str(CRAWLERS).expect("the crawler list is compiled in and tested");
        let (literals, patterns): (Vec<_>, Vec<_>) = crawlers
            .into_iter()
            .map(|crawler| crawler.pattern)
            .partition(|pattern| literal_of(pattern).is_some());
        let literals = literals.iter().filter_map(|pattern| literal_of(pattern));
        let (browsers, systems) = regexes::compile(REGEXES);
        Self {
            browsers,
            systems,
            // A whole automaton of all literals would take megabytes for a test that is cached anyway.
            literals: AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(literals)
                .expect("the crawler list is compiled in and tested"),
            patterns: RegexSet::new(patterns).expect("the crawler list is compiled in and tested"),
        }
    }

    fn recognise(&self, user_agent: &str, key: u128) -> Agent {
        let kept = cut(user_agent, USER_AGENT_BYTES_MAX);
        let browser = self.browsers.extract(kept);
        let system = self.systems.extract(kept);
        let browser_version = browser
            .as_ref()
            .map_or_else(String::new, |browser| version(browser.major, browser.minor));
        let os_version = system.as_ref().map_or_else(String::new, |system| {
            version(system.major.as_deref(), system.minor.as_deref())
        });
        let os = system
            .as_ref()
            .map_or("", |system| device::system_name(&system.os));
        let is_bot =
            kept.trim().is_empty() || self.literals.is_match(kept) || self.patterns.is_match(kept);
        Agent {
            is_bot,
            digest: xxh3_128_with_seed(user_agent.as_bytes(), 0),
            key,
            parts: Client {
                browser: Text::from(
                    browser
                        .as_ref()
                        .map_or("", |browser| device::browser_name(&browser.family)),
                ),
                browser_version: Text::from(browser_version),
                os: Text::from(os),
                os_version: Text::from(os_version),
                device: Text::from_static(device::class(kept, os)),
                screen: Text::default(),
                language: Text::default(),
                raw_user_agent: Text::from(kept),
            },
        }
    }
}

/// `12`, `12.3`, or nothing.
fn version(major: Option<&str>, minor: Option<&str>) -> String {
    match (major.unwrap_or_default(), minor.unwrap_or_default()) {
        (major, "") => major.to_owned(),
        (major, minor) => format!("{major}.{minor}"),
    }
}

/// The text that a pattern without special signs looks for.
fn literal_of(pattern: &str) -> Option<String> {
    let mut literal = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // An escaped sign is the sign; an escaped letter or digit is a class.
            '\\' => literal.push(
                letters
                    .next()
                    .filter(|next| !next.is_ascii_alphanumeric())?,
            ),
            '^' | '$' | '.' | '|' | '?' | '*' | '+' | '(' | ')' | '[' | ']' | '{' | '}' => {
                return None;
            }
            _ => literal.push(letter),
        }
    }
    (!literal.is_empty()).then_some(literal)
}

/// The longest beginning of at most so many bytes.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_of_every_known_crawler_is_a_bot() {
        #[derive(Deserialize)]
        struct Crawler {
            pattern: String,
            #[serde(default)]
            instances: Vec<String>,
        }
        let agents = Agents::new(1);
        let crawlers: Vec<Crawler> = serde_json::from_str(CRAWLERS).unwrap();
        assert!(crawlers.len() > 1_000);
        let missed: Vec<_> = crawlers
            .iter()
            .flat_map(|crawler| {
                crawler
                    .instances
                    .iter()
                    .map(move |instance| (&crawler.pattern, instance))
            })
            // One cut at 512 bytes may lose its name.
            .filter(|(_, instance)| {
                instance.len() <= USER_AGENT_BYTES_MAX && !agents.agent(instance).is_bot
            })
            .collect();
        assert_eq!(missed, Vec::<(&String, &String)>::new());
    }

    #[test]
    fn browsers_systems_and_devices_are_told_apart() {
        let agents = Agents::new(1);
        let check = |user_agent: &str, expect: [&str; 5]| {
            let agent = agents.agent(user_agent);
            let parts = &agent.parts;
            let found = [
                &parts.browser,
                &parts.browser_version,
                &parts.os,
                &parts.os_version,
                &parts.device,
            ];
            assert_eq!(found.map(|text| text.as_str()), expect, "{user_agent}");
            assert!(!agent.is_bot, "{user_agent}");
        };
        check(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            ["Chrome", "126.0", "Windows", "10", "Desktop"],
        );
        check(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
            ["Safari", "17.4", "macOS", "10.15", "Desktop"],
        );
        check(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
            ["Safari", "17.4", "iOS", "17.4", "Mobile"],
        );
        check(
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
            ["Safari", "16.6", "iOS", "16.6", "Tablet"],
        );
        check(
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
            ["Chrome", "126.0", "Android", "14", "Mobile"],
        );
        check(
            "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            ["Chrome", "126.0", "Android", "13", "Tablet"],
        );
        check(
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
            ["Firefox", "127.0", "Ubuntu", "", "Desktop"],
        );
        check(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
            ["Edge", "126.0", "Windows", "10", "Desktop"],
        );
        check("something nobody has heard of", ["", "", "", "", ""]);
    }

    #[test]
    fn robots_and_silence_are_bots() {
        let agents = Agents::new(1);
        for robot in [
            "",
            " ",
            "curl/8.5.0",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        ] {
            assert!(agents.agent(robot).is_bot, "{robot}");
        }
    }

    #[test]
    fn equal_agents_share_one_client_and_caches_are_bounded() {
        let agents = Agents::new(1);
        let language = Text::from("de-DE");
        let agent =
            agents.agent("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0");
        let first = agents.client(&agent, "Desktop", &language);
        let second = agents.client(&agent, "Desktop", &language);
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(
            &first,
            &agents.client(&agent, "Mobile", &language)
        ));
        for number in 0..AGENTS_MAX + 2_000 {
            agents.agents.insert(u128::from(number), agent.clone());
        }
        assert!(agents.remembered() <= AGENTS_MAX);
    }

    #[test]
    fn an_endless_user_agent_is_cut() {
        let agents = Agents::new(1);
        let agent = agents.agent(&"ü".repeat(100_000));
        assert_eq!(agent.parts.raw_user_agent.len(), USER_AGENT_BYTES_MAX);
    }
}
