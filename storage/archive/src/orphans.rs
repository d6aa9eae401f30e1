//! Objects that nobody names: of seals that were void, of replaced objects, of uploads whose proposer went away.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use futures::TryStreamExt;
use ringtail_proto::{GroupId, stored::ArchiveObject};

use crate::{
    archive::{Archive, ListedObject},
    error::ArchiveError,
    object_path::ObjectPath,
    table::Table,
};

/// What may be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrphanPlan {
    /// By path.
    pub objects: Vec<ListedObject>,
}

impl OrphanPlan {
    /// Lists a group's objects that its manifest does not name and that were prepared in a term up to this one.
    ///
    /// The manifest must have all that was decided in these terms: then what it does not name never will be named. What
    /// is not named as we name objects is left alone.
    ///
    /// # Errors
    /// When the store cannot list.
    pub async fn find(
        archive: &Archive,
        group: GroupId,
        manifest: &BTreeMap<Bytes, ArchiveObject>,
        decided_term: u64,
    ) -> Result<Self, ArchiveError> {
        let mut objects = Vec::new();
        for table in Table::ALL {
            let folder = format!("v1/table={table}/group={group}");
            let mut listed = std::pin::pin!(archive.list(&folder));
            while let Some(object) = listed.try_next().await? {
                let path = ObjectPath::parse(&object.path);
                let is_decided = path.is_some_and(|path| path.term <= decided_term);
                if is_decided && !manifest.contains_key(object.path.as_bytes()) {
                    objects.push(object);
                }
            }
        }
        objects.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { objects })
    }
}

impl fmt::Display for OrphanPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.objects.iter().map(|object| object.bytes).sum();
        let count = self.objects.len();
        write!(formatter, "delete {count} objects of {bytes} bytes")?;
        for object in &self.objects {
            write!(formatter, "\n  {}", object.path)?;
        }
        Ok(())
    }
}
