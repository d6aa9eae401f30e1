//! The rows of a group that are alike on all replicas: its archive's objects and its sites' generations.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_checkpoint::{GroupKey, GroupSnapshot, StoreError};
use ringtail_proto::LogIndex;
use ringtail_raft::spawn_blocking;

use crate::{MirroringError, site_rows::Row};

/// How the names of these rows begin; the others are each replica's own.
const NAMES: [&[u8]; 3] = [b"archive", b"generations/", b"history"];

/// Another one after each change of any of them.
const INDEX: GroupKey = GroupKey::named("history");

/// Reads them; none when they are as they were.
pub(crate) async fn read(
    rows: Arc<dyn GroupSnapshot>,
    before: &BTreeMap<GroupKey, Bytes>,
) -> Result<Option<BTreeMap<GroupKey, Bytes>>, MirroringError> {
    let index = before.get(&INDEX).cloned();
    let read = spawn_blocking(move || match rows.get(&INDEX)? == index {
        true => Ok(None),
        false => collect(&*rows).map(Some),
    });
    let read: Result<_, StoreError> = read.await.map_err(|_| MirroringError::Stopping)?;
    Ok(read?)
}

/// The last entry that changed any of them.
pub(crate) fn index(rows: &BTreeMap<GroupKey, Bytes>) -> LogIndex {
    let bytes = rows.get(&INDEX).and_then(|row| row.last_chunk::<8>());
    LogIndex(bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

/// What brings rows to what they are now.
pub(crate) fn changes(
    before: &BTreeMap<GroupKey, Bytes>,
    now: &BTreeMap<GroupKey, Bytes>,
) -> Vec<Row> {
    let put = now
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value));
    let put = put.map(|(key, value)| (key.clone(), Some(value.clone())));
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    put.chain(gone.map(|key| (key.clone(), None))).collect()
}

fn collect(rows: &dyn GroupSnapshot) -> Result<BTreeMap<GroupKey, Bytes>, StoreError> {
    let mut found = BTreeMap::new();
    for name in NAMES {
        let first = GroupKey::Group(Bytes::from_static(name));
        let last = GroupKey::Group([name, &[0xff]].concat().into());
        rows.range(&first, &last, &mut |key, value| {
            found.insert(key, value);
            ControlFlow::Continue(())
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_put_what_is_new_and_remove_what_is_gone() {
        let of = |rows: &[(&'static str, &'static str)]| -> BTreeMap<GroupKey, Bytes> {
            let rows = rows.iter();
            rows.map(|(name, value)| (GroupKey::named(name), Bytes::from(*value)))
                .collect()
        };
        let before = of(&[("archive/a", "1"), ("archive/b", "1"), ("history", "1")]);
        let now = of(&[("archive/b", "1"), ("archive/c", "1"), ("history", "2")]);
        let expect = [
            (GroupKey::named("archive/c"), Some(Bytes::from("1"))),
            (GroupKey::named("history"), Some(Bytes::from("2"))),
            (GroupKey::named("archive/a"), None),
        ];
        assert_eq!(changes(&before, &now), expect);
        assert_eq!(changes(&now, &now), []);
        let row = Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 1, 2]);
        let rows = [(INDEX, row)].into();
        assert_eq!(index(&rows), LogIndex(258));
    }
}
