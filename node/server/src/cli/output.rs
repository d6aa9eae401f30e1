//! What the command line prints: tables for people, JSON for programs.

use std::io::{self, Write as _};

use serde_json::Value;

use crate::exit::{Exit, ExitError};

/// How to print.
#[derive(Clone, Copy)]
pub(super) struct Output {
    /// `--json`
    pub(super) is_json: bool,
}

impl Output {
    /// Prints a document: as JSON, or as the text that `render` makes of it.
    pub(super) fn print(
        self,
        document: &Value,
        render: impl FnOnce(&Value) -> String,
    ) -> Result<(), ExitError> {
        let text = if self.is_json {
            document.to_string()
        } else {
            render(document)
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", text.trim_end())
            .and_then(|()| stdout.flush())
            .map_err(|error| ExitError::new(Exit::Failure, format!("stdout: {error}")))
    }
}

/// Prints an error, in one line, on stderr.
pub(super) fn complain(error: &ExitError) {
    // Nothing is left to tell when stderr is gone.
    let _ = writeln!(io::stderr(), "ringtail: {error}");
}

/// Prints a remark on stderr.
pub(super) fn remark(text: &str) {
    // A remark that nobody can read is no reason to fail.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A table with aligned columns.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head = header.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Reads a field as text; numbers and booleans as they are written, null as a dash.
pub(super) fn field(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A table of the documents in a list field.
pub(super) fn listing(document: &Value, list: &str, columns: &[&str]) -> String {
    let rows: Vec<Vec<String>> = document
        .get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|item| columns.iter().map(|column| field(item, column)).collect())
        .collect();
    table(columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let document = serde_json::json!({"sites": [
            {"domain": "example.com", "paused": false},
            {"domain": "a.io", "paused": null},
        ]});
        assert_eq!(
            listing(&document, "sites", &["domain", "paused"]),
            "domain       paused\nexample.com  false\na.io         -\n"
        );
    }
}
