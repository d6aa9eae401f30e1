//! From a plan's span to rows of numbers.

use ringtail_analytics::{Cell, CellTable, Dimension, Precision};
use ringtail_proto::{Text, UnixMillis};

use crate::{
    cells::Cells,
    error::{QueryError, invalid},
    metric::{Metric, MetricValue, Shares},
    plan::{Grain, Plan, Span},
    source::Minute,
};

/// Most rows that one query may count before pagination.
const ROWS_MAX: usize = 1_000_000;

/// One row: a bucket of time, a value, and the numbers.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Position among the span's buckets.
    pub(crate) bucket: usize,
    pub(crate) value: RowValue,
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
            Grain::Minutes | Grain::Recent => {
                cells.source.minutes(span.range.start, span.range.end)
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
        let mut counted = Self {
            rows: Vec::new(),
            errors: vec![0.0; plan.metrics.len()],
            remainder_values: 0,
        };
        for (position, bucket) in span.buckets.iter().enumerate() {
            let table = match dimension {
                Some(dimension) => Some(counter.table(bucket.start, bucket.end, dimension)?),
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
                (Some(table), _) => counted.add_table(plan, position, table, &shares)?,
                (None, Some(total)) => {
                    if plan.interval.is_none() || !is_empty(total) {
                        counted.add(
                            plan,
                            position,
                            RowValue::Text(Text::default()),
                            total,
                            &shares,
                        )?;
                    }
                }
                (None, None) => {}
            }
        }
        Ok(counted)
    }

    fn add_table(
        &mut self,
        plan: &Plan,
        bucket: usize,
        table: &CellTable,
        shares: &Shares,
    ) -> Result<(), QueryError> {
        for (value, cell) in table.cells() {
            if !is_empty(cell) {
                self.add(plan, bucket, RowValue::Text(value.clone()), cell, shares)?;
            }
        }
        if let Some(remainder) = table.remainder() {
            self.remainder_values += remainder.values;
            self.add(plan, bucket, RowValue::Remainder, &remainder.cell, shares)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        plan: &Plan,
        bucket: usize,
        value: RowValue,
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
            metrics: metrics.map(|metric| metric.of(cell, shares)).collect(),
        });
        Ok(())
    }
}

/// Counts parts of one span.
struct Counter<'a> {
    plan: &'a Plan,
    span: &'a Span,
    cells: &'a Cells<'a>,
    /// The span's minutes, unless it is counted from hours.
    minutes: Vec<Minute>,
}

impl Counter<'_> {
    fn table(
        &self,
        start: UnixMillis,
        end: UnixMillis,
        dimension: Dimension,
    ) -> Result<std::sync::Arc<CellTable>, QueryError> {
        match self.span.grain {
            Grain::Hours => self.cells.table(start, end, dimension),
            Grain::Minutes | Grain::Recent => {
                let recent = self.cells.source.recent(start, dimension);
                match recent {
                    Some(table) => Ok(std::sync::Arc::new(table)),
                    None => invalid(format!(
                        "{} is kept by hour only",
                        self.plan.value.as_ref().map_or("", |value| &value.name)
                    )),
                }
            }
        }
    }

    /// The site as a whole.
    fn total(&self, start: UnixMillis, end: UnixMillis) -> Result<Cell, QueryError> {
        if self.span.grain == Grain::Hours {
            let table = self.cells.table(start, end, Dimension::Total)?;
            let total = table.get("").cloned();
            return Ok(total.unwrap_or_else(|| Cell::new(Precision::Total)));
        }
        let first = self.minutes.partition_point(|minute| minute.start < start);
        let within = self.minutes.iter().skip(first);
        let mut total = Cell::new(Precision::Total);
        for minute in within.take_while(|minute| minute.start < end) {
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
