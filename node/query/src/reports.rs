//! The report engine: from a request and a site's state to an answer.

use std::collections::HashMap;

use ringtail_analytics::Dimension;
use ringtail_proto::{RowReader, UnixMillis};

use crate::{
    answer::{
        Approximate, ComparedRow, GoalNote, Meta, QueryEcho, QueryResponse, RemainderNote,
        ResultRow,
    },
    cache::TableCache,
    cells::Cells,
    comparison::change,
    count::{Counted, REMAINDER_LABEL, Row, RowValue},
    dimension::{Interval, QueryDimension},
    error::QueryError,
    metric::{Metric, MetricValue, Shares},
    order::sort_rows,
    plan::{OrderBy, Plan, Span},
    request::QueryRequest,
    session::{Seen, Session},
    source::{SiteInfo, SiteSource},
    standing::Standing,
};

/// Said whenever visitors are counted over more than one local day.
const VISITORS_NOTE: &str = "visitors without an id of their own are hashed anew each local day: over several days they \
                             are the sum of days";
/// Said when no replica was reached that is in touch with its group.
const STALE_NOTE: &str =
    "no node was reached that knows the site's latest events: the numbers stand at as_of";
/// Said whenever money comes in several currencies.
const CURRENCIES_NOTE: &str = "money in several currencies is a list with one amount for each; it is never converted or summed";

/// Answers queries of all sites of a node. Cheap to share; holds a bounded cache of decoded pages.
pub struct Reports {
    cache: TableCache,
}

impl Reports {
    /// A cache of this size serves a dashboard of some hundred sites.
    pub const CACHE_BYTES_MAX: u64 = 64 << 20;

    /// An engine whose cache holds at most this many bytes.
    #[must_use]
    pub fn new(cache_bytes_max: u64) -> Self {
        Self {
            cache: TableCache::new(cache_bytes_max),
        }
    }

    /// Answers a query.
    ///
    /// `rows` has to show the site's rows of the same moment as `source`; `now` decides what "today" is.
    ///
    /// # Errors
    /// When the query is wrong or asks for what is not built, or when rows cannot be read.
    pub fn query(
        &self,
        request: &QueryRequest,
        site: &SiteInfo,
        source: &dyn SiteSource,
        rows: &dyn RowReader,
        standing: Standing,
        now: UnixMillis,
    ) -> Result<QueryResponse, QueryError> {
        let plan = Plan::new(request, site, source, now)?;
        let cells = Cells {
            site: site.id,
            source,
            rows,
            cache: &self.cache,
        };
        let mut counted = Counted::new(&plan, &plan.main, &cells)?;
        let compared = match &plan.comparison {
            Some(span) => Some((span, Counted::new(&plan, span, &cells)?)),
            None => None,
        };
        sort_rows(&mut counted.rows, &plan.order);
        let total_rows = counted.rows.len();
        let answer = Answer {
            plan: &plan,
            site,
            standing,
        };
        let before = compared
            .as_ref()
            .map(|(span, counted)| (*span, by_name(&counted.rows)));
        let skipped = usize::try_from(plan.pagination.offset).unwrap_or(usize::MAX);
        let results = counted
            .rows
            .iter()
            .skip(skipped)
            .take(plan.pagination.limit as usize)
            .map(|row| answer.row(row, before.as_ref()))
            .collect();
        Ok(QueryResponse {
            results,
            meta: Meta {
                total_rows: plan.include.total_rows.then_some(total_rows),
                ..answer.meta(source, &counted, compared.as_ref().map(|(_, other)| other))
            },
            query: answer.echo(),
        })
    }
}

/// Rows of the range compared with, by what they have in common with rows of the range itself.
type RowsByName<'a> = HashMap<(usize, &'a RowValue), &'a Row>;

fn by_name(rows: &[Row]) -> RowsByName<'_> {
    rows.iter()
        .map(|row| ((row.bucket, &row.value), row))
        .collect()
}

/// Puts a plan's numbers into words.
struct Answer<'a> {
    plan: &'a Plan,
    site: &'a SiteInfo,
    standing: Standing,
}

