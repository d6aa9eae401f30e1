//! The mirror of checkpoints in ScyllaDB or Cassandra, and who writes it.

use std::{
    fs,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ringtail_checkpoint::cassandra::{CassandraOptions, Mirror, MirrorState};
use ringtail_mirror::{Evictor, MirroredPages, Mirrorer, MirrorerOptions};
use serde_json::{Value, json};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    Partitions,
    config::Config,
    data_directory::DataDirectory,
    exit::{Exit, ExitError},
};

/// How often pages are looked for that the mirror has and this node need not keep.
const EVICTION_INTERVAL: Duration = Duration::from_secs(10);

/// The mirror, if there is one; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Mirroring {
    place: Option<Arc<Place>>,
}

struct Place {
    options: CassandraOptions,
    mirror: Mirror,
    local_days: u32,
    cache_bytes: u64,
    mirrorer: OnceLock<Arc<Mirrorer<crate::SiteMachine>>>,
}

impl Mirroring {
    /// Looks for the servers in the background: a node starts without them.
    pub(super) fn open(config: &Config, data: &DataDirectory) -> Result<Self, ExitError> {
        let Some(options) = options(config)? else {
            return Ok(Self::default());
        };
        let mirror = Mirror::start(options.clone(), data.identity.cluster, &Handle::current());
        let place = Place {
            options,
            mirror,
            local_days: config.mirror_local_days,
            cache_bytes: config.mirror_cache_bytes,
            mirrorer: OnceLock::new(),
        };
        Ok(Self {
            place: Some(Arc::new(place)),
        })
    }

    /// True when checkpoints are mirrored.
    pub(crate) const fn is_on(&self) -> bool {
        self.place.is_some()
    }

    /// Mirrors what this node leads, and gives up pages that it need not keep, until both are aborted.
    pub(crate) fn start(&self, partitions: &Arc<Partitions>) -> Vec<JoinHandle<()>> {
        let Some(place) = &self.place else {
            return Vec::new();
        };
        let slots = partitions.slots().clone();
        let pages = MirroredPages::new(
            place.mirror.clone(),
            Arc::new(move |site| slots.group_of(site)),
            Handle::current(),
            place.cache_bytes,
        );
        partitions.set_elsewhere(Arc::new(pages));
        let mirrorer = place.mirrorer.get_or_init(|| {
            let options = MirrorerOptions::default();
            let mirrorer = Mirrorer::new(Arc::clone(partitions), place.mirror.clone(), options);
            Arc::new(mirrorer)
        });
        let mut duties = vec![tokio::spawn(Arc::clone(mirrorer).run())];
        if place.local_days > 0 {
            let (partitions, mirror) = (Arc::clone(partitions), place.mirror.clone());
            let evictor = Evictor::new(partitions, mirror, place.local_days, EVICTION_INTERVAL);
            duties.push(tokio::spawn(Arc::new(evictor).run()));
        }
        duties
    }

    /// How it is, for operators; null when nothing is mirrored.
    pub(crate) fn document(&self) -> Value {
        let Some(place) = &self.place else {
            return Value::Null;
        };
        let (state, error) = match place.mirror.state() {
            MirrorState::Connecting { last_error } => ("connecting", last_error),
            MirrorState::Up => ("up", None),
            MirrorState::Paused { last_error } => ("paused", last_error),
        };
        let progress = place.mirrorer.get().map(|mirrorer| mirrorer.progress());
        let groups = progress.into_iter().flatten().map(|(group, progress)| {
            json!({
                "group": group,
                "through": progress.through,
                "lag": progress.lag_entries(),
                "sites_left": progress.sites_left,
                "failure": progress.failure,
            })
        });
        json!({
            "nodes": place.options.nodes,
            "keyspace": place.options.keyspace,
            "state": state,
            "error": error.map(|error| error.to_string()),
            "groups": groups.collect::<Vec<_>>(),
        })
    }
}

/// Where the mirror is; none when the configuration names no server.
pub(crate) fn options(config: &Config) -> Result<Option<CassandraOptions>, ExitError> {
    if config.mirror_nodes.is_empty() {
        return Ok(None);
    }
    let usage = |message: String| ExitError::new(Exit::Usage, format!("configuration: {message}"));
    let login = match config.mirror_user.as_str() {
        "" => None,
        user => {
            let file = &config.mirror_password_file;
            let password = fs::read_to_string(file).map_err(|error| {
                usage(format!("mirror_password_file {}: {error}", file.display()))
            })?;
            Some((user.to_owned(), password.trim_end().to_owned()))
        }
    };
    let datacenter = Some(config.mirror_datacenter.clone());
    let options = CassandraOptions {
        nodes: config.mirror_nodes.clone(),
        keyspace: config.mirror_keyspace.clone(),
        login,
        datacenter: datacenter.filter(|name| !name.is_empty()),
        ..CassandraOptions::default()
    };
    options.check().map_err(|error| usage(error.to_string()))?;
    Ok(Some(options))
}
