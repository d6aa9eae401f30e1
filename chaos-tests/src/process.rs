//! The real binary as a process: start, wait for readiness, kill, end, ask through its command line.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Longer than any start that is still a start.
const READY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Longer than any drain that is still a drain.
const ENDED_AFTER_MAX: Duration = Duration::from_secs(60);
/// How much of a node's last words an error repeats.
const LAST_WORDS_BYTES_MAX: u64 = 4096;

/// The binary under test: `RINGTAIL_BIN`, or the one beside the running test.
///
/// # Errors
/// When it is not built.
pub fn binary() -> anyhow::Result<PathBuf> {
    locate("RINGTAIL_BIN", "ringtail", "cargo build -p ringtail-server")
}

/// The binary that has the switch for planted bugs: `RINGTAIL_PLANTED_BIN`, or the one that `cargo xtask` put aside.
///
/// # Errors
/// When it is not built.
pub fn planted_binary() -> anyhow::Result<PathBuf> {
    locate(
        "RINGTAIL_PLANTED_BIN",
        "planted/ringtail",
        "cargo xtask build --planted",
    )
}

fn locate(variable: &str, name: &str, how: &str) -> anyhow::Result<PathBuf> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => profile_folder()?.join(name),
    };
    ensure!(
        path.exists(),
        "{} is not built; run `{how}`",
        path.display()
    );
    Ok(path)
}

/// `target/PROFILE`, from `target/PROFILE/deps/test` or `target/PROFILE/binary`.
fn profile_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program lies in a folder")?;
    let is_test = folder.ends_with("deps");
    let profile = if is_test {
        folder.parent()
    } else {
        Some(folder)
    };
    Ok(profile
        .context("cargo builds into a folder of the profile")?
        .to_owned())
}

/// How to start a node.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// More arguments of `serve`.
    pub arguments: Vec<String>,
    /// More environment.
    pub environment: Vec<(String, String)>,
    /// What starts the binary, with its own arguments; empty for the binary itself. It must replace itself by the binary.
    pub launcher: Vec<String>,
    /// Where the node's stderr of all its lives is kept, if not beside the data.
    pub stderr: Option<PathBuf>,
}

impl NodeOptions {
    /// A node with its data in this folder and otherwise as it comes.
    ///
    /// # Errors
    /// When the binary is not built.
    pub fn new(data_dir: impl Into<PathBuf>) -> anyhow::Result<Self> {
        Ok(Self {
            binary: binary()?,
            data_dir: data_dir.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            launcher: Vec::new(),
            stderr: None,
        })
    }

    /// Where the node's stderr of all its lives is kept: beside the data, never in it.
    #[must_use]
    pub fn stderr_path(&self) -> PathBuf {
        let beside = || self.data_dir.with_extension("stderr");
        self.stderr.clone().unwrap_or_else(beside)
    }

    fn command(&self) -> anyhow::Result<Command> {
        let stderr = self.stderr_path();
        let stderr = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&stderr)
            .with_context(|| stderr.display().to_string())?;
        let mut command = match self.launcher.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command.arg("serve").arg("--data-dir").arg(&self.data_dir);
        for (flag, any_port) in [("--http", "127.0.0.1:0"), ("--grpc", "127.0.0.1:0")] {
            if !self.arguments.iter().any(|argument| argument == flag) {
                command.args([flag, any_port]);
            }
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Starts the node and expects it to refuse; the answer is its exit status and what it said on stderr.
    ///
    /// # Errors
    /// When it starts all the same, or neither starts nor ends.
    pub async fn start_refused(&self) -> anyhow::Result<Refusal> {
        let said_before = fs::metadata(self.stderr_path()).map_or(0, |metadata| metadata.len());
        let mut child = self.command()?.spawn()?;
        let ended = timeout(READY_AFTER_MAX, child.wait()).await;
        let message = read_from(&self.stderr_path(), said_before)?;
        match ended {
            Ok(status) => Ok(Refusal {
                status: status?,
                message,
            }),
            Err(_) => {
                child.kill().await?;
                bail!("the node neither refused nor ended; it said: {message}")
            }
        }
    }
}

/// What a node that refuses to start leaves behind.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said on stderr.
    pub message: String,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    child: Child,
    // The node may write more lines; a closed pipe would be a fault of ours.
    _stdout: BufReader<ChildStdout>,
    options: NodeOptions,
    /// Address of HTTP: `127.0.0.1:PORT`.
    pub http: String,
    /// Address of gRPC.
    pub grpc: String,
    /// Address for the other nodes of the ring.
    pub peer: String,
    /// From the start of the process to its line of readiness.
    pub ready_after: Duration,
}

