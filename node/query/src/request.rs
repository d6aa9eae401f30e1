//! The body of a query as it came: shape checked, words not yet.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{QueryError, invalid};

/// A query in the shape of Plausible's Stats API v2, with our additions. Unknown keys are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// Domain of the site.
    pub site_id: String,
    /// What to count; `*` alone for all that goes with the dimensions.
    pub metrics: Vec<String>,
    /// A named period, or first and last date or instant.
    pub date_range: Value,
    /// Stands for today: `2024-01-31`.
    #[serde(default)]
    pub date: Option<String>,
    /// What to break down by.
    #[serde(default)]
    pub dimensions: Vec<String>,
    /// Only empty for now.
    #[serde(default)]
    pub filters: Vec<Value>,
    /// `[metric or dimension, "asc" or "desc"]`, the most important first.
    #[serde(default)]
    pub order_by: Option<Vec<(String, String)>>,
    /// What else to answer.
    #[serde(default)]
    pub include: Include,
    /// Which rows to answer.
    #[serde(default)]
    pub pagination: Pagination,
    /// `meta.session` of the last answer about the site: this one does not go behind it.
    #[serde(default)]
    pub session: Option<String>,
    /// Another generation of the site's history than the one that is served.
    #[serde(default)]
    pub generation: Option<u32>,
}

/// What else to answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Include {
    /// Accepted for compatibility: imported events are events like all others.
    pub imports: bool,
    /// `meta.time_labels`: every bucket of the range, also the empty ones.
    pub time_labels: bool,
    /// `meta.total_rows`: the number of rows before pagination.
    pub total_rows: bool,
    /// `previous_period`, `year_over_year` or `[date, date]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<Value>,
}

/// Which rows to answer.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pagination {
    /// How many at most, 1 to 10,000.
    pub limit: u64,
    /// How many to skip.
    pub offset: u64,
}

impl Default for Pagination {
    fn default() -> Self {
        Self {
            limit: QueryRequest::ROWS_MAX,
            offset: 0,
        }
    }
}

impl QueryRequest {
    /// As the only metric: all that go with the dimensions.
    pub const ALL_METRICS: &'static str = "*";
    /// Most rows of one answer.
    pub const ROWS_MAX: u64 = 10_000;
    /// Most metrics of one query.
    pub const METRICS_MAX: usize = 32;

    /// Reads a body. The server limits its size; the parser limits its depth.
    ///
    /// # Errors
    /// When it is no JSON object of this shape; the message names the key or the place.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let request: Self = serde_json::from_slice(body).map_err(|error| {
            QueryError::Invalid(format!("the query is not understood: {error}"))
        })?;
        let limits = 1..=Self::ROWS_MAX;
        if !limits.contains(&request.pagination.limit) {
            return invalid(format!(
                "pagination.limit is {}, it goes from 1 to {}",
                request.pagination.limit,
                Self::ROWS_MAX
            ));
        }
        Ok(request)
    }
}
