//! Where a subscriber is in every group.

use std::collections::BTreeMap;

use prost::Message as _;
use ringtail_history::EventPosition;
use ringtail_proto::{GroupId, SiteId, wire::peer};

use super::{from_wire, to_wire};
use crate::api_error::ApiError;

const VERSION: u8 = 1;
/// Longest cursor that is read: 256 groups.
const CURSOR_BYTES_MAX: usize = 16 << 10;

/// Where a subscriber is in every group that told something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    site: Option<SiteId>,
    after: BTreeMap<GroupId, EventPosition>,
}

impl Cursor {
    /// Nobody told anything yet.
    pub(super) const fn new(site: Option<SiteId>) -> Self {
        Self {
            site,
            after: BTreeMap::new(),
        }
    }

    /// Where it is in a group.
    pub(super) fn after(&self, group: GroupId) -> Option<EventPosition> {
        self.after.get(&group).copied()
    }

    /// The subscriber is behind this now; true when the group told something for the first time.
    pub(super) fn note(&mut self, group: GroupId, through: EventPosition) -> bool {
        self.after.insert(group, through).is_none()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let groups = self.after.iter();
        let message = peer::Cursor {
            site: self.site.map_or(0, |site| site.0),
            groups: groups
                .map(|(group, position)| peer::GroupPosition {
                    group: group.0,
                    after: Some(to_wire(*position)),
                })
                .collect(),
        };
        let mut bytes = vec![VERSION];
        bytes.extend(message.encode_to_vec());
        bytes
    }

    /// Reads a cursor of a subscription to the same site.
    pub(super) fn decode(bytes: &[u8], site: Option<SiteId>) -> Result<Self, ApiError> {
        let broken = || ApiError::invalid("the cursor is none that this server gave");
        let body = match bytes.split_first() {
            Some((&VERSION, body)) if body.len() <= CURSOR_BYTES_MAX => body,
            _ => return Err(broken()),
        };
        let message = peer::Cursor::decode(body).map_err(|_| broken())?;
        if message.site != site.map_or(0, |site| site.0) {
            return Err(ApiError::invalid("the cursor is one of another site"));
        }
        let groups = message.groups.into_iter();
        let after: Option<BTreeMap<GroupId, EventPosition>> = groups
            .map(|group| Some((GroupId(group.group), from_wire(group.after?))))
            .collect();
        Ok(Self {
            site,
            after: after.ok_or_else(broken)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use ringtail_proto::LogIndex;

    use super::*;

    #[test]
    fn a_cursor_is_read_back_for_its_own_site_only() {
        let site = Some(SiteId(7));
        let mut cursor = Cursor::new(site);
        let position = EventPosition {
            index: LogIndex(900),
            slice: 2,
            offset: 31,
        };
        assert!(cursor.note(GroupId(3), position));
        assert!(!cursor.note(GroupId(3), EventPosition::end_of(LogIndex(901))));
        let bytes = cursor.encode();
        assert_eq!(Cursor::decode(&bytes, site).ok(), Some(cursor));
        for (bytes, site, expect) in [
            (&bytes[..], None, "another site"),
            (&bytes[..], Some(SiteId(8)), "another site"),
            (&[], site, "none that this server gave"),
            (&[9, 1], site, "none that this server gave"),
            (
                &bytes[..bytes.len() - 1],
                site,
                "none that this server gave",
            ),
        ] {
            let error = Cursor::decode(bytes, site).expect_err("no such cursor");
            assert!(error.message.contains(expect), "{error}");
        }
    }
}
