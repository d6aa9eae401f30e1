//! Where there are no namespaces: a proxy in front of each node's peer port, which can be told to lose what passes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use super::{PEER_PORT, PROXY_PORT};

/// How often something that is held back looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);
const CHUNK_BYTES: usize = 64 << 10;

/// Proxies of all nodes; they end with this value.
#[derive(Debug)]
pub(super) struct Proxies {
    shared: Arc<Mutex<Shared>>,
    tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    cuts: BTreeSet<(u8, u8)>,
    processes: BTreeMap<u8, u32>,
}

impl Proxies {
    pub(super) fn new() -> Self {
        Self {
            shared: Arc::default(),
            tasks: JoinSet::new(),
        }
    }

    /// An address of this run: two runs at the same time do not meet.
    pub(super) fn address(&self, slot: u8) -> Ipv4Addr {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, high | 1, low, slot)
    }

    pub(super) fn advertised(&self, slot: u8) -> String {
        SocketAddr::from((self.address(slot), PROXY_PORT)).to_string()
    }

    pub(super) async fn add(&mut self, slot: u8) -> anyhow::Result<()> {
        let listener = TcpListener::bind((self.address(slot), PROXY_PORT)).await?;
        let node = SocketAddr::from((self.address(slot), PEER_PORT));
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((caller, from)) = listener.accept().await {
                let shared = shared.clone();
                passing.spawn(async move {
                    // A caller that went away, or a node that is down: the connection ends.
                    let _ = pass(shared, slot, caller, from, node).await;
                });
                while passing.try_join_next().is_some() {}
            }
        });
        Ok(())
    }

    pub(super) fn set_process(&self, slot: u8, pid: Option<u32>) {
        let processes = &mut self.shared.lock().processes;
        match pid {
            Some(pid) => processes.insert(slot, pid),
            None => processes.remove(&slot),
        };
    }

    pub(super) fn cut(&self, from: u8, to: u8) {
        self.shared.lock().cuts.insert((from, to));
    }

    pub(super) fn mend(&self, from: u8, to: u8) {
        self.shared.lock().cuts.remove(&(from, to));
    }
}

async fn pass(
    shared: Arc<Mutex<Shared>>,
    slot: u8,
    caller: TcpStream,
    from: SocketAddr,
    node: SocketAddr,
) -> anyhow::Result<()> {
    let processes = shared.lock().processes.clone();
    let caller_slot = tokio::task::spawn_blocking(move || whose(from, &processes)).await?;
    let caller_slot = caller_slot.context("no node opened this connection")?;
    let server = TcpStream::connect(node).await?;
    let (caller_reads, caller_writes) = caller.into_split();
    let (server_reads, server_writes) = server.into_split();
    let there = copy(&shared, (caller_slot, slot), caller_reads, server_writes);
    let back = copy(&shared, (slot, caller_slot), server_reads, caller_writes);
    // One end is enough: a half open connection would look like a cut.
    tokio::select! {
        ended = there => ended,
        ended = back => ended,
    }
}

/// Passes on what comes; holds it back for as long as the way is cut, as a network does whose senders repeat.
async fn copy(
    shared: &Mutex<Shared>,
    way: (u8, u8),
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> anyhow::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk).await?;
        while shared.lock().cuts.contains(&way) {
            sleep(LOOK).await;
        }
        match chunk.get(..count) {
            Some([]) | None => return Ok(()),
            Some(bytes) => to.write_all(bytes).await?,
        }
    }
}

/// The node that opened a connection: the kernel's table leads from its port to a socket, the socket to a process.
fn whose(from: SocketAddr, processes: &BTreeMap<u8, u32>) -> Option<u8> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let socket = format!("socket:[{}]", inode_of(&table, from)?);
    let owns = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let mut targets = files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| target.to_str() == Some(&socket))
    };
    let mut found = processes.iter().filter(|(_, pid)| owns(**pid));
    found.next().map(|(slot, _)| *slot)
}

/// Lines of `/proc/net/tcp`: number, local address, remote address, state, four more fields, user, timeout, inode.
fn inode_of(table: &str, local: SocketAddr) -> Option<u64> {
    let SocketAddr::V4(local) = local else {
        return None;
    };
    let address = u32::from_le_bytes(local.ip().octets());
    let wanted = format!("{address:08X}:{:04X}", local.port());
    let line = table
        .lines()
        .find(|line| line.split_whitespace().nth(1) == Some(&wanted))?;
    line.split_whitespace().nth(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_of_a_port_is_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n";
        assert_eq!(
            inode_of(table, "127.0.0.1:8080".parse().unwrap()),
            Some(4242)
        );
        assert_eq!(inode_of(table, "127.0.0.1:8081".parse().unwrap()), None);
    }
}
