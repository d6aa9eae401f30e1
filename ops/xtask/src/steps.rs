//! A list of named steps with their durations: all are run, then one table tells.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::children;

/// The steps done so far.
pub(crate) struct Steps {
    title: &'static str,
    /// What has to hold after each step.
    check: fn() -> anyhow::Result<()>,
    done: Vec<Step>,
}

struct Step {
    name: String,
    took: Duration,
    failure: Option<String>,
}

impl Steps {
    /// No step yet.
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            title,
            check: children::none_left_behind,
            done: Vec::new(),
        }
    }

    /// Runs one step; a failure is noted, and the next step runs all the same. True when it went well.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<()>) -> bool {
        eprintln!("\n=== {}: {name}", self.title);
        let started = Instant::now();
        let result = step().and_then(|()| (self.check)());
        let failure = result.err().map(|error| format!("{error:#}"));
        if let Some(failure) = &failure {
            eprintln!("FAILED {name}: {failure}");
        }
        let is_success = failure.is_none();
        self.done.push(Step {
            name: name.to_owned(),
            took: started.elapsed(),
            failure,
        });
        is_success
    }

    /// Notes a step that cannot run because an earlier one failed.
    pub(crate) fn skip(&mut self, name: &str, because: &str) {
        self.done.push(Step {
            name: name.to_owned(),
            took: Duration::ZERO,
            failure: Some(format!("not run: {because}")),
        });
    }

    /// Prints the table; an error when any step failed.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        println!("\n{self}");
        let failed = self
            .done
            .iter()
            .filter(|step| step.failure.is_some())
            .count();
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.done.len());
        }
        Ok(())
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .done
            .iter()
            .map(|step| step.name.len())
            .max()
            .unwrap_or(0);
        for step in &self.done {
            let word = if step.failure.is_some() {
                "FAILED"
            } else {
                "ok"
            };
            let seconds = step.took.as_secs_f64();
            writeln!(formatter, "{:width$}  {word:6}  {seconds:8.1} s", step.name)?;
            if let Some(failure) = &step.failure {
                writeln!(formatter, "{:width$}  {failure}", "")?;
            }
        }
        let total: Duration = self.done.iter().map(|step| step.took).sum();
        write!(
            formatter,
            "{:width$}          {:8.1} s",
            "total",
            total.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_run_and_later_steps_still_run() {
        // The processes of this one are those of other tests.
        let mut steps = Steps {
            check: || Ok(()),
            ..Steps::new("test")
        };
        assert!(!steps.run("first", || bail!("broken")));
        assert!(steps.run("second", || Ok(())));
        let table = steps.to_string();
        assert!(table.contains("first   FAILED"), "{table}");
        assert!(table.contains("second  ok"), "{table}");
        let error = steps.finish().expect_err("a step failed");
        assert_eq!(error.to_string(), "1 of 2 steps failed");
    }
}
