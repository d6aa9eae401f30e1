//! A rule file, read.

use ringtail_analytics::{
    BotRules, ChannelRule, Condition, GoalRule, PageRewrite, Pattern, RuleSet, SettingsRules,
    Unlisted, ZoneRule,
};
use ringtail_proto::stored::ZoneTransition;

use crate::{
    RuleFileError,
    document::{Channel, Document, Goal, Others, Page},
    texts::Texts,
};

/// Rules as a file says them.
///
/// ```toml
/// [bots]                            # absent: nobody's verdict changes
/// are = ["acme-monitor", '/^curl\//']  # part of the user agent, or a /regular expression/; case does not matter
/// are_not = "KioskBrowser"          # wins over `are`
/// others = "keep"                   # or "count": the lists alone decide
///
/// [[channels]]                      # the first that holds; all conditions of one have to
/// channel = "Newsletter"
/// source = ["spring-letter", "*.mailer.example"]  # the whole text with `*`, or a /regular expression/
/// medium = "email"                  # also: referrer_host, campaign, was (the channel so far); "" means none
///
/// [[pages]]                         # one after the other
/// replace = '/user/\d+'             # a regular expression that regards case; $1 and ${name} are its groups
/// with = "/user/:id"
///
/// [[pages]]
/// lower_case = true                 # or drop_trailing_slash = true, drop_query = true, drop_prefix = "/app"
///
/// [settings]                        # each absent one stays
/// visit_timeout_minutes = 45
/// timezone = "Europe/Berlin"
/// goals = [{ name = "Sign up", event = "signup" }, { name = "Docs", page = "/docs/**" }]  # all goals of the site
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RuleFile {
    rules: RuleSet,
    timezone: Option<String>,
    goals: Option<Vec<Goal>>,
}

impl RuleFile {
    /// Most bytes of a rule file.
    pub const BYTES_MAX: usize = RuleSet::ENCODED_BYTES_MAX;

    /// Reads a file and looks at every rule but the time zone.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line or its key and what is allowed.
    pub fn parse(text: &str) -> Result<Self, RuleFileError> {
        if text.len() > Self::BYTES_MAX {
            return Err(RuleFileError::TooLarge {
                found: text.len(),
                max: Self::BYTES_MAX,
            });
        }
        let document: Document =
            toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        let channels = document.channels.into_iter();
        let pages = document.pages.into_iter().enumerate();
        let file = Self {
            rules: RuleSet {
                bots: document.bots.map(|bots| BotRules {
                    are: patterns(bots.are, Pattern::part_or_regex),
                    are_not: patterns(bots.are_not, Pattern::part_or_regex),
                    unlisted: match bots.others {
                        Others::Keep => Unlisted::Keep,
                        Others::Count => Unlisted::Count,
                    },
                }),
                channels: channels.map(channel_rule).collect(),
                pages: pages
                    .map(|(position, page)| page_rewrite(position, page))
                    .collect::<Result<_, _>>()?,
                settings: SettingsRules {
                    visit_timeout_minutes: document.settings.visit_timeout_minutes,
                    ..SettingsRules::default()
                },
                ..RuleSet::default()
            },
            timezone: document.settings.timezone,
            goals: document.settings.goals,
        };
        let mut number = 0;
        let next_id = |_: &str| {
            number += 1;
            number
        };
        file.with_goals(next_id)?.check()?;
        if file.is_empty() {
            return Err(RuleFileError::Entry {
                at: "the rule file".to_owned(),
                message: "it changes nothing; allowed are bots, channels, pages and settings"
                    .to_owned(),
            });
        }
        Ok(file)
    }

    /// The zone that the site is to have, as the file writes it.
    #[must_use]
    pub fn timezone(&self) -> Option<&str> {
        self.timezone.as_deref()
    }

    /// The names of the goals that the site is to have; none when they stay.
    pub fn goal_names(&self) -> Option<impl Iterator<Item = &str>> {
        let goals = self.goals.as_ref()?;
        Some(goals.iter().map(|goal| goal.name.as_str()))
    }

