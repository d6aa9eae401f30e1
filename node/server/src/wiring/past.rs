//! Where the past goes: the archive, and those who carry it there.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use ringtail_archive::{Archive, ArchiveError, ArchiveOptions, Location};
use ringtail_history::{
    Archivist, BuildProgress, Builder, GenerationKeeper, HistoryOptions, ObjectsService,
    PeerObjects, SiteWish, WantedGeneration, Wishes,
};
use ringtail_metadata::{Directory, SitePast};
use ringtail_peers::Peers;
use ringtail_proto::{ErrorKind, Generation, SiteGeneration, SiteId};
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

/// Where the archive is, and when it was reached.
#[derive(Clone)]
pub(crate) struct Past {
    options: Option<ArchiveOptions>,
    history: HistoryOptions,
    cluster: String,
    archive: watch::Sender<Option<Arc<Archive>>>,
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
            archivist: Arc::default(),
            builder: Arc::default(),
        };
        if let Some(options) = past.options.as_ref().filter(|_| past.is_own()) {
            past.reach(options).await.map_err(damaged)?;
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
            let archivist = Archivist::new(
                Arc::clone(&partitions),
                Arc::clone(&archive),
                peers,
                options.clone(),
            );
            let archivist = Arc::clone(past.archivist.get_or_init(|| Arc::new(archivist)));
            let builder = Builder::new(partitions, archive, wishes, options);
            let builder = Arc::clone(past.builder.get_or_init(|| Arc::new(builder)));
            tokio::join!(archivist.run(), builder.run());
        }))
    }

    async fn until_reached(&self, options: &ArchiveOptions) -> Arc<Archive> {
        loop {
            if let Some(archive) = self.archive() {
                return archive;
            }
            if let Err(error) = self.reach(options).await {
                metrics::counter!("ringtail_archive_failures_total").increment(1);
                match error.kind() {
                    ErrorKind::Unavailable => {
                        tracing::warn!(%error, "archive: not reached, the log waits for it");
                    }
                    _ => tracing::error!(%error, "archive: not usable, the log waits for it"),
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }

    async fn reach(&self, options: &ArchiveOptions) -> Result<(), ArchiveError> {
        let archive = Archive::open(options.clone(), &self.cluster).await?;
        tracing::info!(location = %options.location, "archive: open");
        self.archive.send_replace(Some(Arc::new(archive)));
        Ok(())
    }
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
