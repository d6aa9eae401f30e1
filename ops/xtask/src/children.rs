//! No process outlives the step that started it.
//!
//! The operating system hands us the orphans of our children, so a server that a failed test forgot is found, named
//! and ended here, by its id.

use std::fs;

use anyhow::{Context, bail};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

/// From now on, orphans of our children become our children.
pub(crate) fn adopt_orphans() -> anyhow::Result<()> {
    set_child_subreaper(Some(getpid())).context("cannot adopt orphaned processes")
}

/// Ends what is left of the last step; an error that names it when there was anything.
pub(crate) fn none_left_behind() -> anyhow::Result<()> {
    let mut left = Vec::new();
    for (pid, name) in children()? {
        // An orphan that has ended by itself only waits to be collected.
        if !has_ended(pid) {
            left.push(format!("{name} ({})", pid.as_raw_nonzero()));
            end(pid)?;
        }
    }
    if !left.is_empty() {
        bail!("left processes behind, ended now: {}", left.join(", "));
    }
    Ok(())
}

fn has_ended(pid: Pid) -> bool {
    !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None))
}

fn end(pid: Pid) -> anyhow::Result<()> {
    kill_process(pid, Signal::KILL).context("cannot end a process that a step left behind")?;
    waitpid(Some(pid), WaitOptions::empty()).context("cannot collect an ended process")?;
    Ok(())
}

/// Our direct children: process id and name.
fn children() -> anyhow::Result<Vec<(Pid, String)>> {
    let own = getpid().as_raw_nonzero().get();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        // A process may end while we look.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((parent, name)) = parent_and_name(&stat) else {
            continue;
        };
        if let (true, Some(pid)) = (parent == own, Pid::from_raw(pid)) {
            found.push((pid, name));
        }
    }
    Ok(found)
}

/// `PID (NAME) STATE PARENT …`, where the name may hold blanks and brackets.
fn parent_and_name(stat: &str) -> Option<(i32, String)> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let parent = tail.split_whitespace().nth(1)?.parse().ok()?;
    Some((parent, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_is_read() {
        let stat = "17 (a (b) c) S 42 17 17 0 -1";
        assert_eq!(parent_and_name(stat), Some((42, "a (b) c".to_owned())));
        assert_eq!(parent_and_name("nonsense"), None);
    }
}
