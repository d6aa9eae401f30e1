//! The rules of a generation: what is changed about stored events and settings before a site's state sees them.
//!
//! A [`RuleSet`] is plain data and travels in a partition's log; [`Rules`] is the same, compiled. Nothing but the rule set
//! decides: no clock, no list that comes with the binary, no table of Unicode (patterns know ASCII letters only), so that
//! every replica and every later version makes the same events out of the same events.

mod bots;
mod by_position;
mod channels;
mod codec;
mod compiled;
mod error;
mod pages;
mod pattern;
mod rewriter;
mod rule_set;
mod ruled_events;
mod ruled_state;
mod subjects;
mod template;

pub use compiled::Rules;
pub use error::RuleSetError;
pub use pattern::Pattern;
pub use rule_set::{
    BotRules, ChannelRule, GoalRule, PageRewrite, RuleSet, SettingsRules, Subject, Unlisted,
    Without, ZoneRule,
};
pub use ruled_events::RuledEvents;
pub use ruled_state::RuledState;
