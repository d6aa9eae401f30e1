//! A rule set, compiled.

use bytes::Bytes;
use ringtail_proto::{
    UnixMillis,
    stored::{self, EventBatch, SiteEvents, SiteSettings, ZoneTransition},
};

use super::{
    GoalRule, RuleSet, RuleSetError, RuledEvents, SettingsRules, ZoneRule,
    bots::Bots,
    channels::Channels,
    error::{list_fits, text_fits},
    pages::Pages,
    pattern::Budget,
    rewriter::Rewriter,
    subjects::Subjects,
};
use crate::{Condition, Settings};

/// A rule set, compiled. Applying it is a pure function of the rules, the entry's stamp and the events; compiling takes
/// milliseconds and up to some megabytes, so all sites and replicas of a node that share rules ought to share one.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(super) from_ms: i64,
    pub(super) bots: Option<Bots>,
    pub(super) channels: Option<Channels>,
    pub(super) pages: Option<Pages>,
    pub(super) subjects: Subjects,
    settings: SettingsRules,
}

impl Rules {
    /// Compiles a rule set that was accepted by [`RuleSet::check`] or [`RuleSet::encode`], maybe by an older binary.
    ///
    /// # Errors
    /// When a rule is over a limit or does not compile.
    pub fn of(rules: &RuleSet) -> Result<Self, RuleSetError> {
        Self::compile(rules, Budget::Wide)
    }

    /// Compiles an encoded rule set; no bytes at all are no rules.
    ///
    /// # Errors
    /// When the bytes are no rule set of a known version, or a rule does not compile.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, RuleSetError> {
        match bytes.is_empty() {
            true => Ok(None),
            false => Self::of(&RuleSet::decode(bytes)?).map(Some),
        }
    }

    pub(super) fn compile(rules: &RuleSet, budget: Budget) -> Result<Self, RuleSetError> {
        settings_fit(&rules.settings)?;
        let bots = rules.bots.as_ref();
        let channels = (!rules.channels.is_empty()).then_some(&rules.channels);
        let pages = (!rules.pages.is_empty()).then_some(&rules.pages);
        Ok(Self {
            from_ms: rules.from.map_or(i64::MIN, |from| from.0),
            bots: bots.map(|bots| Bots::compile(bots, budget)).transpose()?,
            channels: channels
                .map(|rows| Channels::compile(rows, budget))
                .transpose()?,
            pages: pages.map(|rows| Pages::compile(rows, budget)).transpose()?,
            subjects: Subjects::compile(&rules.without)?,
            settings: rules.settings.clone(),
        })
    }

    /// A site's events of one entry as the rules have them.
    #[must_use]
    pub fn events<'a>(
        &self,
        stamp: UnixMillis,
        batch: &'a EventBatch,
        events: &'a SiteEvents,
    ) -> RuledEvents<'a> {
        match self.changes_events() {
            true => Rewriter::new(self, batch, events.events.len()).run(stamp, events),
            false => RuledEvents::unchanged(batch, events),
        }
    }

    /// A settings command as the rules have it.
    #[must_use]
    pub fn settings(&self, command: &SiteSettings) -> SiteSettings {
        let mut settings = command.clone();
        if command.revision > self.settings.revision_max {
            return settings;
        }
        if let Some(minutes) = self.settings.visit_timeout_minutes {
            settings.visit_timeout_minutes = minutes;
        }
        if let Some(goals) = &self.settings.goals {
            settings.goals = goals.iter().map(stored_goal).collect();
        }
        if let Some(zone) = &self.settings.zone {
            settings.timezone = Bytes::copy_from_slice(zone.name.as_bytes());
            settings.transitions = zone.transitions.iter().map(stored_transition).collect();
        }
        settings
    }

    /// What holds before the first settings command.
    #[must_use]
    pub fn initial_settings(&self) -> Settings {
        let initial = SiteSettings {
            timezone: Bytes::from_static(b"UTC"),
            ..SiteSettings::default()
        };
        Settings::from_command(&self.settings(&initial))
    }

    fn changes_events(&self) -> bool {
        let is_any = [
            self.bots.is_some(),
            self.channels.is_some(),
            self.pages.is_some(),
            !self.subjects.is_empty(),
        ];
        is_any.contains(&true)
    }
}

