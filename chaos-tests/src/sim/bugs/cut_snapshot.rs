//! A store that loses the last rows of every snapshot that it receives.

use std::sync::Arc;

use ringtail_checkpoint::{CheckpointStore, GroupReplacement, GroupStore, RawRow, StoreError};
use ringtail_proto::GroupId;

pub(crate) struct CutSnapshots(pub(crate) Arc<dyn CheckpointStore>);

impl CheckpointStore for CutSnapshots {
    fn group(&self, group: GroupId) -> Result<Arc<dyn GroupStore>, StoreError> {
        self.0.group(group)
    }

    fn replace_group(&self, group: GroupId) -> Result<Box<dyn GroupReplacement>, StoreError> {
        Ok(Box::new(Cut {
            whole: self.0.replace_group(group)?,
            last: Vec::new(),
        }))
    }

    fn remove_group(&self, group: GroupId) -> Result<(), StoreError> {
        self.0.remove_group(group)
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.0.persist()
    }

    fn written_bytes(&self) -> u64 {
        self.0.written_bytes()
    }

    fn disk_bytes(&self) -> u64 {
        self.0.disk_bytes()
    }
}

struct Cut {
    whole: Box<dyn GroupReplacement>,
    last: Vec<RawRow>,
}

impl GroupReplacement for Cut {
    fn put(&mut self, rows: Vec<RawRow>) -> Result<(), StoreError> {
        let before = std::mem::replace(&mut self.last, rows);
        self.whole.put(before)
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let kept = self.last.len() * 2 / 3;
        self.last.truncate(kept);
        self.whole.put(self.last)?;
        self.whole.finish()
    }
}
