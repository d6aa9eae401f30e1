//! Reads the part of YAML in which uap-core writes its rules: a list of records of single-quoted texts under each heading.

use std::borrow::Cow;

use ua_parser::{os, user_agent};

type Extractors = (user_agent::Extractor<'static>, os::Extractor<'static>);

/// One record: fields in the order of the file.
#[derive(Default)]
struct Record(Vec<(&'static str, Cow<'static, str>)>);

impl Record {
    fn take(&mut self, name: &str) -> Option<Cow<'static, str>> {
        let position = self.0.iter().position(|(field, _)| *field == name)?;
        Some(self.0.swap_remove(position).1)
    }
}

/// Compiles the browser and system rules. Device rules are left out: half of the memory, for names that no report shows.
pub(super) fn compile(yaml: &'static str) -> Extractors {
    let proven = "the rules are compiled in and tested";
    let mut browsers = user_agent::Builder::new();
    for mut record in records(yaml, "user_agent_parsers") {
        browsers = browsers
            .push(user_agent::Parser {
                regex: record.take("regex").expect(proven),
                family_replacement: record.take("family_replacement"),
                v1_replacement: record.take("v1_replacement"),
                v2_replacement: record.take("v2_replacement"),
                ..user_agent::Parser::default()
            })
            .expect(proven);
    }
    let mut systems = os::Builder::new();
    for mut record in records(yaml, "os_parsers") {
        systems = systems
            .push(os::Parser {
                regex: record.take("regex").expect(proven),
                os_replacement: record.take("os_replacement"),
                os_v1_replacement: record.take("os_v1_replacement"),
                os_v2_replacement: record.take("os_v2_replacement"),
                ..os::Parser::default()
            })
            .expect(proven);
    }
    (
        browsers.build().expect(proven),
        systems.build().expect(proven),
    )
}

fn records(yaml: &'static str, heading: &str) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut is_inside = false;
    for line in yaml.lines() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if content.len() == line.len() {
            is_inside = content.trim_end().strip_suffix(':') == Some(heading);
            continue;
        }
        if !is_inside {
            continue;
        }
        let field = match content.strip_prefix("- ") {
            Some(field) => {
                records.push(Record::default());
                field
            }
            None => content,
        };
        if let (Some((name, value)), Some(record)) = (field.split_once(':'), records.last_mut()) {
            record.0.push((name.trim(), unquoted(value.trim())));
        }
    }
    records
}

fn unquoted(value: &'static str) -> Cow<'static, str> {
    let inner = value
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''));
    match inner {
        Some(inner) if inner.contains("''") => Cow::Owned(inner.replace("''", "'")),
        Some(inner) => Cow::Borrowed(inner),
        None => Cow::Borrowed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_with_comments_and_quotes() {
        let yaml = "# top\na:\n  # note\n  - regex: 'it''s (\\d+)'\n    v1_replacement: '$1'\n\n  - regex: 'b: c'\nb:\n  - regex: 'x'\n";
        let found: Vec<Vec<(&str, String)>> = records(yaml, "a")
            .into_iter()
            .map(|record| {
                record
                    .0
                    .into_iter()
                    .map(|(name, value)| (name, value.into_owned()))
                    .collect()
            })
            .collect();
        assert_eq!(
            found,
            vec![
                vec![
                    ("regex", "it's (\\d+)".to_owned()),
                    ("v1_replacement", "$1".to_owned())
                ],
                vec![("regex", "b: c".to_owned())],
            ]
        );
    }

    #[test]
    fn every_value_in_the_file_is_single_quoted() {
        let yaml = super::super::REGEXES;
        for heading in ["user_agent_parsers", "os_parsers"] {
            let list = records(yaml, heading);
            assert!(list.len() > 100, "{heading}");
            assert!(
                list.iter()
                    .all(|record| record.0.iter().any(|(name, _)| *name == "regex"))
            );
            assert!(list.iter().all(|record| {
                record
                    .0
                    .iter()
                    .all(|(_, value)| !value.starts_with(['\'', '"']))
            }));
        }
    }
}
