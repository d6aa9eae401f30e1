//! What the tests need from the machine: installed where we may, named where we may not.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::run::{read, run};

/// Where Debian's package puts the browser.
pub(crate) const CHROMIUM: &str = "/usr/bin/chromium";

/// Programs that the tests start, with the Debian package that brings each.
const PROGRAMS: [(&str, &str); 3] = [("node", "nodejs"), ("npm", "npm"), ("python3", "python3")];

/// Everything that `cargo xtask test` needs.
pub(crate) fn for_tests() -> anyhow::Result<()> {
    programs(&PROGRAMS)?;
    for_cassandra()?;
    chromium()
}

/// What starts a real Cassandra, and what fetches it.
const CASSANDRA: [(&str, &str); 2] = [("java", "openjdk-17-jre-headless"), ("mvn", "maven")];

/// What `cargo xtask cassandra` and the tests of the store in Cassandra need.
pub(crate) fn for_cassandra() -> anyhow::Result<()> {
    programs(&CASSANDRA)
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
        // Java and Maven tell of much more than their version.
        eprintln!("{program} {}", version.lines().next().unwrap_or_default());
    }
    Ok(())
}

fn chromium() -> anyhow::Result<()> {
    installed(CHROMIUM, "chromium")
}

/// Programs of the tests in `ops/`, where Debian's packages put them.
const OPS: [(&str, &str); 4] = [
    ("/usr/sbin/haproxy", "haproxy"),
    ("/usr/sbin/keepalived", "keepalived"),
    ("/usr/bin/promtool", "prometheus"),
    ("/usr/sbin/ip", "iproute2"),
];

/// Everything that `cargo xtask ops` needs.
pub(crate) fn for_ops() -> anyhow::Result<()> {
    programs(&PROGRAMS[2..])?;
    for (program, package) in OPS {
        installed(program, package)?;
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the test of keepalived makes network namespaces; run it as root");
    }
    Ok(())
}

/// Programs of the chaos tests: places of their own for the nodes, disks of their own, wrong clocks.
const CHAOS: [(&str, &str); 4] = [
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/mkfs.ext4", "e2fsprogs"),
    ("/usr/bin/faketime", "faketime"),
];

/// What `cargo xtask chaos` makes use of. It runs without, too: then its report names the faults that are left out.
pub(crate) fn for_chaos() {
    for (program, package) in CHAOS {
        if let Err(error) = installed(program, package) {
            eprintln!("{error:#}");
        }
    }
}

/// The module of the NATS server, of a version that can sync each message; Debian 12's (2.9) cannot.
const NATS_SERVER: &str = "github.com/nats-io/nats-server/v2@v2.12.4";

/// The server that the figures of NATS are measured with: the one that `RINGTAIL_NATS_SERVER` names, else one that Go
/// builds into this folder, else Debian's.
pub(crate) fn nats_server(tools: &Path) -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("RINGTAIL_NATS_SERVER") {
        return Ok(PathBuf::from(named));
    }
    let built = tools.join("nats-server");
    let has_go = || read(Command::new("go").arg("version")).is_ok();
    if !built.exists() && has_go() {
        run(Command::new("go")
            .args(["install", NATS_SERVER])
            .env("GOBIN", tools))?;
    }
    if built.exists() {
        return Ok(built);
    }
    eprintln!("go is missing, so Debian's nats-server is measured, which cannot sync each message");
    installed("/usr/sbin/nats-server", "nats-server")?;
    Ok(PathBuf::from("/usr/sbin/nats-server"))
}

/// Installs a Debian package when its program is missing, or names it where we may not.
fn installed(program: &str, package: &str) -> anyhow::Result<()> {
    if !Path::new(program).exists() {
        if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
            bail!("{program} is missing; on Debian: sudo apt-get install {package}");
        }
        run(Command::new("apt-get").args(["update", "--quiet"]))?;
        run(Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .arg(package)
            .env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    eprintln!("{program}");
    Ok(())
}
