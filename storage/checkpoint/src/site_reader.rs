//! The rows of one generation of a site in a snapshot of its group.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use ringtail_proto::{RowReadError, RowReader, SiteGeneration, SiteRow};

use crate::{
    GroupKey, GroupSnapshot,
    group_key::{bounds_of, kind_of},
};

/// Reads the rows of one generation of a site as of one moment; no other's rows can be reached through it.
#[derive(Clone)]
pub struct SiteReader {
    snapshot: Arc<dyn GroupSnapshot>,
    site: SiteGeneration,
}

impl SiteReader {
    /// Reads the rows of `site` in `snapshot`.
    #[must_use]
    pub fn new(snapshot: Arc<dyn GroupSnapshot>, site: SiteGeneration) -> Self {
        Self { snapshot, site }
    }

    /// Whose rows these are.
    #[must_use]
    pub const fn site(&self) -> SiteGeneration {
        self.site
    }
}

impl RowReader for SiteReader {
    fn get(&self, row: SiteRow) -> Result<Option<Bytes>, RowReadError> {
        Ok(self.snapshot.get(&GroupKey::Site(self.site, row))?)
    }

    /// Rows of different kinds do not lie side by side in the group, so each kind is a range of its own.
    fn range(
        &self,
        from: SiteRow,
        to: SiteRow,
        visit: &mut dyn FnMut(SiteRow, Bytes) -> ControlFlow<()>,
    ) -> Result<(), RowReadError> {
        for kind in kind_of(from)..=kind_of(to) {
            let Some((first, last)) = bounds_of(kind) else {
                continue;
            };
            let mut is_stopped = false;
            self.snapshot.range(
                &GroupKey::Site(self.site, first.max(from)),
                &GroupKey::Site(self.site, last.min(to)),
                &mut |key, value| {
                    let GroupKey::Site(_, row) = key else {
                        return ControlFlow::Continue(());
                    };
                    let flow = visit(row, value);
                    is_stopped = flow.is_break();
                    flow
                },
            )?;
            if is_stopped {
                return Ok(());
            }
        }
        Ok(())
    }
}
