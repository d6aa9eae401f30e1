//! Who is a robot.

use regex::bytes::RegexSet;
use ringtail_proto::DropReason;

use super::{
    BotRules, RuleSet, RuleSetError, Unlisted,
    error::list_fits,
    pattern::{Budget, pattern_set},
};

/// [`BotRules`], compiled.
#[derive(Clone, Debug)]
pub(super) struct Bots {
    are: RegexSet,
    are_not: RegexSet,
    unlisted: Unlisted,
}

/// What the lists say of a user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Robot,
    Person,
    Nowhere,
}

impl Bots {
    pub(super) fn compile(rules: &BotRules, budget: Budget) -> Result<Self, RuleSetError> {
        let set = |name: &'static str, patterns: &[_]| {
            list_fits(name, patterns.len(), RuleSet::BOT_PATTERNS_MAX)?;
            let named = patterns.iter().enumerate();
            pattern_set(
                named.map(|(position, pattern)| (format!("{name}[{position}]"), pattern)),
                budget,
            )
        };
        Ok(Self {
            are: set("bots.are", &rules.are)?,
            are_not: set("bots.are_not", &rules.are_not)?,
            unlisted: rules.unlisted,
        })
    }

    pub(super) fn listed(&self, user_agent: &[u8]) -> Listed {
        if self.are_not.is_match(user_agent) {
            return Listed::Person;
        }
        match self.are.is_match(user_agent) {
            true => Listed::Robot,
            false => Listed::Nowhere,
        }
    }

    /// The drop reason code of an event of such a user agent; 0 stands for an accepted one.
    pub(super) fn dropped(&self, listed: Listed, dropped: u32) -> u32 {
        let robot = u32::from(DropReason::Bot.code());
        if dropped != 0 && dropped != robot {
            return dropped;
        }
        match (listed, self.unlisted) {
            (Listed::Robot, _) => robot,
            (Listed::Person, _) | (Listed::Nowhere, Unlisted::Count) => 0,
            (Listed::Nowhere, Unlisted::Keep) => dropped,
        }
    }
}
