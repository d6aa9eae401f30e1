//! One node: a process, its folder, and what can be done to it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::configuration::{self, LOGBACK, Place};

/// A start takes 6 s on a quiet machine, 18 s with a long log to replay.
const READY_AFTER_MAX: Duration = Duration::from_secs(240);
/// A node that was asked to stop needs 4 to 8 s.
const STOPPED_AFTER_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// CQL version 4, request OPTIONS without a body.
const OPTIONS: [u8; 9] = [4, 0, 0, 0, 5, 0, 0, 0, 0];
/// The code of the answer to it.
const SUPPORTED: u8 = 6;

/// One node of a local Cassandra. It is killed when this is dropped, or when this process ends in any way.
pub struct Node {
    folder: PathBuf,
    jars: PathBuf,
    place: Place,
    settings: BTreeMap<String, String>,
    running: Option<Running>,
}

/// The process and the thread that started it.
struct Running {
    child: Child,
    /// The kernel kills the process when the thread that started it ends: so that thread waits until this is dropped.
    _starter: mpsc::Sender<()>,
}

impl Node {
    pub(crate) fn new(
        folder: PathBuf,
        jars: PathBuf,
        place: Place,
        settings: BTreeMap<String, String>,
    ) -> Self {
        Self {
            folder,
            jars,
            place,
            settings,
            running: None,
        }
    }

    /// Where it answers CQL.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.place.native
    }

    /// What the node wrote about itself since its last start.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("output.log")
    }

    /// Sets a line of `cassandra.yaml` for the next start; none goes back to what is usual.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.settings.insert(name.to_owned(), value.to_owned()),
            None => self.settings.remove(name),
        };
    }

    /// Starts it, on the data that it left, and returns when it answers CQL.
    ///
    /// # Errors
    /// When it runs already, cannot be started, or does not answer; with the end of what it wrote.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        self.wait_until_ready()
    }

    /// Starts it without waiting.
    ///
    /// # Errors
    /// When it runs already, or there is no Java.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        if self.running.is_some() {
            bail!("Cassandra at {} runs already", self.address());
        }
        fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        let yaml = configuration::yaml(&self.folder, &self.place, &self.settings);
        fs::write(self.folder.join("cassandra.yaml"), yaml)?;
        fs::write(self.folder.join("logback.xml"), LOGBACK)?;
        let output = File::create(self.log_file())?;
        let mut command = java();
        command
            .args(configuration::arguments(&self.folder, &self.jars))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        self.running = Some(Running::start(command)?);
        Ok(())
    }

    /// Returns when it answers CQL.
    ///
    /// # Errors
    /// When it ended, or does not answer in minutes; with the end of what it wrote.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while !self.answers() {
            let ended = self.ended()?;
            if ended.is_some() || started.elapsed() > READY_AFTER_MAX {
                bail!(
                    "Cassandra at {} does not answer ({}): {}",
                    self.address(),
                    ended.map_or_else(|| "running".to_owned(), |status| status.to_string()),
                    self.last_words()
                );
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// True when it answers a question that needs no rights.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.ask().is_ok_and(|code| code == SUPPORTED)
    }

    /// How it ended, if it runs no more although nobody stopped it.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        match &mut self.running {
            Some(running) => Ok(running.child.try_wait()?),
            None => bail!("Cassandra at {} was not started", self.address()),
        }
    }

    /// Asks it to stop and waits; kills it when it does not.
    ///
    /// # Errors
    /// When the system refuses to send or to tell.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        let asked = Instant::now();
        running.send(Signal::TERM)?;
        while running.child.try_wait()?.is_none() {
            if asked.elapsed() > STOPPED_AFTER_MAX {
                break;
            }
            thread::sleep(LOOK);
        }
        // Dropping kills what is left.
        Ok(())
    }

    /// Kills it where it stands, as `kill -9` does.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Freezes it: its connections stay, nothing moves.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.send(Signal::STOP)
    }

    /// Lets a frozen node go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&mut self) -> anyhow::Result<()> {
        self.send(Signal::CONT)
    }

    fn send(&mut self, signal: Signal) -> anyhow::Result<()> {
        let running = self.running.as_mut().context("the node does not run")?;
        running.send(signal)
    }

    fn ask(&self) -> std::io::Result<u8> {
        let mut stream = TcpStream::connect_timeout(&self.address(), ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.write_all(&OPTIONS)?;
        let mut header = [0; 9];
        stream.read_exact(&mut header)?;
        let [_, _, _, _, code, ..] = header;
        Ok(code)
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(30);
        lines.get(first..).unwrap_or_default().join("\n")
    }
}

impl Running {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        let (report, reported) = mpsc::channel();
        let (starter, until_dropped) = mpsc::channel::<()>();
        thread::Builder::new()
            .name("cassandra".to_owned())
            .spawn(move || {
                if report.send(command.spawn()).is_ok() {
                    let _ = until_dropped.recv();
                }
            })?;
        let child = reported.recv()?.context("cannot start java")?;
        Ok(Self {
            child,
            _starter: starter,
        })
    }

    fn send(&mut self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a child has an id")?, signal).context("the process is gone")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended and was collected already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Java, through util-linux's `setpriv` where there is one: then the kernel ends it with us, however we end.
fn java() -> Command {
    let has_setpriv = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_setpriv {
        return Command::new("java");
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "java"]);
    command
}
