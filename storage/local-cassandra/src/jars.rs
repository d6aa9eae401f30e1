//! Cassandra's jars: fetched once by Maven, kept outside of any clone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use crate::VERSION;

/// The plug-in that fetches; pinned, so that tomorrow's fetch is today's.
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// The folder with all jars, fetched when it is not there yet.
///
/// # Errors
/// When Java 17 or Maven is missing, or the packages cannot be fetched.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    check_java()?;
    let home = env::var_os("HOME").context("HOME is not set: there is no place for the jars")?;
    let kept = PathBuf::from(home).join(".cache/ringtail/cassandra");
    let folder = kept.join(VERSION);
    if !has_jars(&folder) {
        fetch(&kept, &folder)?;
    }
    Ok(folder)
}

fn has_jars(folder: &Path) -> bool {
    folder
        .join(format!("cassandra-all-{VERSION}.jar"))
        .is_file()
}

/// Fetches beside the folder and renames: a fetch that was cut off, or two at once, never leave half a folder.
fn fetch(kept: &Path, folder: &Path) -> anyhow::Result<()> {
    let partial = kept.join(format!("{VERSION}.{}", process::id()));
    fs::create_dir_all(&partial).with_context(|| partial.display().to_string())?;
    let fetched = run_maven(&partial);
    let renamed = fetched.and_then(|()| match fs::rename(partial.join("jars"), folder) {
        Err(error) if !has_jars(folder) => Err(error).with_context(|| folder.display().to_string()),
        _ => Ok(()),
    });
    // What is left of a failure is of no use to anybody.
    let removed = fs::remove_dir_all(&partial).context("cannot remove the unfinished fetch");
    renamed.and(removed)
}

fn run_maven(partial: &Path) -> anyhow::Result<()> {
    let project = partial.join("pom.xml");
    fs::write(&project, project_text()).with_context(|| project.display().to_string())?;
    let output = Command::new("mvn")
        .args(["--quiet", "--batch-mode", PLUGIN, "-DincludeScope=runtime"])
        .arg(format!(
            "-DoutputDirectory={}",
            partial.join("jars").display()
        ))
        .current_dir(partial)
        .stdin(Stdio::null())
        .output()
        .context("Maven is missing; on Debian: apt-get install maven")?;
    ensure!(
        output.status.success() && has_jars(&partial.join("jars")),
        "Maven cannot fetch Cassandra {VERSION}: {}",
        String::from_utf8_lossy(&output.stdout).trim()
    );
    Ok(())
}

fn project_text() -> String {
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\
         <modelVersion>4.0.0</modelVersion>\
         <groupId>ringtail</groupId><artifactId>cassandra</artifactId><version>1</version>\
         <packaging>pom</packaging>\
         <dependencies><dependency><groupId>org.apache.cassandra</groupId>\
         <artifactId>cassandra-all</artifactId><version>{VERSION}</version></dependency></dependencies>\
         </project>\n"
    )
}

/// Cassandra 5.0 runs on Java 11 and 17; the flags here are those of 17.
fn check_java() -> anyhow::Result<()> {
    let output = Command::new("java")
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .context("Java 17 is missing; on Debian: apt-get install openjdk-17-jre-headless")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !is_java_17(&said) {
        bail!(
            "Cassandra is started with Java 17; `java -version` says {}",
            said.lines().next().unwrap_or_default()
        );
    }
    Ok(())
}

fn is_java_17(said: &str) -> bool {
    said.contains("version \"17.") || said.contains("version \"17\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_java_17_will_do() {
        let check = |said, expect| assert_eq!(is_java_17(said), expect, "{said}");
        check("openjdk version \"17.0.15\" 2025-04-15", true);
        check("openjdk version \"17\" 2021-09-14", true);
        check("openjdk version \"21.0.1\" 2023-10-17", false);
        check("java version \"1.8.0_17\"", false);
    }
}
