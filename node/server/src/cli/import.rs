//! `ringtail import …`: reads a file in chunks of whole lines and hands them to a node, from where it stands.

mod chunks;
mod source_file;

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::{Client, encoded},
    output::{Output, table},
};
use crate::{
    exit::{Exit, ExitError},
    import_position::{ImportPosition, default_source},
};

use chunks::{Chunk, Chunks};
use source_file::SourceFile;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Import access logs in common or combined format, plain or gzip, with their original times.
    AccessLog {
        /// The site's domain.
        #[arg(long, value_name = "DOMAIN")]
        site: String,
        /// Name under which the import goes on later; default: a hash of the first line. With it, several
        /// files are read as one.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// The files; `-` is standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// What an import did with the lines it read.
#[derive(Default, Deserialize)]
struct Counts {
    #[serde(default)]
    lines: u64,
    accepted: u64,
    duplicates: u64,
    dropped: BTreeMap<String, u64>,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        for (reason, count) in other.dropped {
            *self.dropped.entry(reason).or_default() += count;
        }
    }
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    output: Output,
) -> Result<(), ExitError> {
    let Command::AccessLog {
        site,
        source,
        files,
    } = arguments.command;
    let files = files
        .iter()
        .map(|path| SourceFile::open(path))
        .collect::<Result<Vec<_>, _>>()?;
    let progress = progress_bar(&files);
    let imports: Vec<(Option<String>, Vec<SourceFile>)> = match source {
        Some(source) => vec![(Some(source), files)],
        None => files.into_iter().map(|file| (None, vec![file])).collect(),
    };
    let mut counts = Counts::default();
    for (source, files) in imports {
        counts.add(import(client, &site, source, files, &progress).await?);
    }
    progress.finish_and_clear();
    let document = json!({
        "lines": counts.lines,
        "accepted": counts.accepted,
        "duplicates": counts.duplicates,
        "dropped": counts.dropped,
    });
    output.print(&document, |_| render(&counts))
}

async fn import(
    client: &Client,
    site: &str,
    source: Option<String>,
    files: Vec<SourceFile>,
    progress: &ProgressBar,
) -> Result<Counts, ExitError> {
    let mut chunks = Chunks::new(files);
    let Some(first) = chunks.first_line()? else {
        return Ok(Counts::default());
    };
    let source = source.unwrap_or_else(|| default_source(&first));
    let mut server = start(client, site, &source).await?;
    let mut position = ImportPosition::default();
    let mut counts = Counts::default();
    let mut is_changed = false;
    while let Some(chunk) = chunks.next(&mut position, server)? {
        progress.set_position(chunks.bytes_read());
        match chunk {
            Chunk::Known { lines } => {
                counts.lines += lines;
                counts.duplicates += lines;
            }
            Chunk::New { lines, bytes } => {
                let path = format!(
                    "/api/v1/imports/lines?site={}&source={}&after_line={}&after_hash={}",
                    encoded(site),
                    encoded(&source),
                    server.lines,
                    server.hash_text(),
                );
                let mut sent: Counts = counts_of(client.post_bytes(&path, bytes).await?)?;
                sent.lines = lines;
                counts.add(sent);
                server = position;
                is_changed = true;
            }
        }
    }
    if position.lines < server.lines {
        super::output::remark(&format!(
            "the file has {} lines, the import {source} stands at line {}: nothing to add",
            position.lines, server.lines
        ));
    }
    if is_changed {
        let body = json!({"site": site, "source": source});
        client.post("/api/v1/imports/finish", &body).await?;
    }
    Ok(counts)
}

async fn start(client: &Client, site: &str, source: &str) -> Result<ImportPosition, ExitError> {
    let body = json!({"site": site, "source": source});
    let mark = client.post("/api/v1/imports", &body).await?;
    let lines = mark.get("line").and_then(Value::as_u64);
    let hash = mark
        .get("hash")
        .and_then(Value::as_str)
        .and_then(|text| hex::decode(text).ok())
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    match (lines, hash) {
        (Some(lines), Some(hash)) => Ok(ImportPosition { lines, hash }),
        _ => Err(ExitError::new(
            Exit::Failure,
            format!("the server's import position is not understood: {mark}"),
        )),
    }
}

fn counts_of(value: Value) -> Result<Counts, ExitError> {
    serde_json::from_value(value)
        .map_err(|error| ExitError::new(Exit::Failure, format!("the server's answer: {error}")))
}

fn progress_bar(files: &[SourceFile]) -> ProgressBar {
    let total: Option<u64> = files.iter().map(SourceFile::size).sum();
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    if let Ok(style) =
        ProgressStyle::with_template("importing {wide_bar} {bytes}/{total_bytes} {eta}")
    {
        bar.set_style(style);
    }
    bar
}

fn render(counts: &Counts) -> String {
    let mut rows = vec![
        vec!["lines".to_owned(), counts.lines.to_string()],
        vec!["accepted".to_owned(), counts.accepted.to_string()],
        vec!["duplicates".to_owned(), counts.duplicates.to_string()],
    ];
    for (reason, count) in &counts.dropped {
        rows.push(vec![format!("dropped: {reason}"), count.to_string()]);
    }
    table(&["import", "count"], &rows)
}
