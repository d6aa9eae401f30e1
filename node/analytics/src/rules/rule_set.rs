//! A rule set as plain data.

use ringtail_proto::{UnixMillis, VisitorId};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Pattern, RuleSetError, Rules, pattern::Budget};
use crate::Condition;

/// The rules of one generation of a site. The empty set changes nothing.
///
/// Bots, channels and pages are judged for each event on its own; settings hold for the whole generation. Events of a
/// subject that is left out are gone before anything else looks at them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSet {
    /// Bots, channels and pages are changed for events of this time and later; none for all events.
    pub from: Option<UnixMillis>,
    /// Who is a robot; none leaves every verdict as it was.
    pub bots: Option<BotRules>,
    /// The first rule that holds names the channel; where none holds, it stays as it was.
    pub channels: Vec<ChannelRule>,
    /// Rewrites of the page, one after the other.
    pub pages: Vec<PageRewrite>,
    /// What replaces settings.
    pub settings: SettingsRules,
    /// Whose events are left out as if they had never been sent.
    pub without: Vec<Without>,
}

/// Who is a robot, told by the raw user agent (of which at most 512 bytes are kept).
///
/// Only the drop reason `bot` is touched: an event dropped for another reason stays dropped for it. Patterns look at all
/// accepted events, those of servers and imports, too, which live collection does not test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BotRules {
    /// These are robots.
    pub are: Vec<Pattern>,
    /// These are not, even if a pattern of `are` matches.
    pub are_not: Vec<Pattern>,
    /// What becomes of those that no pattern matches.
    pub unlisted: Unlisted,
}

/// What becomes of user agents that no pattern of a bot rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unlisted {
    /// They stay what live collection took them for.
    #[default]
    Keep,
    /// They are people: the lists alone decide.
    Count,
}

/// A row of the channel table. All its conditions have to hold; an empty list is no condition, a list holds when one of
/// its patterns does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRule {
    /// The channel's name.
    pub channel: String,
    /// The source as reports show it.
    pub source: Vec<Pattern>,
    /// `utm_medium`.
    pub medium: Vec<Pattern>,
    /// Host of the referring page, without `www.`.
    pub referrer_host: Vec<Pattern>,
    /// `utm_campaign`.
    pub campaign: Vec<Pattern>,
    /// The channel that live collection gave it.
    pub was: Vec<Pattern>,
}

/// One change of an event's page, which is its path with the kept part of the query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PageRewrite {
    /// Every match of an expression (which regards case) gives way to a text with `$1`, `${name}` for groups.
    Replace {
        /// The expression.
        pattern: String,
        /// The replacement.
        with: String,
    },
    /// ASCII letters become small.
    LowerCase,
    /// `/a/?q=1` becomes `/a?q=1`; `/` stays.
    DropTrailingSlash,
    /// `/app/a` becomes `/a` for the prefix `/app`; `/apple` stays.
    DropPrefix(String),
    /// What follows the path goes.
    DropQuery,
}

/// What replaces settings: in every settings command up to a revision, and in what holds before the first one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsRules {
    /// Later commands were given in the knowledge of these rules and stand as they are. The site's zone still cannot change
    /// once it has events.
    pub revision_max: u64,
    /// Gap that ends a visit.
    pub visit_timeout_minutes: Option<u32>,
    /// All goals of the site, counting since ever.
    pub goals: Option<Vec<GoalRule>>,
    /// The site's zone.
    pub zone: Option<ZoneRule>,
}

impl Default for SettingsRules {
    fn default() -> Self {
        Self {
            revision_max: u64::MAX,
            visit_timeout_minutes: None,
            goals: None,
            zone: None,
        }
    }
}

/// A goal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoalRule {
    /// Its id; reports know the goal by it.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What meets it.
    pub condition: Condition,
}

