//! The sample access log as history: repeated, each time some days later, so that its end is yesterday.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use flate2::read::GzDecoder;
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, date},
    tz::TimeZone,
};

/// Days that the sample covers.
pub(crate) const SAMPLE_DAYS: i64 = 4;

/// Writes the newest so many lines, oldest first.
pub(crate) fn write_lines(path: &Path, lines: u64) -> anyhow::Result<()> {
    let sample = sample_lines()?;
    let length = sample.len() as u64;
    anyhow::ensure!(length > 0, "the sample has lines");
    let repeats = lines.div_ceil(length);
    // The oldest repeat may be needed in part only.
    let unwanted = usize::try_from(repeats * length - lines)?;
    let repeats = i64::try_from(repeats)?;
    let mut log = BufWriter::new(File::create(path)?);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    for repeat in (0..repeats).rev() {
        let first = today.checked_sub(((repeat + 1) * SAMPLE_DAYS).days())?;
        let skipped = if repeat + 1 == repeats { unwanted } else { 0 };
        for line in sample.iter().skip(skipped) {
            writeln!(log, "{}", shifted(line, first)?)?;
        }
    }
    Ok(log.flush()?)
}

/// Writes the sample so often; answers the number of lines.
pub(crate) fn write_repeats(path: &Path, repeats: u64) -> anyhow::Result<u64> {
    let lines = repeats * sample_lines()?.len() as u64;
    write_lines(path, lines)?;
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
fn shifted(line: &str, first: Date) -> anyhow::Result<String> {
    let Some((head, tail)) = line.split_once('[') else {
        return Ok(line.to_owned());
    };
    let (day, rest) = tail
        .split_at_checked(11)
        .context("a time stamp starts with its day")?;
    let day: Date = Date::strptime("%d/%b/%Y", day)?;
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

    #[test]
    fn as_many_lines_are_written_as_are_wanted_and_the_newest_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |lines: u64| {
            let path = folder.path().join("log");
            write_lines(&path, lines).unwrap();
            std::fs::read_to_string(path).unwrap()
        };
        let (some, more) = (write(10_500), write(12_000));
        assert_eq!(some.lines().count(), 10_500);
        assert_eq!(more.lines().count(), 12_000);
        assert!(
            more.ends_with(&some),
            "the shorter one lacks old lines only"
        );
    }
}
