//! Two generations of a site beside each other.

use std::collections::BTreeMap;

use ringtail_query::QueryRequest;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::try_join;

use super::super::{Caller, Reports};
use crate::api_error::ApiError;

/// What is to be compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Difference {
    /// As in queries: `all` when it is absent; two dates with a comma between.
    range: Option<String>,
    /// Dimensions, with commas between; none compares totals.
    by: Option<String>,
}

impl Difference {
    /// Asks both generations for every metric that goes with the dimensions.
    pub(super) async fn ask(
        &self,
        reports: &Reports,
        caller: &Caller,
        domain: &str,
        [before, after]: [u32; 2],
    ) -> Result<Value, ApiError> {
        let (was, is) = try_join!(
            self.report(reports, caller, domain, before),
            self.report(reports, caller, domain, after)
        )?;
        let metrics = is.pointer("/query/metrics").cloned().unwrap_or_default();
        let dimensions = is.pointer("/query/dimensions").cloned().unwrap_or_default();
        let mut rows: BTreeMap<String, (Value, Value, Value)> = BTreeMap::new();
        for (position, report) in [was, is].into_iter().enumerate() {
            for row in report
                .get("results")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let labels = row.get("dimensions").cloned().unwrap_or_default();
                let counted = row.get("metrics").cloned().unwrap_or_default();
                let entry = rows.entry(labels.to_string()).or_default();
                entry.0 = labels;
                match position {
                    0 => entry.1 = counted,
                    _ => entry.2 = counted,
                }
            }
        }
        let rows = rows.into_values().map(|(dimensions, before, after)| {
            let is_changed = before != after;
            json!({"dimensions": dimensions, "before": before, "after": after, "is_changed": is_changed})
        });
        Ok(json!({
            "before": before,
            "after": after,
            "dimensions": dimensions,
            "metrics": metrics,
            "rows": rows.collect::<Vec<_>>(),
        }))
    }

    async fn report(
        &self,
        reports: &Reports,
        caller: &Caller,
        domain: &str,
        generation: u32,
    ) -> Result<Value, ApiError> {
        let range = self.range.as_deref().unwrap_or("all");
        let range = match range.split_once(',') {
            Some((from, to)) => json!([from.trim(), to.trim()]),
            None => json!(range),
        };
        let by = self.by.as_deref().unwrap_or_default();
        let dimensions: Vec<&str> = by.split(',').filter(|name| !name.is_empty()).collect();
        let request = json!({
            "site_id": domain,
            "metrics": [QueryRequest::ALL_METRICS],
            "date_range": range,
            "dimensions": dimensions,
            "generation": generation,
        });
        let report = reports.query(caller, request.to_string().into()).await?;
        serde_json::from_slice(&report).map_err(ApiError::internal)
    }
}
