//! What the tests need from the machine: installed where we may, named where we may not.

use std::{path::Path, process::Command};

use anyhow::{Context, bail};

use crate::run::{read, run};

/// Where Debian's package puts the browser.
pub(crate) const CHROMIUM: &str = "/usr/bin/chromium";

/// Programs that the tests start, with the Debian package that brings each.
const PROGRAMS: [(&str, &str); 3] = [("node", "nodejs"), ("npm", "npm"), ("python3", "python3")];

/// Everything that `cargo xtask test` needs.
pub(crate) fn for_tests() -> anyhow::Result<()> {
    programs(&PROGRAMS)?;
    chromium()
}

/// What a build needs beside cargo.
pub(crate) fn for_build() -> anyhow::Result<()> {
    programs(&PROGRAMS[..2])
}

fn programs(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    for (program, package) in programs {
        let version = read(Command::new(program).arg("--version")).with_context(|| {
            format!("{program} is missing; on Debian: apt-get install {package}")
        })?;
        eprintln!("{program} {}", version.trim());
    }
    Ok(())
}

fn chromium() -> anyhow::Result<()> {
    if !Path::new(CHROMIUM).exists() {
        if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
            bail!("{CHROMIUM} is missing; on Debian: sudo apt-get install chromium");
        }
        run(Command::new("apt-get").args(["update", "--quiet"]))?;
        run(Command::new("apt-get")
            .args([
                "install",
                "--yes",
                "--quiet",
                "--no-install-recommends",
                "chromium",
            ])
            .env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    eprintln!("{CHROMIUM}");
    Ok(())
}
