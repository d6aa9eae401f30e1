//! Group 0's rules: what a command changes, given the state. Pure; the machine carries the changes out.

use std::{collections::BTreeMap, sync::Arc};

use ringtail_proto::{GroupId, NodeId, SiteId, UnixMillis};

use crate::{
    Cluster, ClusterId, Command, Description, Directory, Domain, Goal, GoalCondition, GoalId,
    GroupPlacement, JoinToken, JoinTokenId, Key, KeyId, Limits, MetadataError, Node, Outcome, Site,
    SiteOptions, SitePast, decide_ring::Joiner, ring_state::RingState, rows::Head,
};
use ringtail_ring::SlotTable;

/// One change of the state, and of the row that keeps it.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Cluster(Arc<Cluster>),
    Node(Arc<Node>),
    Site(Arc<Site>),
    Key(Arc<Key>),
    ForgetKey(KeyId),
    Ring(RingState),
    ForgetNode(NodeId),
    Token(Arc<JoinToken>),
    ForgetToken(JoinTokenId),
    Placement(GroupId, Arc<GroupPlacement>),
    Past(Arc<SitePast>),
}

/// What a command brings about.
pub(crate) struct Decision {
    pub(crate) outcome: Outcome,
    pub(crate) changes: Vec<Change>,
}

impl Decision {
    pub(crate) fn unchanged(outcome: Outcome) -> Result<Self, MetadataError> {
        Ok(Self {
            outcome,
            changes: Vec::new(),
        })
    }

    pub(crate) fn change(outcome: Outcome, change: Change) -> Result<Self, MetadataError> {
        Ok(Self {
            outcome,
            changes: vec![change],
        })
    }

    fn site(site: Site) -> Result<Self, MetadataError> {
        Self::change(Outcome::Site(site.id), Change::Site(Arc::new(site)))
    }

    pub(crate) fn node(node: Node) -> Result<Self, MetadataError> {
        Self::change(Outcome::Done, Change::Node(Arc::new(node)))
    }

    pub(crate) fn placement(group: GroupId, place: GroupPlacement) -> Result<Self, MetadataError> {
        Self::change(Outcome::Done, Change::Placement(group, Arc::new(place)))
    }
}

