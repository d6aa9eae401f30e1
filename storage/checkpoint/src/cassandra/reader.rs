//! The side that reads sites as of one version.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream::{self, Stream};
use ringtail_proto::{GroupId, LogIndex, SiteGeneration, SiteRow};

use super::{Mirror, MirrorError, intents::Intents, link::Link, partition::Partition};
use crate::GroupKey;

/// What is read ahead of a stream of rows.
const PIECE_BYTES_MAX: usize = 4 << 20;
/// The first and the last key that a row can have; before them lie the intents.
const FIRST_KEY: &[u8] = &[1];
const LAST_KEY: &[u8] = &[0xff; 64];

/// Reads what was mirrored.
#[derive(Clone)]
pub struct MirrorReader {
    mirror: Mirror,
}

/// A site at one version: what is read through it belongs together, whatever is written meanwhile. It serves for as long
/// as superseded versions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitePin {
    /// The group.
    pub group: GroupId,
    /// The site, by generation.
    pub site: SiteGeneration,
    /// The log index of the checkpoint.
    pub version: LogIndex,
    taken: Instant,
    /// Versions below it that are no part of it.
    unfinished: Arc<[i64]>,
}

impl MirrorReader {
    pub(super) const fn new(mirror: Mirror) -> Self {
        Self { mirror }
    }

    /// The sites of a group that were ever written, by generation, ascending.
    ///
    /// # Errors
    /// When the servers do not answer.
    pub async fn sites(&self, group: GroupId) -> Result<Vec<SiteGeneration>, MirrorError> {
        let link = self.link();
        link.sites(link.cluster, group).await
    }

    /// The site as it is now; none when it was never written, or removed.
    ///
    /// # Errors
    /// When the servers do not answer, or the site row is damaged.
    pub async fn pin(
        &self,
        group: GroupId,
        site: SiteGeneration,
    ) -> Result<Option<SitePin>, MirrorError> {
        let taken = Instant::now();
        let key = GroupKey::Site(site, SiteRow::Site);
        let Some((version, Some(_))) = self.newest(group, &key, i64::MAX, &[]).await? else {
            return Ok(None);
        };
        let link = self.link();
        let intents = Intents::of(link.cluster, group, site);
        Ok(Some(SitePin {
            group,
            site,
            version: LogIndex(version as u64),
            taken,
            unfinished: intents.unfinished(link, version).await?,
        }))
    }

    /// A row's value as of a version: the newest at or below it, also one that an unfinished write left. For a site's
    /// rows [`Self::read_pinned`] is the one to use.
    ///
    /// # Errors
    /// When the servers do not answer, or the value is damaged.
    pub async fn read_row(
        &self,
        group: GroupId,
        key: &GroupKey,
        version_max: LogIndex,
    ) -> Result<Option<Bytes>, MirrorError> {
        let version_max = i64::try_from(version_max.0).unwrap_or(i64::MAX);
        let newest = self.newest(group, key, version_max, &[]).await?;
        Ok(newest.and_then(|(_, value)| value))
    }

    /// A row of a pinned site.
    ///
    /// # Errors
    /// [`MirrorError::PinExpired`], or when the servers do not answer, or the value is damaged.
    pub async fn read_pinned(
        &self,
        pin: &SitePin,
        row: SiteRow,
    ) -> Result<Option<Bytes>, MirrorError> {
        let key = GroupKey::Site(pin.site, row);
        let version = pin.version.0 as i64;
        let newest = self
            .newest(pin.group, &key, version, &pin.unfinished)
            .await?;
        // Asked afterwards: only then it is certain that nothing was removed before the answer.
        self.check_age(pin)?;
        Ok(newest.and_then(|(_, value)| value))
    }

    /// All rows of a pinned site, the site row last: who has that one has all.
    ///
    /// # Errors
    /// The stream ends with the first error; [`MirrorError::PinExpired`] when it takes longer than versions are kept.
    pub fn read_site(
        &self,
        pin: SitePin,
    ) -> impl Stream<Item = Result<(GroupKey, Bytes), MirrorError>> + Send + use<> {
        let walk = Walk {
            reader: self.clone(),
            pin,
            buckets: None,
            from: Bytes::from_static(FIRST_KEY),
            ready: VecDeque::new(),
        };
        stream::try_unfold(walk, async |mut walk| {
            let row = walk.next().await?;
            Ok(row.map(|row| (row, walk)))
        })
    }

    async fn newest(
        &self,
        group: GroupId,
        key: &GroupKey,
        version_max: i64,
        left_out: &[i64],
    ) -> Result<Option<(i64, Option<Bytes>)>, MirrorError> {
        let link = self.link();
        let partition = Partition::of(link.cluster, group, key);
        link.newest(partition, &key.encode(), version_max, left_out)
            .await
    }

    fn check_age(&self, pin: &SitePin) -> Result<(), MirrorError> {
        let (age, age_max) = (pin.taken.elapsed(), self.link().options.grace);
        match age < age_max {
            true => Ok(()),
            false => Err(MirrorError::PinExpired { age, age_max }),
        }
    }

    fn link(&self) -> &Link {
        self.mirror.link()
    }
}

impl SitePin {
    /// How long ago the version was the newest.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.taken.elapsed()
    }
}

/// A walk through all buckets of a site, piece by piece; each piece is asked for again when it does not come.
struct Walk {
    reader: MirrorReader,
    pin: SitePin,
    /// The buckets that are left, the last one first; none before they are known.
    buckets: Option<Vec<i64>>,
    from: Bytes,
    ready: VecDeque<(Bytes, Bytes)>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<(GroupKey, Bytes)>, MirrorError> {
        while self.ready.is_empty() {
            if !self.read_piece().await? {
                return Ok(None);
            }
        }
        let Some((key, value)) = self.ready.pop_front() else {
            return Ok(None);
        };
        let decoded = GroupKey::decode(&key);
        let key = decoded.map_err(|error| {
            super::cells::damaged(&key, self.pin.version.0 as i64, error.to_string())
        })?;
        Ok(Some((key, value)))
    }

    /// False when there is none left.
    async fn read_piece(&mut self) -> Result<bool, MirrorError> {
        let link = self.reader.mirror.link().clone();
        let (group, site) = (self.pin.group, self.pin.site);
        let buckets = match &mut self.buckets {
            Some(buckets) => buckets,
            unknown => {
                let mut buckets = link.buckets(link.cluster, group, site).await?;
                buckets.reverse();
                unknown.insert(buckets)
            }
        };
        let Some(bucket) = buckets.last().copied() else {
            return Ok(false);
        };
        let partition = Partition::in_site(link.cluster, group, site, bucket);
        let to = Bytes::from_static(LAST_KEY);
        let piece = link
            .piece(
                partition,
                &self.from,
                &to,
                (self.pin.version.0 as i64, &self.pin.unfinished),
                PIECE_BYTES_MAX,
            )
            .await?;
        self.reader.check_age(&self.pin)?;
        self.from = match piece.last {
            Some(last) => after(&last),
            None => {
                buckets.pop();
                Bytes::from_static(FIRST_KEY)
            }
        };
        self.ready = piece.rows.into();
        Ok(true)
    }
}

/// The first key after one.
pub(super) fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}
