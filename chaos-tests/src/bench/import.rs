//! Import of an access log: the sample, again and again, each time some days later.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;
use jiff::{Timestamp, ToSpan, civil::date, tz::TimeZone};
use serde_json::Value;

use super::{Figure, Goal, probe, stand::Stand};

/// Days that the sample covers.
pub(super) const SAMPLE_DAYS: i64 = 4;
/// How often it is repeated.
const REPEATS: i64 = 40;
const DOMAIN: &str = "semicomplete.com";

/// One import of 400,000 lines.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    stand.add_sites(&[DOMAIN.to_owned()]).await?;
    let log = stand.folder.path().join("access.log");
    let lines = write_shifted(&log, REPEATS)?;
    let before = probe::processor_time(stand.pid()?)?;
    let started = Instant::now();
    let counted = import(&stand, DOMAIN, &log).await?;
    let took = started.elapsed().as_secs_f64();
    let processor = probe::processor_time(stand.pid()?)? - before;
    ensure!(
        counted.get("lines").and_then(Value::as_u64) == Some(lines),
        "{counted}"
    );
    stand.end().await?;
    Ok(vec![
        Figure::new(
            "import",
            processor.as_secs_f64() * 1e6 / lines as f64,
            "server CPU µs/line",
        )
        .goal(Goal::AtMost(9.0))
        .detail("lines", lines)
        .detail("lines_per_second", lines as f64 / took)
        .detail(
            "accepted",
            counted.get("accepted").cloned().unwrap_or_default(),
        ),
    ])
}

/// Imports a file through the command line.
pub(super) async fn import(stand: &Stand, domain: &str, log: &Path) -> anyhow::Result<Value> {
    let log = log.to_str().context("the path is UTF-8")?;
    stand
        .node
        .ask(&["import", "access-log", "--site", domain, log])
        .await
}

/// Writes the sample so often that its last repeat ends yesterday; answers the number of lines.
pub(super) fn write_shifted(path: &Path, repeats: i64) -> anyhow::Result<u64> {
    let sample = sample_lines()?;
    let mut log = BufWriter::new(File::create(path)?);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let mut lines = 0;
    for repeat in (0..repeats).rev() {
        let first = today.checked_sub(((repeat + 1) * SAMPLE_DAYS).days())?;
        for line in &sample {
            lines += 1;
            writeln!(log, "{}", shifted(line, first)?)?;
        }
    }
    log.flush()?;
    Ok(lines)
}

fn sample_lines() -> anyhow::Result<Vec<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ops/sample/access.log.gz");
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    Ok(BufReader::new(GzDecoder::new(file))
        .lines()
        .collect::<Result<_, _>>()?)
}

/// The line with its day moved as far from `first` as it is from the sample's first day.
fn shifted(line: &str, first: jiff::civil::Date) -> anyhow::Result<String> {
    let Some((head, tail)) = line.split_once('[') else {
        return Ok(line.to_owned());
    };
    let (day, rest) = tail
        .split_at_checked(11)
        .context("a time stamp starts with its day")?;
    let day: jiff::civil::Date = jiff::civil::Date::strptime("%d/%b/%Y", day)?;
    let offset = day.since(date(2015, 5, 17))?;
    Ok(format!(
        "{head}[{}{rest}",
        first.checked_add(offset)?.strftime("%d/%b/%Y")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_moves_by_whole_days() {
        let line = "1.2.3.4 - - [19/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 1";
        let moved = shifted(line, date(2026, 2, 27)).unwrap();
        assert!(moved.contains("[01/Mar/2026:10:05:03 +0000]"), "{moved}");
    }
}