impl Node {
    /// Starts the binary and waits for its line of readiness.
    ///
    /// # Errors
    /// When it ends instead, with its last words, or is not ready in time.
    pub async fn start(options: NodeOptions) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = options
            .command()?
            .spawn()
            .with_context(|| format!("cannot start {}", options.binary.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        timeout(READY_AFTER_MAX, stdout.read_line(&mut line))
            .await
            .with_context(|| format!("not ready after {READY_AFTER_MAX:?}"))??;
        let ready_after = started.elapsed();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let status = timeout(ENDED_AFTER_MAX, child.wait()).await??;
            bail!(
                "the node ended with {status}: {}",
                last_words(&options.stderr_path())
            );
        };
        let address = |name: &str| {
            let address = ready.get(name).and_then(Value::as_str).map(str::to_owned);
            address.with_context(|| format!("no {name} in the line of readiness: {line}"))
        };
        Ok(Self {
            http: address("http")?,
            grpc: address("grpc")?,
            peer: address("peer")?,
            child,
            _stdout: stdout,
            options,
            ready_after,
        })
    }

    /// The token that the node made at its first start.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn admin_token(&self) -> anyhow::Result<String> {
        let path = self.options.data_dir.join("admin.token");
        let token = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(token.trim().to_owned())
    }

    /// The process id.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the node has ended")
    }

    /// How this node was started.
    #[must_use]
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// Stops the process where it is; nobody is told.
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Undoes [`Self::freeze`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw);
        Ok(kill_process(
            pid.context("a process id is positive")?,
            signal,
        )?)
    }

    /// How the process ended, if it did.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<String>> {
        let status = self.child.try_wait()?;
        let words = || last_words(&self.options.stderr_path());
        Ok(status.map(|status| format!("{status}: {}", words())))
    }

    /// SIGKILL; returns when the process is gone.
    ///
    /// # Errors
    /// When it had ended by itself before.
    pub async fn kill(self) -> anyhow::Result<NodeOptions> {
        self.begin_kill()?.gone().await
    }

    /// SIGKILL; the process may need a while to be gone.
    ///
    /// # Errors
    /// When it had ended by itself before.
    pub fn begin_kill(mut self) -> anyhow::Result<Killed> {
        if let Some(status) = self.child.try_wait()? {
            let words = last_words(&self.options.stderr_path());
            bail!("the node ended by itself with {status}: {words}");
        }
        self.child.start_kill()?;
        Ok(Killed(self))
    }

    /// SIGTERM; returns when the node has drained and ended.
    ///
    /// # Errors
    /// When it takes too long or ends with another code than 0.
    pub async fn terminate(mut self) -> anyhow::Result<NodeOptions> {
        self.signal(Signal::TERM)?;
        let status = timeout(ENDED_AFTER_MAX, self.child.wait())
            .await
            .context("the node does not drain")??;
        let words = last_words(&self.options.stderr_path());
        ensure!(
            status.success(),
            "the node drained and ended with {status}: {words}"
        );
        Ok(self.options)
    }

    /// Runs a client command of the same binary against this node.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn command(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let output = Command::new(&self.options.binary)
            .args(arguments)
            .args(["--server", &format!("http://{}", self.http)])
            .env("RINGTAIL_TOKEN", self.admin_token()?)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        Ok(output)
    }

    /// Runs a client command with `--json` and reads its answer.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn ask(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let output = self.command(&with_json).await?;
        ensure!(
            output.status.success(),
            "`ringtail {}` ended with {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Adds a site and makes a key for it.
    ///
    /// # Errors
    /// When either fails.
    pub async fn add_site(&self, domain: &str, timezone: &str) -> anyhow::Result<String> {
        self.ask(&["site", "add", domain, "--timezone", timezone])
            .await?;
        self.add_key(domain, "write").await
    }

    /// Makes a key for a site.
    ///
    /// # Errors
    /// When it fails.
    pub async fn add_key(&self, domain: &str, scope: &str) -> anyhow::Result<String> {
        let key = self
            .ask(&["key", "add", "--site", domain, "--scope", scope])
            .await?;
        let secret = key.get("secret").and_then(Value::as_str).map(str::to_owned);
        secret.with_context(|| format!("no secret in {key}"))
    }
}

/// A node that was killed and may not be gone yet.
#[derive(Debug)]
pub struct Killed(Node);

impl Killed {
    /// Returns when the process is gone.
    ///
    /// # Errors
    /// When the system does not say.
    pub async fn gone(mut self) -> anyhow::Result<NodeOptions> {
        self.0.child.wait().await?;
        Ok(self.0.options)
    }
}

/// The end of what a node said; it explains a failed start.
fn last_words(stderr: &Path) -> String {
    let length = fs::metadata(stderr).map_or(0, |metadata| metadata.len());
    read_from(stderr, length.saturating_sub(LAST_WORDS_BYTES_MAX))
        .unwrap_or_else(|error| format!("{error:#}"))
}

fn read_from(path: &Path, position: u64) -> anyhow::Result<String> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    file.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
