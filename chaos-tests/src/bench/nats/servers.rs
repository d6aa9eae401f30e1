//! Three NATS servers that are a cluster, and the stream.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use super::connection::ask;
use crate::bench::probe;

/// The stream and its only subject.
pub(super) const STREAM: &str = "events";
const SERVERS: usize = 3;
const LOOK: Duration = Duration::from_millis(20);
/// Whatever is awaited comes sooner or not at all.
const WAITING_MAX: Duration = Duration::from_secs(60);
/// Work left over from a load uses more than this part of one core.
const REST_CORES: f64 = 0.12;
/// Over this long the rest is measured.
const REST: Duration = Duration::from_millis(500);

/// When a server syncs its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// Before it acknowledges.
    Always,
    /// As it comes: every two minutes.
    Default,
}

/// The cluster.
pub(super) struct Servers {
    pub(super) folder: TempDir,
    addresses: Vec<String>,
    children: Vec<Option<Child>>,
}

/// The program, and what it says of itself.
pub(super) async fn program() -> anyhow::Result<(PathBuf, String)> {
    let program = std::env::var_os("RINGTAIL_NATS_SERVER");
    let program = PathBuf::from(program.unwrap_or_else(|| "nats-server".into()));
    let said = Command::new(&program).arg("--version").output().await;
    let said = said.with_context(|| {
        format!(
            "{} does not start; on Debian: apt-get install nats-server",
            program.display()
        )
    })?;
    let version = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    Ok((program, version))
}

/// True when the program knows how to sync each message.
pub(super) async fn can_always_sync() -> anyhow::Result<bool> {
    let folder = tempfile::tempdir()?;
    let configuration = folder.path().join("server.conf");
    fs::write(
        &configuration,
        "jetstream { store_dir: x, sync_interval: always }\n",
    )?;
    let mut check = Command::new(program().await?.0);
    let check = check.arg("-t").arg("-c").arg(&configuration);
    let checked = check.stdin(Stdio::null()).output().await?;
    Ok(checked.status.success())
}

