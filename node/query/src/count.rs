//! From a plan's span to rows of numbers.

use std::sync::Arc;

use ringtail_analytics::{Cell, CellTable, Dimension, Minute, Precision, RecentCell, RecentTable};
use ringtail_proto::{Text, UnixMillis};

use crate::{
    buckets::Bucket,
    cells::Cells,
    error::{QueryError, invalid},
    metric::{Metric, MetricValue, Shares},
    plan::{Grain, Plan, Span},
    source::GoalInfo,
};

/// Most rows that one query may count before pagination.
const ROWS_MAX: usize = 1_000_000;
/// The label of the visible remainder.
pub(crate) const REMAINDER_LABEL: &str = "(other)";

/// One row: a bucket of time, a value, and the numbers.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Position among the span's buckets.
    pub(crate) bucket: usize,
    pub(crate) value: RowValue,
    /// The value as it is shown; empty when the query has no dimension beside time.
    pub(crate) label: String,
    pub(crate) metrics: Vec<MetricValue>,
}

/// The value of the dimension beside time. The remainder sorts last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RowValue {
    /// No such dimension in the query, or "none" when the text is empty.
    Text(Text),
    /// Values that a cap folded together.
    Remainder,
}

/// The rows of a span, and what their numbers are worth.
pub(crate) struct Counted {
    pub(crate) rows: Vec<Row>,
    /// For each metric the largest relative standard error among the rows.
    pub(crate) errors: Vec<f64>,
    /// At most so many values stand behind remainder rows.
    pub(crate) remainder_values: u64,
}

impl Counted {
    /// Counts a span of a plan.
    pub(crate) fn new(plan: &Plan, span: &Span, cells: &Cells<'_>) -> Result<Self, QueryError> {
        let dimension = plan.value.as_ref().map(|value| value.dimension);
        let minutes = match span.grain {
            Grain::Hours => Vec::new(),
            Grain::Minutes | Grain::Recent(_) => {
                let range = span.range;
                cells.source.minutes(range.start, range.end, cells.rows)?
            }
        };
        let counter = Counter {
            plan,
            span,
            cells,
            minutes,
        };
        let range = if plan.metrics.iter().any(|metric| metric.is_share()) {
            Some(counter.total(span.range.start, span.range.end)?)
        } else {
            None
        };
        let naming = Naming {
            plan,
            goals: match dimension {
                Some(Dimension::Goal) => cells.source.goals(),
                _ => Vec::new(),
            },
        };
        let mut counted = Self {
            rows: Vec::new(),
            errors: vec![0.0; plan.metrics.len()],
            remainder_values: 0,
        };
        for (position, bucket) in span.buckets.iter().enumerate() {
            let table = match dimension {
                Some(dimension) => Some(counter.table(bucket, dimension)?),
                None => None,
            };
            let needs_total = table.is_none() || plan.metrics.contains(&Metric::ConversionRate);
            let total = if needs_total {
                Some(counter.total(bucket.start, bucket.end)?)
            } else {
                None
            };
            let shares = Shares::new(range.as_ref(), total.as_ref());
            match (&table, &total) {
                (Some(Values::Cells(table)), _) => {
                    let cells = table.cells().iter();
                    let rest = table.remainder().map(|rest| (rest.values, &rest.cell));
                    counted.add_values(&naming, position, cells, rest, &shares)?;
                }
                (Some(Values::Recent(cells, rest)), _) => {
                    let rest = (!is_empty(rest)).then_some((1, rest));
                    counted.add_values(&naming, position, cells.iter(), rest, &shares)?;
                }
                (None, Some(total)) => {
                    // Empty buckets are left out of a series; a total is always told.
                    if plan.interval.is_none() || !is_empty(total) {
                        let value = RowValue::Text(Text::default());
                        counted.add(plan, position, (value, String::new()), total, &shares)?;
                    }
                }
                (None, None) => {}
            }
        }
        Ok(counted)
    }

