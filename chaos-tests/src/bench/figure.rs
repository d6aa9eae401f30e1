//! One figure with its goal.

use serde_json::{Map, Value, json};

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    goal: Option<Goal>,
    details: Map<String, Value>,
}

impl Figure {
    /// A figure without a goal.
    #[must_use]
    pub fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            name,
            value,
            unit,
            goal: None,
            details: Map::new(),
        }
    }

    /// What it should be.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// A number that explains it: a probe, a count, a percentile.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// True when the goal is met; none without a goal.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| match goal {
            Goal::AtMost(most) => self.value <= most,
            Goal::AtLeast(least) => self.value >= least,
        })
    }

    /// As part of the document.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut document = json!({
            "figure": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
        });
        if let (Some(goal), Some(fields)) = (self.goal, document.as_object_mut()) {
            let (word, limit) = match goal {
                Goal::AtMost(most) => ("at most", most),
                Goal::AtLeast(least) => ("at least", least),
            };
            fields.insert("goal".to_owned(), json!(format!("{word} {limit}")));
            fields.insert("ratio".to_owned(), json!(rounded(self.value / limit)));
            fields.insert("met".to_owned(), json!(self.is_met()));
        }
        if let Some(fields) = document
            .as_object_mut()
            .filter(|_| !self.details.is_empty())
        {
            fields.insert("details".to_owned(), Value::Object(self.details.clone()));
        }
        document
    }
}

/// Three decimals are more than a measurement holds.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_on_its_own_side_only() {
        let check = |goal, expect| {
            assert_eq!(
                Figure::new("x", 5.0, "s").goal(goal).is_met(),
                Some(expect),
                "{goal:?}"
            );
        };
        check(Goal::AtMost(5.0), true);
        check(Goal::AtMost(4.9), false);
        check(Goal::AtLeast(5.0), true);
        check(Goal::AtLeast(5.1), false);
        assert_eq!(Figure::new("x", 5.0, "s").is_met(), None);
    }
}