/// Decides over one command. `head` gives new ids and keeps them only when the command is carried out.
pub(crate) fn decide(
    directory: &Directory,
    head: &mut Head,
    command: Command,
) -> Result<Decision, MetadataError> {
    let rules = Rules {
        directory,
        at: head.at,
    };
    rules.is_known_everywhere(&command)?;
    match command {
        Command::InitCluster {
            cluster,
            groups,
            limits,
        } => rules.init(cluster, groups, limits),
        Command::SetLimits { limits } => rules.set_limits(limits),
        Command::RegisterNode { node, addresses } => rules.register_node(node, addresses),
        Command::AddSite {
            domain,
            timezone,
            sketch_key,
        } => rules.add_site(head, domain, timezone, sketch_key),
        Command::RenameSite { site, domain } => rules.rename_site(site, domain),
        Command::SetAliases { site, aliases } => rules.set_aliases(site, aliases),
        Command::PauseSite { site, is_paused } => {
            let mut site = rules.site(site)?;
            site.is_paused = is_paused;
            Decision::site(site)
        }
        Command::SetSiteOptions { site, change } => {
            let mut site = rules.site(site)?;
            change.apply_to(&mut site.settings);
            site.settings.revision += 1;
            Decision::site(site)
        }
        Command::AddGoal {
            site,
            name,
            condition,
        } => rules.add_goal(head, site, name, condition),
        Command::RemoveGoal { site, goal } => rules.remove_goal(site, goal),
        Command::AddKey {
            name,
            scope,
            site,
            secret_hash,
            expires,
        } => rules.add_key(
            head,
            Key {
                id: KeyId(0),
                name,
                scope,
                site,
                secret_hash,
                created: rules.at,
                expires,
                last_used: None,
                is_revoked: false,
            },
        ),
        Command::RevokeKey { key } => rules.revoke_key(key),
        Command::TouchKeys { used } => rules.touch_keys(&used),
        Command::SettleSites { settled } => rules.settle_sites(&settled),
        Command::CreateJoinToken {
            name,
            secret_hash,
            expires,
        } => rules.create_join_token(name, secret_hash, expires),
        Command::RevokeJoinToken { token } => rules.revoke_join_token(token),
        Command::JoinNode {
            token,
            secret_hash,
            attempt,
            addresses,
            zone,
            feature_level,
        } => rules.join_node(Joiner {
            token,
            secret_hash,
            attempt,
            description: Description {
                addresses,
                zone,
                feature_level,
            },
        }),
        Command::DescribeNode {
            node,
            addresses,
            zone,
            feature_level,
        } => rules.describe_node(
            node,
            Description {
                addresses,
                zone,
                feature_level,
            },
        ),
        Command::SetNodeState {
            node,
            state,
            is_forced,
        } => rules.set_node_state(node, state, is_forced),
        Command::SetReplicationFactor { replicas_max } => {
            rules.set_replication_factor(replicas_max)
        }
        Command::RaiseFeatureGate { level } => rules.raise_feature_gate(level),
        Command::MoveGroup { group, target } => rules.move_group(group, target),
        Command::SettleGroup {
            group,
            revision,
            voters,
        } => rules.settle_group(group, revision, &voters),
        Command::Reprocess {
            site,
            rules: bytes,
            label,
        } => rules.reprocess(site, bytes, label),
        Command::PauseReprocess { site, is_paused } => {
            rules.change_past(site, |past| past.pause(is_paused))
        }
        Command::CancelReprocess { site, generation } => {
            rules.change_past(site, |past| past.cancel(generation))
        }
        Command::SwitchGeneration { site, generation } => {
            rules.change_past(site, |past| past.switch(generation))
        }
        Command::AcceptGeneration { site, former } => {
            rules.change_past(site, |past| past.accept(former))
        }
    }
}

pub(crate) struct Rules<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) at: UnixMillis,
}

