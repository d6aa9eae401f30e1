//! Which later generations are complete on this replica: a row for each, in the batch that completed it.

use std::collections::BTreeSet;

use ringtail_checkpoint::{GroupKey, GroupSnapshot, StoreError};
use ringtail_proto::{Generation, SiteGeneration, SiteId};

use crate::group_history::{corrupt, each_row};

/// In front of the number of a site and of its generation, whose rows hold all that it is derived from.
const COMPLETE: &[u8] = b"complete/";
/// Reads which later generations are complete.
pub(crate) fn complete_generations(
    rows: &dyn GroupSnapshot,
) -> Result<BTreeSet<SiteGeneration>, StoreError> {
    let mut complete = BTreeSet::new();
    each_row(rows, COMPLETE, &mut |key, _| {
        let site = site_of(&key).ok_or_else(|| corrupt(format!("{key:?} names no generation")))?;
        complete.insert(site);
        Ok(())
    })?;
    Ok(complete)
}

pub(crate) fn complete_key(site: SiteGeneration) -> GroupKey {
    let name = format!("{}/{}", site.site, site.generation);
    GroupKey::Group([COMPLETE, name.as_bytes()].concat().into())
}

fn site_of(key: &GroupKey) -> Option<SiteGeneration> {
    let GroupKey::Group(name) = key else {
        return None;
    };
    let name = std::str::from_utf8(name.strip_prefix(COMPLETE)?).ok()?;
    let (site, generation) = name.split_once('/')?;
    Some(SiteGeneration {
        site: SiteId(site.parse().ok()?),
        generation: Generation(generation.parse().ok()?),
    })
}