impl Servers {
    /// Starts three servers with fresh data in the current folder's file system, and makes the stream.
    pub(super) async fn start(sync: Sync) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(".")?;
        let stores = (0..SERVERS).map(|number| folder.path().join(format!("n{number}")));
        let stores = stores.collect();
        Self::start_all(folder, stores, sync).await
    }

    /// The same with the data of each server where it is said.
    pub(super) async fn start_in(stores: Vec<PathBuf>, sync: Sync) -> anyhow::Result<Self> {
        Self::start_all(tempfile::tempdir_in(".")?, stores, sync).await
    }

    async fn start_all(folder: TempDir, stores: Vec<PathBuf>, sync: Sync) -> anyhow::Result<Self> {
        let (addresses, routes) = (free_addresses()?, free_addresses()?);
        let each = addresses.iter().zip(&routes).zip(stores);
        for (number, ((address, route), store)) in each.enumerate() {
            let path = folder.path().join(format!("n{number}.conf"));
            let store = std::path::absolute(store)?;
            let text = configuration(number, address, route, &routes, &store, sync)?;
            fs::write(path, text)?;
        }
        let mut servers = Self {
            folder,
            addresses,
            children: Vec::new(),
        };
        for number in 0..SERVERS {
            servers.children.push(None);
            servers.start_again(number).await?;
        }
        servers.make_stream().await?;
        servers.until_whole().await?;
        Ok(servers)
    }

    /// Starts a server that is down.
    pub(super) async fn start_again(&mut self, number: usize) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let words = File::options()
            .create(true)
            .append(true)
            .open(folder.join(format!("n{number}.stderr")))?;
        let child = Command::new(program().await?.0)
            .arg("-c")
            .arg(folder.join(format!("n{number}.conf")))
            .stdin(Stdio::null())
            .stdout(words.try_clone()?)
            .stderr(words)
            .kill_on_drop(true)
            .spawn()?;
        if let Some(place) = self.children.get_mut(number) {
            *place = Some(child);
        }
        Ok(())
    }

    /// SIGKILL; the moment just before.
    pub(super) async fn kill(&mut self, number: usize) -> anyhow::Result<Instant> {
        let child = self.children.get_mut(number).and_then(Option::take);
        let mut child = child.with_context(|| format!("server {number} is down"))?;
        let moment = Instant::now();
        child.kill().await?;
        Ok(moment)
    }

    /// Addresses of the servers that are up.
    pub(super) fn up(&self) -> Vec<String> {
        let all = self.addresses.iter().zip(&self.children);
        all.filter(|(_, child)| child.is_some())
            .map(|(address, _)| address.clone())
            .collect()
    }

    /// The address of one server.
    pub(super) fn address(&self, number: usize) -> anyhow::Result<String> {
        let address = self.addresses.get(number).cloned();
        address.context("no such server")
    }

    async fn make_stream(&self) -> anyhow::Result<()> {
        let question = json!({
            "name": STREAM,
            "subjects": [STREAM],
            "retention": "limits",
            "storage": "file",
            "num_replicas": SERVERS,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "max_msg_size": -1,
            "discard": "old",
        });
        let started = Instant::now();
        loop {
            let first = self.addresses.first().context("there are servers")?;
            let subject = format!("$JS.API.STREAM.CREATE.{STREAM}");
            match ask(first, &subject, &question.to_string()).await {
                Ok(_) => return Ok(()),
                Err(error) if started.elapsed() > WAITING_MAX => return Err(error),
                Err(_) => sleep(LOOK).await,
            }
        }
    }

    /// What some server says about the stream.
    async fn stream(&self) -> anyhow::Result<Value> {
        let up = self.up();
        let first = up.first().context("a server is up")?;
        ask(first, &format!("$JS.API.STREAM.INFO.{STREAM}"), "").await
    }

    /// Waits until the stream has a leader and all its replicas are up to date.
    pub(super) async fn until_whole(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let stream = self.stream().await;
            if stream.as_ref().is_ok_and(is_whole) {
                return Ok(());
            }
            ensure!(
                started.elapsed() < WAITING_MAX,
                "the stream is not whole: {stream:?}"
            );
            sleep(LOOK).await;
        }
    }

    /// Messages that the stream holds.
    pub(super) async fn messages(&self) -> anyhow::Result<u64> {
        let stream = self.stream().await?;
        let messages = stream.pointer("/state/messages").and_then(Value::as_u64);
        messages.with_context(|| format!("no messages in {stream}"))
    }

    /// The number of the server that leads the stream.
    pub(super) async fn leader(&self) -> anyhow::Result<usize> {
        let stream = self.stream().await?;
        let leader = stream.pointer("/cluster/leader").and_then(Value::as_str);
        let leader = leader.with_context(|| format!("no leader in {stream}"))?;
        Ok(leader.trim_start_matches('n').parse()?)
    }

    /// Processor time of all servers.
    pub(super) fn processor_time(&self) -> anyhow::Result<Duration> {
        let up = self.children.iter().flatten();
        up.map(|child| probe::processor_time(child.id().context("a server has ended")?))
            .sum()
    }

    /// Waits until no server works any more.
    pub(super) async fn until_at_rest(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let before = self.processor_time()?;
            sleep(REST).await;
            let used = self.processor_time()? - before;
            if used.as_secs_f64() < REST_CORES * REST.as_secs_f64() {
                return Ok(());
            }
            ensure!(started.elapsed() < WAITING_MAX, "the servers find no rest");
        }
    }

    /// Ends the servers and removes their data.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        for child in self.children.iter_mut().flatten() {
            child.kill().await?;
        }
        Ok(self.folder.close()?)
    }
}

fn is_whole(stream: &Value) -> bool {
    let replicas = stream
        .pointer("/cluster/replicas")
        .and_then(Value::as_array);
    let is_current = |replica: &Value| {
        replica.get("current") == Some(&json!(true)) && replica.get("offline") != Some(&json!(true))
    };
    stream
        .pointer("/cluster/leader")
        .is_some_and(Value::is_string)
        && replicas.is_some_and(|all| all.len() == SERVERS - 1 && all.iter().all(is_current))
}

fn configuration(
    number: usize,
    address: &str,
    route: &str,
    routes: &[String],
    store: &Path,
    sync: Sync,
) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "server_name: n{number}\nlisten: {address:?}")?;
    let sync = match sync {
        Sync::Always => "sync_interval: always",
        Sync::Default => "",
    };
    writeln!(text, "jetstream {{\n  store_dir: {store:?}\n  {sync}\n}}")?;
    let routes: Vec<String> = routes
        .iter()
        .map(|route| format!("nats://{route}"))
        .collect();
    writeln!(
        text,
        "cluster {{\n  name: bench\n  listen: {route:?}\n  routes: {routes:?}\n}}"
    )?;
    Ok(text)
}

fn free_addresses() -> anyhow::Result<Vec<String>> {
    // All are bound before one is given back, so that none is given out twice.
    let bound = (0..SERVERS).map(|_| TcpListener::bind("127.0.0.1:0"));
    let bound: Vec<TcpListener> = bound.collect::<Result<_, _>>()?;
    let addresses = bound
        .iter()
        .map(|bound| Ok(bound.local_addr()?.to_string()));
    addresses.collect()
}
