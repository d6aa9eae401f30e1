//! Where the past goes: the archive, and those who carry it there.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use ringtail_archive::{Archive, ArchiveError, ArchiveOptions, Location};
use ringtail_checkpoint::DiskFreeSpace;
use ringtail_history::{
    Archivist, BuildProgress, Builder, GenerationKeeper, HistoryOptions, ObjectsService,
    PeerObjects, Room, SiteWish, WantedGeneration, Wishes,
};
use ringtail_metadata::{Directory, SitePast};
use ringtail_peers::Peers;
use ringtail_proto::{ErrorKind, Generation, SiteGeneration, SiteId};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use super::damaged;
use crate::{
    Partitions,
    config::Config,
    data_directory::DataDirectory,
    exit::{Exit, ExitError},
};

/// In the configuration: a directory in the data directory.
const OWN: &str = "own";
/// How often an archive that could not be reached is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// At the start, one out of reach is waited for so long.
const PROBE_MS_MAX: u64 = 3_000;

/// Where the archive is, and when it was reached.
#[derive(Clone)]
pub(crate) struct Past {
    options: Option<ArchiveOptions>,
    history: HistoryOptions,
    cluster: String,
    archive: watch::Sender<Option<Arc<Archive>>>,
    /// Why it was not reached the last time.
    failure: watch::Sender<Option<String>>,
    disk_reserve_bytes: u64,
    archivist: Arc<OnceLock<Arc<NodeArchivist>>>,
    builder: Arc<OnceLock<Arc<NodeBuilder>>>,
}

type NodeArchivist = Archivist<crate::SiteMachine>;
type NodeBuilder = Builder<crate::SiteMachine>;

impl Past {
    /// Opens an archive of this node; one elsewhere is only looked for, so that the node starts without it.
    pub(super) async fn open(config: &Config, data: &DataDirectory) -> Result<Self, ExitError> {
        let past = Self {
            options: options(config, data)?,
            history: HistoryOptions {
                seal_age_ms_max: config.archive_seal_seconds_max * 1_000,
                ..HistoryOptions::default()
            },
            cluster: data.identity.cluster.to_string(),
            archive: watch::Sender::new(None),
            failure: watch::Sender::new(None),
            disk_reserve_bytes: config.disk_reserve_bytes,
            archivist: Arc::default(),
            builder: Arc::default(),
        };
        let Some(options) = &past.options else {
            return Ok(past);
        };
        if past.is_own() {
            past.reach(options).await.map_err(damaged)?;
        } else {
            past.probe(options).await?;
        }
        Ok(past)
    }

    /// True when something is archived at all.
    pub(crate) const fn is_archived(&self) -> bool {
        self.options.is_some()
    }

    /// True when each node has an archive of its own.
    pub(crate) fn is_own(&self) -> bool {
        let options = self.options.as_ref();
        options.is_some_and(|options| !options.location.is_shared())
    }

    /// The archive, once it was reached.
    pub(crate) fn archive(&self) -> Option<Arc<Archive>> {
        self.archive.borrow().clone()
    }

    /// Who seals, once the archive was reached.
    pub(crate) fn archivist(&self) -> Option<Arc<NodeArchivist>> {
        self.archivist.get().cloned()
    }

    /// How far a generation is that is being built here.
    pub(crate) fn build_progress(&self, site: SiteGeneration) -> Option<BuildProgress> {
        self.builder.get()?.progress(site)
    }

    /// Where the archive is, if anything is archived.
    pub(crate) fn location(&self) -> Option<String> {
        let options = self.options.as_ref();
        options.map(|options| options.location.to_string())
    }

    /// How the archive is, for operators.
    pub(crate) fn document(&self) -> Value {
        json!({
            "location": self.location(),
            "is_reached": self.archive().is_some(),
            "failure": *self.failure.borrow(),
        })
    }

    /// The disk of an archive of this node.
    fn room(&self) -> Option<Room> {
        let directory = self.options.as_ref()?.location.directory()?;
        Some(Room {
            free: Arc::new(DiskFreeSpace::new(directory.to_owned())),
            reserve_bytes: self.disk_reserve_bytes,
        })
    }

    /// Says so when groups here wait for an archive that the configuration has no more.
    pub(super) fn warn_of_waiting(&self, partitions: &Partitions) {
        if self.is_archived() {
            return;
        }
        let hosted = partitions.hosted().into_iter();
        let waiting = hosted.filter(|group| {
            let state = partitions.archive_state(*group);
            state.is_ok_and(|state| state.sealed.is_some())
        });
        let groups = waiting.count();
        if groups > 0 {
            let message = format!(
                "{groups} groups here were archived and their log waits for seals, but `archive` is not configured: \
                 the log will fill the disk"
            );
            tracing::warn!(message);
            self.failure.send_replace(Some(message));
        }
    }

    /// What gives objects to other nodes, where each has an archive of its own.
    pub(super) fn objects(&self) -> Option<ObjectsService> {
        let archive = self.archive().filter(|_| self.is_own())?;
        Some(ObjectsService { archive })
    }