impl Answer<'_> {
    fn row(&self, row: &Row, before: Option<&(&Span, RowsByName<'_>)>) -> ResultRow {
        ResultRow {
            metrics: row.metrics.clone(),
            dimensions: self.labels(&self.plan.main, row),
            comparison: before.and_then(|(span, rows)| self.compared(row, span, rows)),
        }
    }

    /// Buckets of time are compared by position: none when the other range has fewer.
    fn compared(&self, row: &Row, span: &Span, rows: &RowsByName<'_>) -> Option<ComparedRow> {
        span.buckets.get(row.bucket)?;
        let metrics = match rows.get(&(row.bucket, &row.value)) {
            Some(other) => other.metrics.clone(),
            None => self.nothing(),
        };
        let named = self.plan.metrics.iter();
        let changes = named
            .zip(metrics.iter().zip(&row.metrics))
            .map(|(metric, (before, after))| change(*metric, before, after));
        Some(ComparedRow {
            change: changes.collect(),
            dimensions: self.labels(span, row),
            metrics,
        })
    }

    /// The metrics of a row in which nothing happened.
    fn nothing(&self) -> Vec<MetricValue> {
        let cell = ringtail_analytics::Cell::new(ringtail_analytics::Precision::Value);
        let metrics = self.plan.metrics.iter();
        metrics
            .map(|metric| metric.of(&cell, &Shares::default()))
            .collect()
    }

    /// The row's dimensions, with the time of a span.
    fn labels(&self, span: &Span, row: &Row) -> Vec<String> {
        let dimensions = self.plan.dimensions.iter();
        dimensions
            .map(|dimension| match dimension {
                QueryDimension::Time(_) => span
                    .buckets
                    .get(row.bucket)
                    .map_or_else(String::new, |bucket| bucket.label.clone()),
                QueryDimension::Value(_) => row.label.clone(),
            })
            .collect()
    }

    fn meta(&self, source: &dyn SiteSource, counted: &Counted, compared: Option<&Counted>) -> Meta {
        let plan = self.plan;
        let approximate = approximate(&plan.metrics, counted, compared);
        let labels = |span: &Span| {
            let buckets = span.buckets.iter();
            buckets.map(|bucket| bucket.label.clone()).collect()
        };
        let is_with_labels = plan.include.time_labels && plan.interval.is_some();
        Meta {
            index: self.standing.index.0,
            as_of: plan.calendar.rfc3339(self.standing.stamp),
            as_of_unix_ms: self.standing.stamp.0,
            generation: self.site.generation.0,
            is_fresh: self.standing.is_fresh,
            session: self.session(source).to_string(),
            pending_late: source.pending_late(),
            is_exact: approximate.is_empty(),
            approximate,
            date_range: self.ends(&plan.main),
            timezone: plan.calendar.name().to_owned(),
            comparison_date_range: plan.comparison.as_ref().map(|span| self.ends(span)),
            interval: plan.interval.map(Interval::name),
            time_labels: is_with_labels.then(|| labels(&plan.main)),
            total_rows: None,
            remainder: self.remainder(counted),
            goals: self.goals(source),
            imports_included: plan.include.imports,
            notes: self.notes(counted),
        }
    }

    /// What the client has seen with this answer.
    fn session(&self, source: &dyn SiteSource) -> Session {
        Session {
            site: self.site.id,
            seen: Seen::of(self.standing.index, source),
            now: self.plan.now,
            switches: self.site.switches,
        }
    }

    fn remainder(&self, counted: &Counted) -> Option<RemainderNote> {
        let value = self.plan.value.as_ref()?;
        (counted.remainder_values > 0).then(|| RemainderNote {
            dimension: value.name.clone(),
            label: REMAINDER_LABEL,
            values_max: counted.remainder_values,
        })
    }

    fn goals(&self, source: &dyn SiteSource) -> Option<Vec<GoalNote>> {
        let value = self.plan.value.as_ref()?;
        if value.dimension != Dimension::Goal {
            return None;
        }
        let goals = source.goals().into_iter();
        let noted = goals.map(|goal| GoalNote {
            name: goal.name,
            since: self.plan.calendar.rfc3339(goal.since),
        });
        Some(noted.collect())
    }

    fn notes(&self, counted: &Counted) -> Vec<&'static str> {
        let plan = self.plan;
        let range = plan.main.range;
        let is_of_visitors = |metric: &Metric| *metric == Metric::Visitors || metric.is_share();
        let last = UnixMillis(range.end.0 - 1);
        let mut notes = Vec::new();
        if !self.standing.is_fresh {
            notes.push(STALE_NOTE);
        }
        if plan.metrics.iter().any(is_of_visitors)
            && plan.calendar.date(range.start) != plan.calendar.date(last)
        {
            notes.push(VISITORS_NOTE);
        }
        let has_several =
            |metric: &MetricValue| matches!(metric, MetricValue::Money(sums) if sums.len() > 1);
        if counted
            .rows
            .iter()
            .any(|row| row.metrics.iter().any(has_several))
        {
            notes.push(CURRENCIES_NOTE);
        }
        notes
    }

    fn ends(&self, span: &Span) -> [String; 2] {
        [span.range.start, span.range.end].map(|end| self.plan.calendar.rfc3339(end))
    }

    fn echo(&self) -> QueryEcho {
        let plan = self.plan;
        let dimensions = plan.dimensions.iter();
        let order = plan.order.iter().map(|key| {
            let name = match key.by {
                OrderBy::Time => plan.interval.map_or("time", Interval::name).to_owned(),
                OrderBy::Value => plan
                    .value
                    .as_ref()
                    .map_or_else(String::new, |value| value.name.clone()),
                OrderBy::Metric(position) => plan
                    .metrics
                    .get(position)
                    .map_or_else(String::new, |metric| metric.name().to_owned()),
            };
            (name, if key.is_descending { "desc" } else { "asc" })
        });
        QueryEcho {
            site_id: self.site.domain.clone(),
            metrics: plan.metrics.iter().map(|metric| metric.name()).collect(),
            date_range: self.ends(&plan.main),
            dimensions: dimensions
                .map(|dimension| dimension.name().to_owned())
                .collect(),
            filters: [],
            order_by: order.collect(),
            include: plan.include.clone(),
            pagination: plan.pagination,
        }
    }
}

/// The metrics that are estimates, with their largest error.
fn approximate(
    metrics: &[Metric],
    counted: &Counted,
    compared: Option<&Counted>,
) -> Vec<Approximate> {
    let mut approximate = Vec::new();
    for (position, metric) in metrics.iter().enumerate() {
        let error = |counted: &Counted| counted.errors.get(position).copied().unwrap_or(0.0);
        let error = error(counted).max(compared.map_or(0.0, error));
        if error > 0.0 {
            approximate.push(Approximate {
                metric: metric.name(),
                relative_standard_error: (error * 1e6).round() / 1e6,
            });
        }
    }
    approximate
}
