//! What a command has to satisfy whatever the state is; checked before it enters the log, never while it is applied.
//!
//! The rules here may differ between versions (a zone is added to the database, a limit moves), and apply may not.

use std::collections::BTreeSet;

use ringtail_proto::NodeId;

use crate::{
    Command, Domain, GoalCondition, Limits, MetadataError, NodeAddresses, OptionsChange,
    REPROCESS_LABEL_BYTES_MAX, RULES_BYTES_MAX, zone,
};

/// Property keys of a site that have cells.
pub const PROPERTY_KEYS_MAX: usize = 16;
/// Query parameters that a site adds to those kept anyway.
pub const ALLOWED_QUERY_PARAMETERS_MAX: usize = 64;
/// Hosts beside its domains from which a site takes events.
pub const ALLOWED_ORIGINS_MAX: usize = 64;
/// Bytes of the names of goals, keys, property keys and parameters.
pub const NAME_BYTES_MAX: usize = 120;
/// Bytes of an event name or a page pattern.
pub const CONDITION_BYTES_MAX: usize = 2_000;
/// Bytes of the reason given for a command, and of who gives it.
pub const REASON_BYTES_MAX: usize = 500;
/// Rows that one housekeeping command changes.
pub const HOUSEKEEPING_ROWS_MAX: usize = 4_096;
/// Minutes of a visit's timeout.
pub const VISIT_TIMEOUT_MINUTES_MAX: u16 = 240;
/// Partition groups of a ring.
pub const GROUPS_MAX: u32 = 1_024;
/// Bytes of a node's address.
pub const ADDRESS_BYTES_MAX: usize = 300;
/// Bytes of a node's zone.
pub const ZONE_BYTES_MAX: usize = 100;
/// Replicas of a group.
pub const REPLICAS_MAX: u8 = 5;

/// Checks all that can be checked without the state.
pub(crate) fn validate(command: &Command) -> Result<(), MetadataError> {
    match command {
        Command::InitCluster { groups, limits, .. } => {
            if *groups == 0 || *groups > GROUPS_MAX {
                let reason = format!("{groups} is not between 1 and {GROUPS_MAX}");
                return Err(MetadataError::invalid("groups", reason));
            }
            limits_are_positive(limits)
        }
        Command::SetLimits { limits } => limits_are_positive(limits),
        Command::RegisterNode { addresses, .. } => {
            text_fits("http address", &addresses.http, ADDRESS_BYTES_MAX)?;
            text_fits("grpc address", &addresses.grpc, ADDRESS_BYTES_MAX)
        }
        Command::AddSite { timezone, .. } => {
            let canonical = zone::canonical_name(timezone)?;
            if *canonical == **timezone {
                return Ok(());
            }
            let reason = format!("write it as {canonical:?}");
            Err(MetadataError::invalid("timezone", reason))
        }
        Command::SetAliases { aliases, .. } => all_differ("aliases", aliases.iter()),
        Command::SetSiteOptions { change, .. } => options(change),
        Command::AddGoal {
            name, condition, ..
        } => {
            name_is_given("goal name", name)?;
            goal_condition(condition)
        }
        Command::AddKey { name, .. } => text_fits("key name", name, NAME_BYTES_MAX),
        Command::TouchKeys { used } => housekeeping_fits("used", used.len()),
        Command::SettleSites { settled } => housekeeping_fits("settled", settled.len()),
        Command::CreateJoinToken { name, .. } => text_fits("token name", name, NAME_BYTES_MAX),
        Command::JoinNode {
            addresses, zone, ..
        }
        | Command::DescribeNode {
            addresses, zone, ..
        } => description(addresses, zone),
        Command::SetReplicationFactor { replicas_max } => replica_count("replicas", *replicas_max),
        Command::MoveGroup { target, .. } => replicas("target", target),
        Command::SettleGroup { voters, .. } => replicas("voters", voters),
        Command::Reprocess { rules, label, .. } => {
            text_fits("label", label, REPROCESS_LABEL_BYTES_MAX)?;
            match rules.len() <= RULES_BYTES_MAX {
                true => Ok(()),
                false => {
                    let found = rules.len();
                    let reason = format!("{found} bytes are more than {RULES_BYTES_MAX}");
                    Err(MetadataError::invalid("rules", reason))
                }
            }
        }
        Command::RevokeJoinToken { .. }
        | Command::SetNodeState { .. }
        | Command::RaiseFeatureGate { .. }
        | Command::RenameSite { .. }
        | Command::PauseSite { .. }
        | Command::RemoveGoal { .. }
        | Command::PauseReprocess { .. }
        | Command::CancelReprocess { .. }
        | Command::SwitchGeneration { .. }
        | Command::AcceptGeneration { .. }
        | Command::RevokeKey { .. } => Ok(()),
    }
}