    fn add_values<'a>(
        &mut self,
        naming: &Naming<'_>,
        bucket: usize,
        cells: impl Iterator<Item = &'a (Text, Cell)>,
        rest: Option<(u64, &Cell)>,
        shares: &Shares,
    ) -> Result<(), QueryError> {
        for (value, cell) in cells {
            if !is_empty(cell) {
                let name = (RowValue::Text(value.clone()), naming.label(value));
                self.add(naming.plan, bucket, name, cell, shares)?;
            }
        }
        if let Some((values, cell)) = rest {
            self.remainder_values += values;
            let name = (RowValue::Remainder, REMAINDER_LABEL.to_owned());
            self.add(naming.plan, bucket, name, cell, shares)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        plan: &Plan,
        bucket: usize,
        (value, label): (RowValue, String),
        cell: &Cell,
        shares: &Shares,
    ) -> Result<(), QueryError> {
        if self.rows.len() == ROWS_MAX {
            return invalid(format!(
                "the report has more than {ROWS_MAX} rows: narrow the range or take a wider interval"
            ));
        }
        let metrics = plan.metrics.iter();
        for (metric, error) in metrics.zip(&mut self.errors) {
            *error = error.max(metric.relative_error(cell, shares));
        }
        let metrics = plan.metrics.iter();
        self.rows.push(Row {
            bucket,
            value,
            label,
            metrics: metrics.map(|metric| metric.of(cell, shares)).collect(),
        });
        Ok(())
    }
}

/// How values are shown.
struct Naming<'a> {
    plan: &'a Plan,
    /// The site's goals, when they are the dimension.
    goals: Vec<GoalInfo>,
}

impl Naming<'_> {
    fn label(&self, value: &Text) -> String {
        let goal = self
            .goals
            .iter()
            .find(|goal| goal.id.to_string() == **value);
        match (goal, &self.plan.value) {
            (Some(goal), _) => goal.name.clone(),
            (None, Some(shown)) => shown.label(value),
            (None, None) => String::new(),
        }
    }
}

/// The values of one bucket.
enum Values {
    Cells(Arc<CellTable>),
    /// Of the last minutes, and what was counted together.
    Recent(Vec<(Text, Cell)>, Cell),
}

fn cell_of(recent: &RecentCell) -> Cell {
    Cell {
        events: recent.events,
        visitors: recent.visitors.clone(),
        ..Cell::new(Precision::Value)
    }
}

/// Counts parts of one span.
struct Counter<'a> {
    plan: &'a Plan,
    span: &'a Span,
    cells: &'a Cells<'a>,
    /// The span's minutes, unless it is counted from hours.
    minutes: Vec<(UnixMillis, Minute)>,
}

impl Counter<'_> {
    /// What a bucket says by value.
    fn table(&self, bucket: &Bucket, dimension: Dimension) -> Result<Values, QueryError> {
        match self.span.grain {
            Grain::Hours => {
                let table = self.cells.table(bucket.start, bucket.end, dimension)?;
                Ok(Values::Cells(table))
            }
            Grain::Recent(table) => Ok(self.recent(table)),
            Grain::Minutes => invalid("minutes are kept for the site as a whole"),
        }
    }

    /// What the last minutes say by value.
    fn recent(&self, table: RecentTable) -> Values {
        let since = self.span.range.start;
        let (cells, rest) = self.cells.source.recent(table, since, self.plan.now);
        let cells = cells
            .into_iter()
            .map(|(value, cell)| (value, cell_of(&cell)));
        Values::Recent(cells.collect(), cell_of(&rest))
    }

    /// The site as a whole.
    fn total(&self, start: UnixMillis, end: UnixMillis) -> Result<Cell, QueryError> {
        if self.span.grain == Grain::Hours {
            let table = self.cells.table(start, end, Dimension::Total)?;
            let total = table.get("").cloned();
            return Ok(total.unwrap_or_else(|| Cell::new(Precision::Total)));
        }
        let first = self.minutes.partition_point(|(known, _)| *known < start);
        let within = self.minutes.iter().skip(first);
        let mut total = Cell::new(Precision::Total);
        for (_, minute) in within.take_while(|(known, _)| *known < end) {
            total.events += minute.events;
            total.pageviews += minute.pageviews;
            total.visitors.merge(&minute.visitors);
        }
        Ok(total)
    }
}

/// True when nothing happened: such rows are left out.
fn is_empty(cell: &Cell) -> bool {
    cell.events == 0
        && cell.visits == 0
        && cell.entrances == 0
        && cell.engaged_ms == 0
        && cell.scroll_count == 0
        && cell.revenue.is_empty()
        && cell.visitors.is_empty()
}