/// A time zone by its offsets: rules look nothing up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRule {
    /// The IANA name.
    pub name: String,
    /// (instant in Unix ms, offset from UTC in seconds that holds from it on), ascending; the first holds since ever.
    pub transitions: Vec<(i64, i32)>,
}

/// Whose events are left out, and up to when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Without {
    /// Whose.
    pub subject: Subject,
    /// Later events stay; none leaves out all there will ever be.
    pub until: Option<UnixMillis>,
}

/// Somebody whose events are left out. Only hashes are kept, so that the rule does not store what it removes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// All events of a visitor, those that carry the visitor as the one of the day before, too.
    Visitor(u64),
    /// All events with a user id, and those without any user id of certain visitors.
    User {
        /// Hash of the user id.
        id: [u8; 16],
        /// Hashes of the visitors.
        visitors: Vec<u64>,
    },
}

impl Subject {
    const USER_CONTEXT: &'static str = "ringtail 2026-11 user id of a subject that is left out";
    const VISITOR_SEED: u64 = 0x5AB1_EC70_0FF0_0001;

    /// A visitor.
    #[must_use]
    pub fn visitor(visitor: VisitorId) -> Self {
        Self::Visitor(Self::visitor_hash(visitor.0))
    }

    /// A user, and visitors whose events without user id are the same person's.
    #[must_use]
    pub fn user(user_id: &str, visitors: impl IntoIterator<Item = VisitorId>) -> Self {
        let mut visitors: Vec<u64> = visitors
            .into_iter()
            .map(|visitor| Self::visitor_hash(visitor.0))
            .collect();
        visitors.sort_unstable();
        visitors.dedup();
        Self::User {
            id: Self::user_hash(user_id.as_bytes()),
            visitors,
        }
    }

    pub(super) fn visitor_hash(visitor: u64) -> u64 {
        xxh3_64_with_seed(&visitor.to_le_bytes(), Self::VISITOR_SEED)
    }

    pub(super) fn user_hash(user_id: &[u8]) -> [u8; 16] {
        let hash = blake3::derive_key(Self::USER_CONTEXT, user_id);
        let mut id = [0; 16];
        id.copy_from_slice(hash.split_at(16).0);
        id
    }
}

impl RuleSet {
    /// Most bytes of an encoded rule set.
    pub const ENCODED_BYTES_MAX: usize = 256 << 10;
    /// Most bytes of a pattern or an expression.
    pub const PATTERN_BYTES_MAX: usize = 1_000;
    /// Most patterns of each list of bots.
    pub const BOT_PATTERNS_MAX: usize = 2_000;
    /// Most rows of the channel table.
    pub const CHANNELS_MAX: usize = 200;
    /// Most patterns of one condition.
    pub const CONDITION_PATTERNS_MAX: usize = 100;
    /// Most bytes of a channel's name.
    pub const CHANNEL_BYTES_MAX: usize = 100;
    /// Most rewrites of pages.
    pub const PAGES_MAX: usize = 50;
    /// Most bytes of a replacement.
    pub const REPLACEMENT_BYTES_MAX: usize = 500;
    /// Most bytes of a rewritten page; what is longer is cut. A page that no rewrite changes stays as it is.
    pub const PAGE_BYTES_MAX: usize = 8_000;
    /// Most goals.
    pub const GOALS_MAX: usize = crate::Settings::GOALS_MAX;
    /// Most bytes of a goal's name, and of the event name or pattern that meets it.
    pub const GOAL_TEXT_BYTES_MAX: usize = 2_000;
    /// Most transitions of a zone.
    pub const TRANSITIONS_MAX: usize = 400;
    /// Most subjects that are left out.
    pub const WITHOUT_MAX: usize = 10_000;

    /// Looks at every rule.
    ///
    /// # Errors
    /// The first rule that is over a limit or does not compile.
    pub fn check(&self) -> Result<(), RuleSetError> {
        Rules::compile(self, Budget::Strict).map(|_| ())
    }
}
