//! The answer to a query, in Plausible's shape with our additions in `meta`.

use serde::Serialize;

use crate::{
    metric::MetricValue,
    request::{Include, Pagination},
};

/// The answer to a query; serialises to its JSON.
#[derive(Clone, Debug, Serialize)]
pub struct QueryResponse {
    pub(crate) results: Vec<ResultRow>,
    pub(crate) meta: Meta,
    pub(crate) query: QueryEcho,
}

/// One row.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ResultRow {
    /// In the order of the query's metrics.
    pub(crate) metrics: Vec<MetricValue>,
    /// In the order of the query's dimensions.
    pub(crate) dimensions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comparison: Option<ComparedRow>,
}

/// What the row was in the range compared with.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ComparedRow {
    pub(crate) metrics: Vec<MetricValue>,
    pub(crate) dimensions: Vec<String>,
    /// Difference of points for percentages, else percent of the earlier value.
    pub(crate) change: Vec<MetricValue>,
}

/// What the numbers are worth.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Meta {
    /// The entry of the partition's log that the numbers stand at.
    pub(crate) index: u64,
    /// The stamp of that index.
    pub(crate) as_of: String,
    pub(crate) as_of_unix_ms: i64,
    /// The generation of the site's history that answered.
    pub(crate) generation: u32,
    /// False when no node was reached that is in touch with the site's partition.
    pub(crate) is_fresh: bool,
    /// Sent back as `session`, it keeps later answers from going behind this one.
    pub(crate) session: String,
    /// Late events that are accepted but not in these numbers yet.
    pub(crate) pending_late: u64,
    /// True when no number is an estimate.
    pub(crate) is_exact: bool,
    /// The estimated metrics and their largest relative standard error.
    pub(crate) approximate: Vec<Approximate>,
    /// From the first instant up to, but not including, the second.
    pub(crate) date_range: [String; 2],
    pub(crate) timezone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comparison_date_range: Option<[String; 2]>,
    /// The interval that `time` came to mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_labels: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_rows: Option<usize>,
    /// Values beyond the caps, summed in rows named `(other)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remainder: Option<RemainderNote>,
    /// Goals and since when they count; earlier events do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) goals: Option<Vec<GoalNote>>,
    /// Imported events are events like all others.
    pub(crate) imports_included: bool,
    /// What a reader has to know to read the numbers right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<&'static str>,
}

/// An estimated metric.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Approximate {
    pub(crate) metric: &'static str,
    /// As a share of the value: two numbers in three are within one of it, nineteen in twenty within two.
    pub(crate) relative_standard_error: f64,
}

/// Values folded together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RemainderNote {
    pub(crate) dimension: String,
    pub(crate) label: &'static str,
    /// At most so many: a value that was folded in several hours counts in each.
    pub(crate) values_max: u64,
}

/// A goal.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GoalNote {
    pub(crate) name: String,
    pub(crate) since: String,
}

/// The query as it was understood.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QueryEcho {
    pub(crate) site_id: String,
    pub(crate) metrics: Vec<&'static str>,
    pub(crate) date_range: [String; 2],
    pub(crate) dimensions: Vec<String>,
    pub(crate) filters: [(); 0],
    pub(crate) order_by: Vec<(String, &'static str)>,
    pub(crate) include: Include,
    pub(crate) pagination: Pagination,
}