impl Rules<'_> {
    /// Checked before a command enters the log, too: a binary that does not know it could not even refuse it.
    pub(crate) fn is_known_everywhere(&self, command: &Command) -> Result<(), MetadataError> {
        let needed = command.feature_level();
        let gate = self.directory.feature_gate();
        if needed <= gate || self.directory.cluster().is_none() {
            return Ok(());
        }
        Err(MetadataError::FeatureNotReady { needed, gate })
    }

    fn init(&self, id: ClusterId, groups: u32, limits: Limits) -> Result<Decision, MetadataError> {
        if let Some(cluster) = self.directory.cluster() {
            // The first node may not know whether its first try came through.
            return if cluster.id == id {
                Decision::unchanged(Outcome::Done)
            } else {
                Err(MetadataError::AlreadyInitialised {
                    cluster: cluster.id,
                })
            };
        }
        let slots = SlotTable::even(groups)
            .map_err(|error| MetadataError::invalid("groups", error.to_string()))?;
        let cluster = Cluster {
            id,
            created: self.at,
            groups,
            slots,
            limits,
        };
        Decision::change(Outcome::Done, Change::Cluster(Arc::new(cluster)))
    }

    fn set_limits(&self, limits: Limits) -> Result<Decision, MetadataError> {
        let cluster = Cluster {
            limits,
            ..Cluster::clone(&*self.cluster()?)
        };
        Decision::change(Outcome::Done, Change::Cluster(Arc::new(cluster)))
    }

    fn add_site(
        &self,
        head: &mut Head,
        domain: Domain,
        timezone: Arc<str>,
        sketch_key: u64,
    ) -> Result<Decision, MetadataError> {
        let max = self.limits()?.sites_max;
        self.domain_is_free(&domain, None)?;
        if reaches(self.directory.site_count(), max) {
            return Err(MetadataError::TooManySites { max });
        }
        head.last_site += 1;
        Decision::site(Site {
            id: SiteId(head.last_site),
            domain,
            aliases: Vec::new(),
            timezone,
            is_paused: false,
            created: self.at,
            settings: SiteOptions::new(sketch_key),
            settled_revision: 0,
        })
    }

    fn rename_site(&self, id: SiteId, domain: Domain) -> Result<Decision, MetadataError> {
        let mut site = self.site(id)?;
        self.domain_is_free(&domain, Some(id))?;
        if site.domain == domain {
            return Decision::unchanged(Outcome::Site(id));
        }
        // Pages out there go on sending the former name for a while.
        let former = std::mem::replace(&mut site.domain, domain);
        site.aliases.retain(|alias| *alias != site.domain);
        site.aliases.push(former);
        self.aliases_fit(&site)?;
        Decision::site(site)
    }

    fn set_aliases(&self, id: SiteId, aliases: Vec<Domain>) -> Result<Decision, MetadataError> {
        let mut site = self.site(id)?;
        for alias in &aliases {
            self.domain_is_free(alias, Some(id))?;
        }
        site.aliases.clear();
        for alias in aliases {
            if alias != site.domain && !site.aliases.contains(&alias) {
                site.aliases.push(alias);
            }
        }
        self.aliases_fit(&site)?;
        Decision::site(site)
    }

    fn add_goal(
        &self,
        head: &mut Head,
        site: SiteId,
        name: String,
        condition: GoalCondition,
    ) -> Result<Decision, MetadataError> {
        let max = self.limits()?.goals_per_site_max;
        let mut site = self.site(site)?;
        let goals = &mut site.settings.goals;
        let is_same = |goal: &&Goal| goal.name == name || goal.condition == condition;
        if let Some(goal) = goals.iter().find(is_same) {
            return Err(MetadataError::GoalExists { goal: goal.id });
        }
        if reaches(goals.len(), max) {
            return Err(MetadataError::TooManyGoals { site: site.id, max });
        }
        head.last_goal += 1;
        let id = GoalId(head.last_goal);
        goals.push(Goal {
            id,
            name,
            since: self.at,
            condition,
        });
        site.settings.revision += 1;
        Decision::change(Outcome::Goal(id), Change::Site(Arc::new(site)))
    }

    fn remove_goal(&self, site: SiteId, goal: GoalId) -> Result<Decision, MetadataError> {
        let mut site = self.site(site)?;
        let before = site.settings.goals.len();
        site.settings.goals.retain(|other| other.id != goal);
        if site.settings.goals.len() == before {
            return Err(MetadataError::UnknownGoal {
                site: site.id,
                goal,
            });
        }
        site.settings.revision += 1;
        Decision::site(site)
    }

    fn add_key(&self, head: &mut Head, mut key: Key) -> Result<Decision, MetadataError> {
        let max = self.limits()?.keys_max;
        if let Some(site) = key.site {
            self.site(site)?;
        }
        if let Some(key) = self.directory.key_of_hash(&key.secret_hash) {
            return Err(MetadataError::KeyExists { key });
        }
        let mut changes = Vec::new();
        if reaches(self.directory.key_count(), max) {
            let oldest_revoked = self.directory.keys().into_iter().find(|key| key.is_revoked);
            let Some(revoked) = oldest_revoked else {
                return Err(MetadataError::TooManyKeys { max });
            };
            changes.push(Change::ForgetKey(revoked.id));
        }
        head.last_key += 1;
        key.id = KeyId(head.last_key);
        let outcome = Outcome::Key(key.id);
        changes.push(Change::Key(Arc::new(key)));
        Ok(Decision { outcome, changes })
    }

    fn revoke_key(&self, id: KeyId) -> Result<Decision, MetadataError> {
        let Some(key) = self.directory.stored_key(id) else {
            return Err(MetadataError::UnknownKey { key: id });
        };
        let key = Key {
            is_revoked: true,
            ..Key::clone(&key)
        };
        Decision::change(Outcome::Key(id), Change::Key(Arc::new(key)))
    }

    fn touch_keys(&self, used: &[(KeyId, UnixMillis)]) -> Result<Decision, MetadataError> {
        let mut changes = Vec::with_capacity(used.len());
        for (id, time) in newest_of(used) {
            // A key may have been forgotten since its use was noted.
            let Some(key) = self.directory.stored_key(id) else {
                continue;
            };
            if key.last_used < Some(time) {
                let last_used = Some(time);
                changes.push(Change::Key(Arc::new(Key {
                    last_used,
                    ..Key::clone(&key)
                })));
            }
        }
        Ok(Decision {
            outcome: Outcome::Done,
            changes,
        })
    }

    fn settle_sites(&self, settled: &[(SiteId, u64)]) -> Result<Decision, MetadataError> {
        let mut changes = Vec::with_capacity(settled.len());
        for (id, revision) in newest_of(settled) {
            let mut site = self.site(id)?;
            // No partition can hold settings that were never made.
            let revision = revision.min(site.settings.revision);
            if site.settled_revision < revision {
                site.settled_revision = revision;
                changes.push(Change::Site(Arc::new(site)));
            }
        }
        Ok(Decision {
            outcome: Outcome::Done,
            changes,
        })
    }

    fn reprocess(
        &self,
        site: SiteId,
        rules: Vec<u8>,
        label: String,
    ) -> Result<Decision, MetadataError> {
        let mut past = self.past(site)?;
        let generation = past.begin(rules, label, self.at)?;
        Decision::change(
            Outcome::Generation(generation),
            Change::Past(Arc::new(past)),
        )
    }

    fn change_past(
        &self,
        site: SiteId,
        change: impl FnOnce(&mut SitePast) -> Result<(), MetadataError>,
    ) -> Result<Decision, MetadataError> {
        let mut past = self.past(site)?;
        change(&mut past)?;
        Decision::change(Outcome::Site(site), Change::Past(Arc::new(past)))
    }

    fn past(&self, site: SiteId) -> Result<SitePast, MetadataError> {
        let created = self.site(site)?.created;
        let past = self.directory.past(site);
        Ok(past.map_or_else(
            || SitePast::birth(site, created),
            |past| SitePast::clone(&past),
        ))
    }

    pub(crate) fn cluster(&self) -> Result<Arc<Cluster>, MetadataError> {
        self.directory
            .cluster()
            .ok_or(MetadataError::NotInitialised)
    }

    pub(crate) fn limits(&self) -> Result<Limits, MetadataError> {
        Ok(self.cluster()?.limits)
    }

    fn site(&self, site: SiteId) -> Result<Site, MetadataError> {
        match self.directory.site(site) {
            Some(site) => Ok(Site::clone(&site)),
            None => Err(MetadataError::UnknownSite { site }),
        }
    }

    fn domain_is_free(&self, domain: &Domain, of: Option<SiteId>) -> Result<(), MetadataError> {
        match self.directory.site_by_domain(domain) {
            Some(site) if Some(site.id) != of => Err(MetadataError::SiteExists {
                domain: domain.clone(),
                site: site.id,
            }),
            _ => Ok(()),
        }
    }

    fn aliases_fit(&self, site: &Site) -> Result<(), MetadataError> {
        let max = self.limits()?.aliases_per_site_max;
        if site.aliases.len() > max as usize {
            return Err(MetadataError::TooManyAliases { site: site.id, max });
        }
        Ok(())
    }
}

/// The greatest value of each id, by id.
fn newest_of<K: Ord + Copy, V: Ord + Copy>(values: &[(K, V)]) -> BTreeMap<K, V> {
    let mut newest = BTreeMap::new();
    for (id, value) in values {
        let kept = newest.entry(*id).or_insert(*value);
        *kept = (*kept).max(*value);
    }
    newest
}

pub(crate) fn reaches(count: usize, max: u32) -> bool {
    count >= max as usize
}
