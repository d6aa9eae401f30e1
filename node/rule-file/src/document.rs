//! The file's shape; unknown keys are refused.

use serde::Deserialize;

use crate::texts::Texts;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) bots: Option<Bots>,
    #[serde(default)]
    pub(crate) channels: Vec<Channel>,
    #[serde(default)]
    pub(crate) pages: Vec<Page>,
    #[serde(default)]
    pub(crate) settings: Settings,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bots {
    #[serde(default)]
    pub(crate) are: Texts,
    #[serde(default)]
    pub(crate) are_not: Texts,
    #[serde(default)]
    pub(crate) others: Others,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Others {
    #[default]
    Keep,
    Count,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channel {
    pub(crate) channel: String,
    #[serde(default)]
    pub(crate) source: Texts,
    #[serde(default)]
    pub(crate) medium: Texts,
    #[serde(default)]
    pub(crate) referrer_host: Texts,
    #[serde(default)]
    pub(crate) campaign: Texts,
    #[serde(default)]
    pub(crate) was: Texts,
}

/// Exactly one of these, `with` only beside `replace`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    pub(crate) replace: Option<String>,
    pub(crate) with: Option<String>,
    pub(crate) lower_case: Option<bool>,
    pub(crate) drop_trailing_slash: Option<bool>,
    pub(crate) drop_prefix: Option<String>,
    pub(crate) drop_query: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) visit_timeout_minutes: Option<u32>,
    pub(crate) timezone: Option<String>,
    pub(crate) goals: Option<Vec<Goal>>,
}

/// Exactly one of `event` and `page`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) event: Option<String>,
    pub(crate) page: Option<String>,
}
