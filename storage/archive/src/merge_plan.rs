//! Which objects should become one.

use std::{collections::BTreeMap, fmt};

use jiff::civil::Date;
use ringtail_proto::{GroupId, LogIndex, stored::ArchiveObject};

use crate::{archive::path_of, object_path::ObjectPath, table::Table};

/// When merging pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeOptions {
    /// A merged object has at most so many rows.
    pub rows_max: u64,
    /// The objects of a merge have at most so many bytes together.
    pub bytes_max: u64,
    /// As long as a day goes on, fewer objects are left alone.
    pub objects_min: usize,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self {
            rows_max: 1 << 20,
            bytes_max: 128 << 20,
            objects_min: 16,
        }
    }
}

/// Objects that should become one.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// Their table.
    pub table: Table,
    /// Their group.
    pub group: GroupId,
    /// Their day.
    pub received: Date,
    /// At least two, in the order of the log; no other object of the table lies between them.
    pub objects: Vec<ArchiveObject>,
}

/// All merges that pay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MergePlan {
    /// By table, group and day.
    pub merges: Vec<Merge>,
}

impl MergePlan {
    /// Looks at a manifest; `today` is the UTC date on which seals are still coming in.
    ///
    /// An object of more than half of what a merged one may have is left alone, so that no row is written again and
    /// again.
    #[must_use]
    pub fn new<'a>(
        objects: impl IntoIterator<Item = &'a ArchiveObject>,
        today: Date,
        options: MergeOptions,
    ) -> Self {
        let mut logs: BTreeMap<(Table, GroupId), Vec<Placed<'a>>> = BTreeMap::new();
        let mut foreign = Vec::new();
        for object in objects {
            let path = path_of(object).ok().and_then(ObjectPath::parse);
            match (path, Table::from_stored(object.table)) {
                (Some(path), _) => {
                    let log = logs.entry((path.table, path.group)).or_default();
                    log.push((Some(path.received), object));
                }
                // What is not named as we name objects is left alone, wherever it lies.
                (None, Some(table)) => foreign.push((table, object)),
                (None, None) => {}
            }
        }
        for ((table, _), log) in &mut logs {
            let of_table = foreign.iter().filter(|(foreign, _)| foreign == table);
            log.extend(of_table.map(|(_, object)| (None, *object)));
        }
        let mut merges = Vec::new();
        for ((table, group), mut objects) in logs {
            objects.sort_by_key(|(_, object)| (object.first_index, object.last_index));
            // A leader whose clock is behind leaves entries of one day among those of another. Neighbours in the log become
            // one object, and only they: one that spans another's entries could not be read in the order of the log.
            for day in objects.chunk_by(|(one, _), (other, _)| one == other) {
                let Some(&(Some(received), _)) = day.first() else {
                    continue;
                };
                let objects_min = match received < today {
                    true => 2,
                    false => options.objects_min.max(2),
                };
                let runs = runs(day, options).into_iter();
                let runs = runs.filter(|run| run.len() >= objects_min);
                merges.extend(runs.map(|objects| Merge {
                    table,
                    group,
                    received,
                    objects,
                }));
            }
        }
        merges.sort_by_key(|merge| (merge.table, merge.group, merge.received));
        Self { merges }
    }

    /// The plan without some objects: no merge spans one of them.
    #[must_use]
    pub fn sparing(self, is_spared: impl Fn(&ArchiveObject) -> bool) -> Self {
        let mut merges = Vec::with_capacity(self.merges.len());
        for merge in self.merges {
            let runs = merge.objects.split(|object| is_spared(object));
            let runs = runs.filter(|run| run.len() > 1);
            merges.extend(runs.map(|run| Merge {
                objects: run.to_vec(),
                ..merge.clone()
            }));
        }
        Self { merges }
    }
}

/// An object and its day; none when its name does not tell.
type Placed<'a> = (Option<Date>, &'a ArchiveObject);

/// Neighbours that fit into one object.
fn runs(objects: &[Placed<'_>], options: MergeOptions) -> Vec<Vec<ArchiveObject>> {
    let mut runs = vec![Vec::new()];
    let (mut rows, mut bytes) = (0, 0);
    for (_, object) in objects {
        let is_large = object.rows > options.rows_max / 2 || object.bytes > options.bytes_max / 2;
        let is_over =
            rows + object.rows > options.rows_max || bytes + object.bytes > options.bytes_max;
        if is_large || is_over {
            runs.push(Vec::new());
            (rows, bytes) = (0, 0);
        }
        if !is_large && let Some(run) = runs.last_mut() {
            run.push((*object).clone());
            rows += object.rows;
            bytes += object.bytes;
        }
    }
    runs
}

impl Merge {
    /// The entries that the merged object will span.
    #[must_use]
    pub fn indexes(&self) -> (LogIndex, LogIndex) {
        let first = self.objects.iter().map(|object| object.first_index).min();
        let last = self.objects.iter().map(|object| object.last_index).max();
        (
            LogIndex(first.unwrap_or_default()),
            LogIndex(last.unwrap_or_default()),
        )
    }
}

impl fmt::Display for Merge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.indexes();
        let rows: u64 = self.objects.iter().map(|object| object.rows).sum();
        let bytes: u64 = self.objects.iter().map(|object| object.bytes).sum();
        write!(
            formatter,
            "merge {} objects of {} of group {} of {}: entries {first}..={last}, {rows} rows, {bytes} bytes",
            self.objects.len(),
            self.table,
            self.group,
            self.received,
        )
    }
}

impl fmt::Display for MergePlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.merges.is_empty() {
            return formatter.write_str("nothing to merge");
        }
        for (position, merge) in self.merges.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{merge}")?;
        }
        Ok(())
    }
}
