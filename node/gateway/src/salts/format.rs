//! The file: a first line with the version, then one secret a line.

use std::{fmt::Write, path::Path};

use super::{Held, SaltsError, Secret};

pub(super) const VERSION: u32 = 1;
const TITLE: &str = "ringtail salts";

pub(super) enum Fault {
    Newer(u32),
    Line(usize),
}

impl Fault {
    pub(super) fn at(self, path: &Path) -> SaltsError {
        let path = path.to_owned();
        match self {
            Self::Newer(found) => SaltsError::Newer { path, found },
            Self::Line(line) => SaltsError::Malformed { path, line },
        }
    }
}

pub(super) fn write(held: &Held) -> String {
    let proven = "a string takes whatever is written to it";
    let mut text = format!("{TITLE} {VERSION}\n");
    for (day, salt) in &held.days {
        writeln!(text, "day {day} {:032x}", u128::from_be_bytes(*salt)).expect(proven);
    }
    for (import, key) in &held.imports {
        writeln!(text, "import {import} {:032x}", u128::from_be_bytes(*key)).expect(proven);
    }
    text
}

pub(super) fn read(text: &str) -> Result<Held, Fault> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(position, line)| (position + 1, line));
    let title = lines.next().map(|(_, line)| line).unwrap_or_default();
    let version = title
        .strip_prefix(TITLE)
        .and_then(|rest| rest.trim().parse().ok());
    match version.ok_or(Fault::Line(1))? {
        VERSION => {}
        found if found > VERSION => return Err(Fault::Newer(found)),
        _ => return Err(Fault::Line(1)),
    }
    let mut held = Held::default();
    for (number, line) in lines {
        read_line(line, &mut held).ok_or(Fault::Line(number))?;
    }
    Ok(held)
}

fn read_line(line: &str, held: &mut Held) -> Option<()> {
    let mut words = line.split(' ');
    let (kind, name, secret) = (words.next()?, words.next()?, secret(words.next()?)?);
    match kind {
        "day" => held.days.push((name.parse().ok()?, secret)),
        "import" if !name.is_empty() => held.imports.push((name.to_owned(), secret)),
        _ => return None,
    }
    words.next().is_none().then_some(())
}

fn secret(hex: &str) -> Option<Secret> {
    let is_hex = hex.len() == 32 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex
        .then(|| u128::from_str_radix(hex, 16).ok())
        .flatten()
        .map(u128::to_be_bytes)
}
