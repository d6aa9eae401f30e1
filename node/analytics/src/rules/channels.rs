//! The channel table.

use bytes::Bytes;
use regex::bytes::RegexSet;
use ringtail_proto::stored::Acquisition;

use super::{
    ChannelRule, Pattern, RuleSet, RuleSetError,
    error::{list_fits, text_fits},
    pattern::{Budget, pattern_set},
};

const FIELDS: usize = 5;

/// The channel table, compiled: the patterns of all rows that look at one field are one set, so that a field is read once.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    sets: [RegexSet; FIELDS],
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    channel: Bytes,
    /// By field, the positions of its patterns in the field's set; empty for no condition.
    conditions: [std::ops::Range<usize>; FIELDS],
}

impl Channels {
    pub(super) fn compile(rules: &[ChannelRule], budget: Budget) -> Result<Self, RuleSetError> {
        list_fits("channels", rules.len(), RuleSet::CHANNELS_MAX)?;
        let mut patterns: [Vec<(String, &Pattern)>; FIELDS] = Default::default();
        let mut rows = Vec::with_capacity(rules.len());
        for (position, rule) in rules.iter().enumerate() {
            let at = format!("channels[{position}]");
            text_fits(
                &format!("{at}.channel"),
                &rule.channel,
                RuleSet::CHANNEL_BYTES_MAX,
            )?;
            let mut conditions: [std::ops::Range<usize>; FIELDS] = Default::default();
            let fields = rule.fields().into_iter().zip(&mut patterns);
            for (((name, wanted), all), condition) in fields.zip(&mut conditions) {
                let at = format!("{at}.{name}");
                list_fits(&at, wanted.len(), RuleSet::CONDITION_PATTERNS_MAX)?;
                let begin = all.len();
                let named = wanted.iter().enumerate();
                all.extend(named.map(|(number, pattern)| (format!("{at}[{number}]"), pattern)));
                *condition = begin..all.len();
            }
            rows.push(Row {
                channel: Bytes::copy_from_slice(rule.channel.as_bytes()),
                conditions,
            });
        }
        let mut sets: [RegexSet; FIELDS] = Default::default();
        for (set, patterns) in sets.iter_mut().zip(patterns) {
            *set = pattern_set(patterns.into_iter(), budget)?;
        }
        Ok(Self { sets, rows })
    }

    /// The channel of the first row that holds; none when no row does.
    pub(super) fn channel(&self, acquisition: &Acquisition) -> Option<&Bytes> {
        let texts: [&[u8]; FIELDS] = [
            &acquisition.source,
            &acquisition.utm_medium,
            host_of(&acquisition.referrer),
            &acquisition.utm_campaign,
            &acquisition.channel,
        ];
        let mut found: [Vec<usize>; FIELDS] = Default::default();
        for ((set, text), found) in self.sets.iter().zip(texts).zip(&mut found) {
            if !set.is_empty() {
                found.extend(set.matches(text));
            }
        }
        let holds = |row: &&Row| {
            row.conditions.iter().zip(&found).all(|(wanted, found)| {
                wanted.is_empty() || found.iter().any(|pattern| wanted.contains(pattern))
            })
        };
        self.rows.iter().find(holds).map(|row| &row.channel)
    }
}

impl ChannelRule {
    /// Its conditions, in the order of the fields.
    fn fields(&self) -> [(&'static str, &[Pattern]); FIELDS] {
        [
            ("source", &self.source),
            ("medium", &self.medium),
            ("referrer_host", &self.referrer_host),
            ("campaign", &self.campaign),
            ("was", &self.was),
        ]
    }
}

/// A shown referrer is the host without `www.` and the path.
fn host_of(referrer: &[u8]) -> &[u8] {
    referrer
        .split(|byte| *byte == b'/')
        .next()
        .unwrap_or_default()
}
