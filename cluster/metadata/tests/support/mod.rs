//! A replica of group 0 without a network: entries go in by hand, in the order of a log.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_checkpoint::{CheckpointStore, GroupKey, MemoryStore};
use ringtail_metadata::{
    ClusterId, Command, Directory, Domain, Entry, Limits, MetadataError, MetadataMachine, Outcome,
    SecretHash,
};
use ringtail_proto::{GroupId, LogIndex, NodeId, SiteId, UnixMillis};
use ringtail_raft::{Body, Committed, LogPosition, Machine as _};

pub(crate) const GROUP: GroupId = GroupId(0);

pub(crate) struct Replica {
    pub(crate) store: MemoryStore,
    pub(crate) machine: MetadataMachine,
    pub(crate) log: Vec<Committed>,
}

impl Replica {
    /// A replica before the ring is made.
    pub(crate) fn new() -> Self {
        Self::over(MemoryStore::new())
    }

    /// A replica of a ring with these limits.
    pub(crate) fn initialised(limits: Limits) -> Self {
        let mut replica = Self::new();
        let made = replica.run(Command::InitCluster {
            cluster: ClusterId(7),
            groups: 16,
            limits,
        });
        assert_eq!(made, Ok(Outcome::Done));
        replica
    }

    pub(crate) fn over(store: MemoryStore) -> Self {
        let machine = MetadataMachine::open(Arc::new(store.clone())).unwrap();
        // What the rows hold already stands in the log as blanks.
        let log = match machine.floor_now().position {
            None => Vec::new(),
            Some(position) => {
                let body = Body::Blank;
                vec![Committed { position, body }; position.index.0 as usize]
            }
        };
        Self {
            store,
            machine,
            log,
        }
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.machine.directory()
    }

    /// Appends a command to the log and applies it, a second after the one before.
    pub(crate) fn run(&mut self, command: Command) -> Result<Outcome, MetadataError> {
        let at = UnixMillis(1_000 * (self.log.len() as i64 + 1));
        self.run_at(at, command)
    }

    pub(crate) fn run_at(
        &mut self,
        at: UnixMillis,
        command: Command,
    ) -> Result<Outcome, MetadataError> {
        let entry = entry(at, command);
        let replies = self.apply(vec![Body::Command(entry.to_log())]);
        Outcome::from_reply(&replies[0])
    }

    pub(crate) fn apply(&mut self, bodies: Vec<Body>) -> Vec<Bytes> {
        let first = self.log.len();
        self.log.extend(
            bodies
                .into_iter()
                .enumerate()
                .map(|(offset, body)| Committed {
                    position: LogPosition {
                        term: 1,
                        node: NodeId(1),
                        index: LogIndex((first + offset) as u64 + 1),
                    },
                    body,
                }),
        );
        apply(&self.machine, self.log[first..].to_vec())
    }

    /// Loses the process; of the batches since the last persist the first `kept` survive. Then reads the rows again.
    pub(crate) fn crash(&mut self, kept: usize) {
        self.store.crash(kept);
        self.reopen();
    }

    pub(crate) fn reopen(&mut self) {
        self.machine = MetadataMachine::open(Arc::new(self.store.clone())).unwrap();
    }

    /// Applies what the log holds behind the floor, as a group does when it is opened.
    pub(crate) fn catch_up(&mut self) {
        let floor = self.machine.floor_now().position;
        let rest = self
            .log
            .iter()
            .filter(|entry| Some(entry.position) > floor)
            .cloned()
            .collect();
        apply(&self.machine, rest);
    }

    /// All rows of the group by name.
    pub(crate) fn rows(&self) -> BTreeMap<Bytes, Bytes> {
        let mut rows = BTreeMap::new();
        let last = GroupKey::Group(Bytes::from_static(&[0xff; 16]));
        self.store
            .group(GROUP)
            .unwrap()
            .snapshot()
            .range(&GroupKey::named(""), &last, &mut |key, value| {
                let GroupKey::Group(name) = key else {
                    panic!("{key:?} is no row of the group itself")
                };
                rows.insert(name, value);
                ControlFlow::Continue(())
            })
            .unwrap();
        rows
    }

    /// Everything that readers can see, as text.
    pub(crate) fn visible(&self) -> String {
        let directory = self.directory();
        let domains: Vec<_> = directory
            .sites()
            .iter()
            .flat_map(|site| site.domains().cloned().collect::<Vec<_>>())
            .map(|domain| {
                (
                    directory.site_by_domain(&domain).map(|site| site.id),
                    domain,
                )
            })
            .collect();
        format!(
            "{:#?}\n{:#?}\n{domains:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{} {} {} {} {} {}",
            directory.cluster(),
            directory.sites(),
            directory.keys(),
            directory.nodes(),
            directory.join_tokens(),
            directory.placement(),
            self.machine.audit(usize::MAX).unwrap(),
            self.machine.floor_now(),
            directory.site_count(),
            directory.key_count(),
            directory.awaiting_settings_count(),
            directory.replicas_max(),
            directory.feature_gate(),
            directory.feature_level(),
        )
    }
}

pub(crate) fn entry(at: UnixMillis, command: Command) -> Entry {
    Entry {
        who: "tester".to_owned(),
        at,
        why: "a test".to_owned(),
        command,
    }
}

pub(crate) fn apply(machine: &MetadataMachine, entries: Vec<Committed>) -> Vec<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(machine.apply(entries)).unwrap()
}

pub(crate) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

pub(crate) fn add_site(name: &str) -> Command {
    Command::AddSite {
        domain: domain(name),
        timezone: "UTC".into(),
        sketch_key: 42,
    }
}

pub(crate) fn rename(site: u64, name: &str) -> Command {
    Command::RenameSite {
        site: SiteId(site),
        domain: domain(name),
    }
}

pub(crate) fn hash(number: u8) -> SecretHash {
    SecretHash([number; 32])
}