/// Checks who asks and why.
pub(crate) fn validate_reason(who: &str, why: &str) -> Result<(), MetadataError> {
    if who.is_empty() {
        return Err(MetadataError::invalid("who", "it is empty"));
    }
    text_fits("who", who, REASON_BYTES_MAX)?;
    text_fits("why", why, REASON_BYTES_MAX)
}

fn options(change: &OptionsChange) -> Result<(), MetadataError> {
    if let Some(minutes) = change.visit_timeout_minutes
        && !(1..=VISIT_TIMEOUT_MINUTES_MAX).contains(&minutes)
    {
        let reason = format!("{minutes} is not between 1 and {VISIT_TIMEOUT_MINUTES_MAX}");
        return Err(MetadataError::invalid("visit timeout minutes", reason));
    }
    if let Some(keys) = &change.property_keys {
        names("property keys", keys, PROPERTY_KEYS_MAX)?;
    }
    if let Some(parameters) = &change.allowed_query_parameters {
        names(
            "allowed query parameters",
            parameters,
            ALLOWED_QUERY_PARAMETERS_MAX,
        )?;
    }
    if let Some(origins) = &change.allowed_origins {
        list_fits("allowed origins", origins.len(), ALLOWED_ORIGINS_MAX)?;
        all_differ::<Domain>("allowed origins", origins.iter())?;
    }
    Ok(())
}

