//! A site's settings as its partition's log has to hold them.

use bytes::Bytes;
use ringtail_proto::{SiteId, stored};

use crate::{Goal, GoalCondition, MetadataError, Site, zone};

/// Settings that wait to enter a partition's log.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsPush {
    /// The site.
    pub site: SiteId,
    /// Their revision, for [`crate::Metadata::settle`].
    pub revision: u64,
    /// The command for the site's partition.
    pub command: stored::SiteCommand,
}

/// The command that tells a partition all it has to know about a site.
///
/// # Errors
/// When the site's zone is not in this binary's database.
pub fn settings_of(site: &Site) -> Result<SettingsPush, MetadataError> {
    let options = &site.settings;
    let settings = stored::SiteSettings {
        revision: options.revision,
        timezone: Bytes::copy_from_slice(site.timezone.as_bytes()),
        transitions: zone::transitions(&site.timezone)?,
        visit_timeout_minutes: u32::from(options.visit_timeout_minutes),
        goals: options.goals.iter().map(stored_goal).collect(),
        property_keys: options.property_keys.iter().map(bytes_of).collect(),
        sketch_key: options.sketch_key,
    };
    Ok(SettingsPush {
        site: site.id,
        revision: options.revision,
        command: stored::SiteCommand {
            site: site.id.0,
            change: Some(stored::site_command::Change::Settings(settings)),
        },
    })
}

fn stored_goal(goal: &Goal) -> stored::Goal {
    use stored::goal::Condition;
    stored::Goal {
        id: goal.id.0,
        name: bytes_of(&goal.name),
        since_ms: goal.since.0,
        condition: Some(match &goal.condition {
            GoalCondition::EventName(name) => Condition::EventName(bytes_of(name)),
            GoalCondition::PagePattern(pattern) => Condition::PagePattern(bytes_of(pattern)),
        }),
    }
}

fn bytes_of(text: &String) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
