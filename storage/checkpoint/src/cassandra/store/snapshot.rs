//! A set of rows as of one version.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_proto::GroupId;
use uuid::Uuid;

use super::{
    Shared,
    row_sets::{SITE_KINDS, head_key, site_buckets},
};
use crate::{
    GroupKey, GroupSnapshot, RawRow, StoreError,
    cassandra::{partition::Partition, reader::after},
};

/// What is read ahead of a visitor.
const PIECE_BYTES_MAX: usize = 4 << 20;
/// No key is longer than this and greater.
const KEY_END: [u8; 64] = [0xff; 64];

pub(super) struct CassandraSnapshot {
    shared: Arc<Shared>,
    group: GroupId,
    incarnation: Uuid,
    version: i64,
}

/// Rows of one partition, of all or of one kind.
struct Stretch {
    partition: Partition,
    from: Bytes,
    to: Bytes,
}

impl CassandraSnapshot {
    pub(super) const fn new(
        shared: Arc<Shared>,
        group: GroupId,
        incarnation: Uuid,
        version: i64,
    ) -> Self {
        Self {
            shared,
            group,
            incarnation,
            version,
        }
    }

    /// Visits rows by encoded key; keys are not decoded.
    fn visit(
        &self,
        from: &Bytes,
        to: &Bytes,
        visit: &mut dyn FnMut(Bytes, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for stretch in self.stretches(from, to)? {
            if self.visit_stretch(&stretch, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The ranges of partitions that hold the keys from one to another, in the order of the keys: rows sort by kind, then
    /// site, and a site's buckets sort as its rows of a kind do.
    fn stretches(&self, from: &Bytes, to: &Bytes) -> Result<Vec<Stretch>, StoreError> {
        let link = self.shared.mirror.link();
        let (incarnation, group) = (self.incarnation, self.group);
        let mut sites = Vec::new();
        let listed = self
            .shared
            .wait(async || link.sites(incarnation, group).await)?;
        for site in listed {
            let buckets = self
                .shared
                .wait(async || site_buckets(link, incarnation, group, site).await)?;
            sites.push((site, buckets));
        }
        let mut stretches = Vec::new();
        let mut push = |partition, first: Bytes, last: Bytes| {
            let (from, to) = (first.max(from.clone()), last.min(to.clone()));
            if from <= to {
                stretches.push(Stretch {
                    partition,
                    from,
                    to,
                });
            }
        };
        push(
            Partition::of_group(incarnation, group),
            Bytes::new(),
            last_of(&[1]),
        );
        for kind in SITE_KINDS {
            for (site, buckets) in &sites {
                let mut prefix = vec![kind];
                prefix.extend(site.site.0.to_be_bytes());
                prefix.extend(site.generation.0.to_be_bytes());
                for bucket in buckets {
                    let partition = Partition::in_site(incarnation, group, *site, *bucket);
                    push(partition, prefix.clone().into(), last_of(&prefix));
                }
            }
        }
        Ok(stretches)
    }

    fn visit_stretch(
        &self,
        stretch: &Stretch,
        visit: &mut dyn FnMut(Bytes, Bytes) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let link = self.shared.mirror.link();
        let mut from = stretch.from.clone();
        let head = head_key().encode();
        loop {
            let piece = self.shared.wait(async || {
                let (partition, to) = (stretch.partition, &stretch.to);
                link.piece(partition, &from, to, (self.version, &[]), PIECE_BYTES_MAX)
                    .await
            })?;
            for (key, value) in piece.rows {
                if key != head && visit(key, value).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            match piece.last {
                Some(last) => from = after(&last),
                None => return Ok(ControlFlow::Continue(())),
            }
        }
    }
}

impl GroupSnapshot for CassandraSnapshot {
    fn get(&self, key: &GroupKey) -> Result<Option<Bytes>, StoreError> {
        let link = self.shared.mirror.link();
        let partition = Partition::of(self.incarnation, self.group, key);
        let key = key.encode();
        let newest = self
            .shared
            .wait(async || link.newest(partition, &key, self.version, &[]).await)?;
        Ok(newest.and_then(|(_, value)| value))
    }

    fn range(
        &self,
        from: &GroupKey,
        to: &GroupKey,
        visit: &mut dyn FnMut(GroupKey, Bytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        self.visit(
            &from.encode(),
            &to.encode(),
            &mut |key, value| match GroupKey::decode(&key) {
                Ok(key) => visit(key, value),
                Err(error) => {
                    outcome = Err(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        outcome
    }

    fn rows_after(
        &self,
        after_key: Option<&[u8]>,
        bytes_max: u64,
    ) -> Result<Vec<RawRow>, StoreError> {
        let from = after_key.map_or_else(Bytes::new, after);
        let mut rows = Vec::new();
        let mut bytes = 0;
        self.visit(&from, &Bytes::from_static(&KEY_END), &mut |key, value| {
            bytes += (key.len() + value.len()) as u64;
            if bytes > bytes_max && !rows.is_empty() {
                return ControlFlow::Break(());
            }
            rows.push((key, value));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }
}

fn last_of(prefix: &[u8]) -> Bytes {
    [prefix, &[0xff; crate::GROUP_NAME_BYTES_MAX]]
        .concat()
        .into()
}
