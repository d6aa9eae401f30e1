//! Objects that nobody names: of seals that were void, of replaced objects, of uploads whose proposer went away.

use std::{collections::HashSet, fmt};

use futures::TryStreamExt;
use ringtail_proto::{GroupId, UnixMillis, stored::ArchiveObject};

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
    /// Lists a group's objects that its manifest does not name and that were written before an instant.
    ///
    /// The instant has to lie so far back that an object written before it is either named by now or never will be: a
    /// day, where a seal takes minutes. What is not named as we name objects is left alone.
    ///
    /// # Errors
    /// When the store cannot list.
    pub async fn find(
        archive: &Archive,
        group: GroupId,
        manifest: &[ArchiveObject],
        written_before: UnixMillis,
    ) -> Result<Self, ArchiveError> {
        let named: HashSet<&[u8]> = manifest.iter().map(|object| object.path.as_ref()).collect();
        let mut objects = Vec::new();
        for table in Table::ALL {
            let folder = format!("v1/table={table}/group={group}");
            let mut listed = std::pin::pin!(archive.list(&folder));
            while let Some(object) = listed.try_next().await? {
                let is_ours = ObjectPath::parse(&object.path).is_some();
                let is_named = named.contains(object.path.as_bytes());
                if is_ours && !is_named && object.modified < written_before {
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