    /// Follows what is decided about generations. Where there is an archive, reaches for it, then seals, copies and builds.
    pub(crate) fn start(
        &self,
        partitions: &Arc<Partitions>,
        directory: Arc<Directory>,
        peers: &Peers,
    ) -> Vec<JoinHandle<()>> {
        let wishes: Arc<dyn Wishes> = Arc::new(DecidedGenerations { directory });
        let options = self.history.clone();
        let keeper =
            GenerationKeeper::new(Arc::clone(partitions), Arc::clone(&wishes), options.clone());
        let mut duties = vec![tokio::spawn(Arc::new(keeper).run())];
        duties.extend(self.start_archiving(partitions, wishes, peers, options));
        duties
    }

    fn start_archiving(
        &self,
        partitions: &Arc<Partitions>,
        wishes: Arc<dyn Wishes>,
        peers: &Peers,
        options: HistoryOptions,
    ) -> Option<JoinHandle<()>> {
        let location = self.options.clone()?;
        let (past, partitions, peers) = (self.clone(), Arc::clone(partitions), peers.clone());
        Some(tokio::spawn(async move {
            let archive = past.until_reached(&location).await;
            let peers = Arc::new(PeerObjects { peers });
            let mut archivist = Archivist::new(
                Arc::clone(&partitions),
                Arc::clone(&archive),
                peers,
                options.clone(),
            );
            if let Some(room) = past.room() {
                archivist = archivist.with_room(room);
            }
            let archivist = Arc::clone(past.archivist.get_or_init(|| Arc::new(archivist)));
            let builder = Builder::new(partitions, archive, wishes, options);
            let builder = Arc::clone(past.builder.get_or_init(|| Arc::new(builder)));
            tokio::join!(archivist.run(), builder.run());
        }))
    }

    /// Looks once, briefly, whether the archive is this ring's: a wrong one ends the start, one out of reach does not.
    async fn probe(&self, options: &ArchiveOptions) -> Result<(), ExitError> {
        let brief = ArchiveOptions {
            retry_ms_max: PROBE_MS_MAX,
            attempt_ms_max: PROBE_MS_MAX,
            ..options.clone()
        };
        match Archive::open(brief, &self.cluster).await {
            Ok(_) => Ok(()),
            Err(error) if is_out_of_reach(&error) => {
                self.note_failure(&error);
                Ok(())
            }
            Err(error) => Err(damaged(error)),
        }
    }

    fn note_failure(&self, error: &ArchiveError) {
        metrics::counter!("ringtail_archive_failures_total").increment(1);
        metrics::gauge!("ringtail_archive_reached").set(0.0);
        self.failure.send_replace(Some(error.to_string()));
        match is_out_of_reach(error) {
            true => tracing::warn!(%error, "archive: not reached, the log waits for it"),
            false => tracing::error!(%error, "archive: not usable, the log waits for it"),
        }
    }

    async fn until_reached(&self, options: &ArchiveOptions) -> Arc<Archive> {
        loop {
            if let Some(archive) = self.archive() {
                return archive;
            }
            if let Err(error) = self.reach(options).await {
                self.note_failure(&error);
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }

    async fn reach(&self, options: &ArchiveOptions) -> Result<(), ArchiveError> {
        let archive = Archive::open(options.clone(), &self.cluster).await?;
        tracing::info!(location = %options.location, "archive: open");
        self.archive.send_replace(Some(Arc::new(archive)));
        self.failure.send_replace(None);
        metrics::gauge!("ringtail_archive_reached").set(1.0);
        Ok(())
    }
}

/// True when waiting may help.
fn is_out_of_reach(error: &ArchiveError) -> bool {
    error.kind() == ErrorKind::Unavailable
}

/// What the metadata say about generations.
struct DecidedGenerations {
    directory: Arc<Directory>,
}

impl Wishes for DecidedGenerations {
    fn sites(&self) -> Vec<SiteId> {
        let pasts = self.directory.pasts();
        pasts.iter().map(|past| past.site).collect()
    }

    fn of(&self, site: SiteId) -> Option<SiteWish> {
        self.directory.past(site).map(|past| wish_of(&past))
    }

    fn is_paused(&self, site: SiteGeneration) -> bool {
        let past = self.directory.past(site.site);
        let next = past.as_ref().and_then(|past| past.next.as_ref());
        next.is_some_and(|next| next.is_paused && next.record.generation == site.generation.0)
    }
}

fn wish_of(past: &SitePast) -> SiteWish {
    let wanted = past.wanted().into_iter();
    SiteWish {
        site: past.site,
        last: Generation(past.last),
        wanted: wanted
            .map(|record| WantedGeneration {
                generation: Generation(record.generation),
                rules: record.rules.clone().into(),
            })
            .collect(),
    }
}

fn options(config: &Config, data: &DataDirectory) -> Result<Option<ArchiveOptions>, ExitError> {
    let location = match config.archive.as_str() {
        "" => return Ok(None),
        OWN => Location::Local(data.archive()),
        url => Location::parse(url)
            .map_err(|error| ExitError::new(Exit::Usage, format!("configuration: {error}")))?,
    };
    Ok(Some(ArchiveOptions::new(location)))
}