    /// The rule set. `goal_id` says by which id reports know the goal of a name: a known goal's own or a new one;
    /// `transitions` gives a zone's offsets, the first since ever, or says why there is no such zone.
    ///
    /// # Errors
    /// When there is no such zone, or the set is over a limit.
    pub fn rule_set<E: std::fmt::Display>(
        &self,
        goal_id: impl FnMut(&str) -> u64,
        transitions: impl FnOnce(&str) -> Result<Vec<ZoneTransition>, E>,
    ) -> Result<RuleSet, RuleFileError> {
        let mut rules = self.with_goals(goal_id)?;
        if let Some(name) = &self.timezone {
            let rows = transitions(name).map_err(|error| RuleFileError::Zone {
                message: error.to_string(),
            })?;
            rules.settings.zone = Some(ZoneRule {
                name: name.clone(),
                transitions: rows
                    .iter()
                    .map(|row| (row.from_ms, row.offset_seconds))
                    .collect(),
            });
        }
        rules.check()?;
        Ok(rules)
    }

    fn with_goals(&self, mut goal_id: impl FnMut(&str) -> u64) -> Result<RuleSet, RuleFileError> {
        let mut rules = self.rules.clone();
        let Some(goals) = &self.goals else {
            return Ok(rules);
        };
        let mut ruled: Vec<GoalRule> = Vec::with_capacity(goals.len());
        for (position, goal) in goals.iter().enumerate() {
            let at = format!("settings.goals[{position}]");
            if ruled.iter().any(|known| known.name == goal.name) {
                let message = format!("a goal before it is called {:?}, too", goal.name);
                return Err(RuleFileError::Entry { at, message });
            }
            ruled.push(GoalRule {
                id: goal_id(&goal.name),
                name: goal.name.clone(),
                condition: condition(at, goal)?,
            });
        }
        rules.settings.goals = Some(ruled);
        Ok(rules)
    }

    fn is_empty(&self) -> bool {
        self.rules == RuleSet::default() && self.timezone.is_none() && self.goals.is_none()
    }
}

fn patterns(texts: Texts, pattern: fn(&str) -> Pattern) -> Vec<Pattern> {
    texts.0.iter().map(|text| pattern(text)).collect()
}

fn channel_rule(channel: Channel) -> ChannelRule {
    let whole = |texts: Texts| patterns(texts, Pattern::whole_or_regex);
    ChannelRule {
        channel: channel.channel,
        source: whole(channel.source),
        medium: whole(channel.medium),
        referrer_host: whole(channel.referrer_host),
        campaign: whole(channel.campaign),
        was: whole(channel.was),
    }
}

fn page_rewrite(position: usize, page: Page) -> Result<PageRewrite, RuleFileError> {
    const ALLOWED: &str = "allowed is exactly one of `replace` (with `with`), `lower_case`, `drop_trailing_slash`, \
                           `drop_prefix`, `drop_query`";
    let refused = |message: &str| RuleFileError::Entry {
        at: format!("pages[{position}]"),
        message: format!("{message}; {ALLOWED}"),
    };
    let switch = |on: Option<bool>, rewrite: PageRewrite| on.map(|on| (on, rewrite));
    let given = [
        page.replace.map(|pattern| {
            let with = page.with.clone().unwrap_or_default();
            (page.with.is_some(), PageRewrite::Replace { pattern, with })
        }),
        switch(page.lower_case, PageRewrite::LowerCase),
        switch(page.drop_trailing_slash, PageRewrite::DropTrailingSlash),
        page.drop_prefix
            .map(|prefix| (true, PageRewrite::DropPrefix(prefix))),
        switch(page.drop_query, PageRewrite::DropQuery),
    ];
    let mut given = given.into_iter().flatten();
    let (is_complete, rewrite) = given.next().ok_or_else(|| refused("it says nothing"))?;
    if given.next().is_some() {
        return Err(refused("it says two things"));
    }
    match (is_complete, &rewrite) {
        (true, PageRewrite::Replace { .. }) => Ok(rewrite),
        (false, PageRewrite::Replace { .. }) => Err(refused("`replace` needs `with`")),
        (false, _) => Err(refused("a switch can only be true")),
        (true, _) if page.with.is_some() => Err(refused("`with` needs `replace`")),
        (true, _) => Ok(rewrite),
    }
}

fn condition(at: String, goal: &Goal) -> Result<Condition, RuleFileError> {
    match (&goal.event, &goal.page) {
        (Some(event), None) => Ok(Condition::EventName(event.clone())),
        (None, Some(page)) => Ok(Condition::PagePattern(page.clone())),
        _ => Err(RuleFileError::Entry {
            at,
            message: "a goal has either `event` or `page`".to_owned(),
        }),
    }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> RuleFileError {
    let offset = error.span().map_or(0, |span| span.start);
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    RuleFileError::Syntax {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        message: error.message().replace('\n', "; "),
    }
}