fn stored_goal(goal: &GoalRule) -> stored::Goal {
    let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
    stored::Goal {
        id: goal.id,
        name: bytes(&goal.name),
        // Since ever: no time of an event is before.
        since_ms: i64::MIN,
        condition: Some(match &goal.condition {
            Condition::EventName(name) => stored::goal::Condition::EventName(bytes(name)),
            Condition::PagePattern(pattern) => stored::goal::Condition::PagePattern(bytes(pattern)),
        }),
    }
}

fn stored_transition((from_ms, offset_seconds): &(i64, i32)) -> ZoneTransition {
    ZoneTransition {
        from_ms: *from_ms,
        offset_seconds: *offset_seconds,
    }
}

fn settings_fit(rules: &SettingsRules) -> Result<(), RuleSetError> {
    let limits = Settings::VISIT_TIMEOUT_MINUTES;
    if let Some(minutes) = rules.visit_timeout_minutes
        && !limits.contains(&minutes)
    {
        return Err(RuleSetError::OutOfRange {
            at: "settings.visit_timeout_minutes".to_owned(),
            found: minutes.to_string(),
            allowed: format!("{} to {}", limits.start(), limits.end()),
        });
    }
    let goals = rules.goals.as_deref().unwrap_or_default();
    list_fits("settings.goals", goals.len(), RuleSet::GOALS_MAX)?;
    for (position, goal) in goals.iter().enumerate() {
        goal_fits(&format!("settings.goals[{position}]"), goal)?;
        let is_repeated = goals.iter().take(position).any(|known| known.id == goal.id);
        if is_repeated {
            return Err(RuleSetError::OutOfRange {
                at: format!("settings.goals[{position}].id"),
                found: goal.id.to_string(),
                allowed: "an id that no goal before it has".to_owned(),
            });
        }
    }
    rules.zone.as_ref().map_or(Ok(()), zone_fits)
}

fn goal_fits(at: &str, goal: &GoalRule) -> Result<(), RuleSetError> {
    text_fits(
        &format!("{at}.name"),
        &goal.name,
        RuleSet::GOAL_TEXT_BYTES_MAX,
    )?;
    match &goal.condition {
        Condition::EventName(name) => {
            text_fits(&format!("{at}.event"), name, RuleSet::GOAL_TEXT_BYTES_MAX)
        }
        Condition::PagePattern(pattern) => {
            let at = format!("{at}.page");
            text_fits(&at, pattern, RuleSet::GOAL_TEXT_BYTES_MAX)?;
            match pattern.starts_with(['/', '*']) {
                true => Ok(()),
                false => Err(RuleSetError::Pattern {
                    at,
                    message: format!("{pattern:?} does not begin with / or *"),
                }),
            }
        }
    }
}

fn zone_fits(zone: &ZoneRule) -> Result<(), RuleSetError> {
    const OFFSET_SECONDS_MAX: i32 = 64_800;
    const NAME_BYTES_MAX: usize = 100;
    text_fits("settings.zone.name", &zone.name, NAME_BYTES_MAX)?;
    let at = "settings.zone.transitions";
    list_fits(at, zone.transitions.len(), RuleSet::TRANSITIONS_MAX)?;
    if zone.transitions.is_empty() {
        return Err(RuleSetError::Empty { at: at.to_owned() });
    }
    let refused = |found: String, allowed: &str| RuleSetError::OutOfRange {
        at: at.to_owned(),
        found,
        allowed: allowed.to_owned(),
    };
    if !zone.transitions.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(refused(
            "out of order".to_owned(),
            "each instant after the one before",
        ));
    }
    let is_absurd = |(_, offset): &&(i64, i32)| offset.unsigned_abs() > OFFSET_SECONDS_MAX as u32;
    match zone.transitions.iter().find(is_absurd) {
        Some((_, offset)) => Err(refused(format!("{offset} s"), "at most 18 hours from UTC")),
        None => Ok(()),
    }
}