fn description(addresses: &NodeAddresses, zone: &str) -> Result<(), MetadataError> {
    text_fits("zone", zone, ZONE_BYTES_MAX)?;
    for (field, address) in addresses.named() {
        text_fits(field, address, ADDRESS_BYTES_MAX)?;
        let is_needed = field == "peer address";
        if (is_needed || !address.is_empty()) && !is_host_and_port(address) {
            let reason = format!("{address:?} is not `host:port`");
            return Err(MetadataError::invalid(field, reason));
        }
    }
    Ok(())
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn replicas(field: &str, nodes: &[NodeId]) -> Result<(), MetadataError> {
    let count = u8::try_from(nodes.len()).unwrap_or(u8::MAX);
    replica_count(field, count)?;
    all_differ(field, nodes.iter())
}

/// An even number bears no more failures than one less.
fn replica_count(field: &str, count: u8) -> Result<(), MetadataError> {
    if count > REPLICAS_MAX || count.is_multiple_of(2) {
        let reason = format!("{count} is not 1, 3 or {REPLICAS_MAX}");
        return Err(MetadataError::invalid(field, reason));
    }
    Ok(())
}

fn goal_condition(condition: &GoalCondition) -> Result<(), MetadataError> {
    let (field, is_page) = match condition {
        GoalCondition::EventName(_) => ("event name", false),
        GoalCondition::PagePattern(_) => ("page pattern", true),
    };
    let text = condition.text();
    if text.is_empty() {
        return Err(MetadataError::invalid(field, "it is empty"));
    }
    text_fits(field, text, CONDITION_BYTES_MAX)?;
    if is_page && !text.starts_with(['/', '*']) {
        return Err(MetadataError::invalid(field, "it has to begin with / or *"));
    }
    Ok(())
}

fn limits_are_positive(limits: &Limits) -> Result<(), MetadataError> {
    let each = [
        ("sites_max", limits.sites_max),
        ("keys_max", limits.keys_max),
        ("nodes_max", limits.nodes_max),
        ("audit_records_max", limits.audit_records_max),
    ];
    match each.iter().find(|(_, limit)| *limit == 0) {
        Some((name, _)) => Err(MetadataError::invalid(name, "0 would lock the ring up")),
        None => Ok(()),
    }
}

fn names(field: &str, names: &[String], max: usize) -> Result<(), MetadataError> {
    list_fits(field, names.len(), max)?;
    for name in names {
        name_is_given(field, name)?;
    }
    all_differ(field, names.iter())
}

fn name_is_given(field: &str, name: &str) -> Result<(), MetadataError> {
    if name.trim().is_empty() {
        return Err(MetadataError::invalid(field, "it is empty"));
    }
    text_fits(field, name, NAME_BYTES_MAX)
}

fn text_fits(field: &str, text: &str, bytes_max: usize) -> Result<(), MetadataError> {
    if text.len() > bytes_max {
        let reason = format!("it has {} bytes, {bytes_max} are allowed", text.len());
        return Err(MetadataError::invalid(field, reason));
    }
    if text.chars().any(char::is_control) {
        return Err(MetadataError::invalid(
            field,
            "it contains control characters",
        ));
    }
    Ok(())
}

fn list_fits(field: &str, length: usize, max: usize) -> Result<(), MetadataError> {
    if length > max {
        let reason = format!("there are {length}, {max} are allowed");
        return Err(MetadataError::invalid(field, reason));
    }
    Ok(())
}

fn housekeeping_fits(field: &str, length: usize) -> Result<(), MetadataError> {
    list_fits(field, length, HOUSEKEEPING_ROWS_MAX)
}

fn all_differ<'a, T: Ord + 'a>(
    field: &str,
    mut items: impl Iterator<Item = &'a T>,
) -> Result<(), MetadataError> {
    let mut seen = BTreeSet::new();
    if items.all(|item| seen.insert(item)) {
        Ok(())
    } else {
        Err(MetadataError::invalid(field, "one is given twice"))
    }
}

#[cfg(test)]
mod tests {
    use ringtail_proto::SiteId;

    use super::*;

    #[test]
    fn options_outside_their_bounds_are_refused() {
        let check = |change: OptionsChange, expect: bool| {
            let command = Command::SetSiteOptions {
                site: SiteId(1),
                change: change.clone(),
            };
            assert_eq!(validate(&command).is_ok(), expect, "{change:?}");
        };
        let minutes = |minutes| OptionsChange {
            visit_timeout_minutes: Some(minutes),
            ..OptionsChange::default()
        };
        check(OptionsChange::default(), true);
        check(minutes(0), false);
        check(minutes(1), true);
        check(minutes(240), true);
        check(minutes(241), false);
        let keys = |keys: Vec<String>| OptionsChange {
            property_keys: Some(keys),
            ..OptionsChange::default()
        };
        check(
            keys((0..16).map(|key| format!("key {key}")).collect()),
            true,
        );
        check(
            keys((0..17).map(|key| format!("key {key}")).collect()),
            false,
        );
        check(keys(vec!["plan".into(), "plan".into()]), false);
        check(keys(vec![" ".into()]), false);
        check(keys(vec!["x".repeat(NAME_BYTES_MAX + 1)]), false);
        check(keys(vec!["line\nbreak".into()]), false);
    }

    #[test]
    fn a_node_says_where_its_peers_reach_it() {
        let check = |http: &str, peer: &str, zone: &str, expect: bool| {
            let command = Command::DescribeNode {
                node: NodeId(1),
                addresses: NodeAddresses {
                    http: http.to_owned(),
                    grpc: String::new(),
                    peer: peer.to_owned(),
                },
                zone: zone.to_owned(),
                feature_level: 1,
            };
            let is_ok = validate(&command).is_ok();
            assert_eq!(is_ok, expect, "{http:?} {peer:?} {zone:?}");
        };
        check("", "10.0.0.1:7000", "", true);
        check("node-1:8080", "node-1.example:7000", "rack 7", true);
        check("", "[::1]:7000", "", true);
        check("", "", "", false);
        check("", "10.0.0.1", "", false);
        check("", ":7000", "", false);
        check("", "10.0.0.1:0", "", false);
        check("", "10.0.0.1:70000", "", false);
        check("", "http://10.0.0.1:7000", "", false);
        check("", "10.0.0.1 :7000", "", false);
        check("http", "10.0.0.1:7000", "", false);
        check(
            "",
            &format!("{}:1", "x".repeat(ADDRESS_BYTES_MAX)),
            "",
            false,
        );
        check("", "10.0.0.1:7000", "a\nb", false);
        check("", "10.0.0.1:7000", &"z".repeat(ZONE_BYTES_MAX + 1), false);
    }

    #[test]
    fn replicas_are_one_three_or_five_different_nodes() {
        let check = |nodes: &[u64], expect: bool| {
            let nodes: Vec<NodeId> = nodes.iter().copied().map(NodeId).collect();
            let group = ringtail_proto::GroupId(1);
            let settle = Command::SettleGroup {
                group,
                revision: 1,
                voters: nodes.clone(),
            };
            assert_eq!(validate(&settle).is_ok(), expect, "{nodes:?}");
            let target = nodes;
            let command = Command::MoveGroup { group, target };
            assert_eq!(validate(&command).is_ok(), expect, "{command}");
        };
        check(&[1], true);
        check(&[3, 1, 2], true);
        check(&[1, 2, 3, 4, 5], true);
        check(&[], false);
        check(&[1, 2], false);
        check(&[1, 1, 2], false);
        check(&[1, 2, 3, 4, 5, 6, 7], false);
        check(&[1; 300], false);
        for replicas_max in 0..=u8::MAX {
            let command = Command::SetReplicationFactor { replicas_max };
            let is_possible = [1, 3, 5].contains(&replicas_max);
            assert_eq!(validate(&command).is_ok(), is_possible, "{replicas_max}");
        }
    }

    #[test]
    fn rules_and_their_label_are_bounded() {
        let check = |rules: usize, label: usize, expect: bool| {
            let command = Command::Reprocess {
                site: SiteId(1),
                rules: vec![7; rules],
                label: "x".repeat(label),
            };
            assert_eq!(validate(&command).is_ok(), expect, "{rules} {label}");
        };
        check(RULES_BYTES_MAX, REPROCESS_LABEL_BYTES_MAX, true);
        check(RULES_BYTES_MAX + 1, 0, false);
        check(0, REPROCESS_LABEL_BYTES_MAX + 1, false);
    }

    #[test]
    fn goals_need_a_name_and_a_condition() {
        let check = |name: &str, condition: GoalCondition, expect: bool| {
            let command = Command::AddGoal {
                site: SiteId(1),
                name: name.to_owned(),
                condition: condition.clone(),
            };
            assert_eq!(validate(&command).is_ok(), expect, "{name:?} {condition:?}");
        };
        let event = |name: &str| GoalCondition::EventName(name.to_owned());
        let page = |pattern: &str| GoalCondition::PagePattern(pattern.to_owned());
        check("Signup", event("signup"), true);
        check("", event("signup"), false);
        check("Signup", event(""), false);
        check("Signup", event(&"x".repeat(CONDITION_BYTES_MAX + 1)), false);
        check("Thanks", page("/thanks/*"), true);
        check("Thanks", page("**/thanks"), true);
        check("Thanks", page("thanks"), false);
    }

    #[test]
    fn zones_are_written_as_the_database_does() {
        let check = |timezone: &str, expect: bool| {
            let command = Command::AddSite {
                domain: Domain::parse("example.com").unwrap(),
                timezone: timezone.into(),
                sketch_key: 1,
            };
            assert_eq!(validate(&command).is_ok(), expect, "{timezone}");
        };
        check("Asia/Kolkata", true);
        check("asia/kolkata", false);
        check("Mars/Olympus", false);
    }
}
