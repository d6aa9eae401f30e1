//! The table from slots to groups.

use std::collections::BTreeMap;

use ringtail_proto::{GroupId, SiteId, Slot};
use serde::{Deserialize, Serialize};

/// Which group each of the 4,096 slots belongs to. A table and not a formula, so that one group can be split later
/// without moving the sites of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<GroupId>", into = "Vec<GroupId>")]
pub struct SlotTable {
    /// One group for each slot.
    groups: Vec<GroupId>,
}

/// A table that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotTableError {
    /// Not one group for each slot.
    #[error("slot table has {found} slots, {expected} are needed")]
    Length {
        /// Slots found.
        found: usize,
        /// Slots needed.
        expected: usize,
    },
    /// Group 0 holds the metadata.
    #[error("slot {0} belongs to the metadata group")]
    Metadata(Slot),
    /// No partition, or more than there are slots.
    #[error("{0} partitions, 1 to {max} are possible", max = SiteId::SLOTS)]
    Groups(u32),
}

impl SlotTable {
    /// Spreads the slots evenly over partitions `1..=groups`, neighbours to different groups.
    ///
    /// # Errors
    /// Without a partition, or with more than there are slots.
    pub fn even(groups: u32) -> Result<Self, SlotTableError> {
        if groups == 0 || groups > u32::from(SiteId::SLOTS) {
            return Err(SlotTableError::Groups(groups));
        }
        let group_of = |slot: u16| GroupId(u32::from(slot) % groups + 1);
        Ok(Self {
            groups: (0..SiteId::SLOTS).map(group_of).collect(),
        })
    }

    /// The group of a site.
    #[must_use]
    pub fn group_of(&self, site: SiteId) -> GroupId {
        self.group_of_slot(site.slot())
    }

    /// The group of a slot.
    #[must_use]
    pub fn group_of_slot(&self, slot: Slot) -> GroupId {
        *self
            .groups
            .get(usize::from(slot.0))
            .expect("a table has every slot and slots come from sites")
    }

    /// All partitions that have slots, with their number of slots, by group.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<GroupId, usize> {
        let mut partitions = BTreeMap::new();
        for group in &self.groups {
            *partitions.entry(*group).or_default() += 1;
        }
        partitions
    }

    /// Gives a slot to a group.
    ///
    /// # Errors
    /// When the group is the metadata group.
    pub fn assign(&mut self, slot: Slot, group: GroupId) -> Result<(), SlotTableError> {
        if group == GroupId(0) {
            return Err(SlotTableError::Metadata(slot));
        }
        let slots = self.groups.len();
        let place = self.groups.get_mut(usize::from(slot.0));
        *place.ok_or(SlotTableError::Length {
            found: usize::from(slot.0) + 1,
            expected: slots,
        })? = group;
        Ok(())
    }
}

impl TryFrom<Vec<GroupId>> for SlotTable {
    type Error = SlotTableError;

    fn try_from(groups: Vec<GroupId>) -> Result<Self, SlotTableError> {
        let expected = usize::from(SiteId::SLOTS);
        if groups.len() != expected {
            return Err(SlotTableError::Length {
                found: groups.len(),
                expected,
            });
        }
        match groups.iter().position(|group| *group == GroupId(0)) {
            Some(slot) => Err(SlotTableError::Metadata(Slot(slot as u16))),
            None => Ok(Self { groups }),
        }
    }
}

impl From<SlotTable> for Vec<GroupId> {
    fn from(table: SlotTable) -> Self {
        table.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_spread_evenly_over_any_number_of_groups() {
        for groups in [1, 3, 16, 100, 4096] {
            let partitions = SlotTable::even(groups).expect("possible").partitions();
            assert_eq!(partitions.len(), groups as usize);
            assert_eq!(partitions.first_key_value().map(|(id, _)| id.0), Some(1));
            let least = partitions.values().min().expect("not empty");
            let most = partitions.values().max().expect("not empty");
            assert!(most - least <= 1, "{groups} groups: {least} to {most}");
        }
        assert_eq!(SlotTable::even(0), Err(SlotTableError::Groups(0)));
        assert_eq!(SlotTable::even(4097), Err(SlotTableError::Groups(4097)));
    }

    #[test]
    fn sites_find_the_same_group_as_ever() {
        let table = SlotTable::even(16).expect("possible");
        let groups = [1, 2, 3, u64::MAX].map(|site| table.group_of(SiteId(site)).0);
        // Written down once: a site that changes its group loses its state.
        assert_eq!(groups, [15, 4, 14, 4]);
    }

    #[test]
    fn a_table_of_the_wrong_shape_is_refused() {
        let right: Vec<GroupId> = SlotTable::even(4).expect("possible").into();
        let mut metadata = right.clone();
        metadata.splice(7..8, [GroupId(0)]);
        assert_eq!(
            SlotTable::try_from(metadata),
            Err(SlotTableError::Metadata(Slot(7)))
        );
        let mut short = right.clone();
        short.pop();
        assert_eq!(
            SlotTable::try_from(short),
            Err(SlotTableError::Length {
                found: 4095,
                expected: 4096
            })
        );
        assert!(SlotTable::try_from(right).is_ok());
    }

    #[test]
    fn one_slot_can_move_alone() {
        let mut table = SlotTable::even(4).expect("possible");
        let before = table.clone();
        table.assign(Slot(9), GroupId(5)).expect("a partition");
        for slot in (0..SiteId::SLOTS).map(Slot) {
            let expect = match slot {
                Slot(9) => GroupId(5),
                _ => before.group_of_slot(slot),
            };
            assert_eq!(table.group_of_slot(slot), expect);
        }
        assert!(table.assign(Slot(9), GroupId(0)).is_err());
        assert!(table.assign(Slot(4096), GroupId(1)).is_err());
    }
}
