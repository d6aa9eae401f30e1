//! Where there are no namespaces: a proxy in front of each node's peer port, which can be told to lose what passes.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
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
    cuts: Arc<Mutex<Cuts>>,
    tasks: JoinSet<()>,
}

/// Ways that are cut: from and to.
type Cuts = BTreeSet<(u8, u8)>;

impl Proxies {
    pub(super) fn new() -> Self {
        Self {
            cuts: Arc::default(),
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
        let node = SocketAddrV4::new(self.address(slot), PEER_PORT);
        let cuts = self.cuts.clone();
        self.tasks.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((caller, from)) = listener.accept().await {
                let cuts = cuts.clone();
                passing.spawn(async move {
                    // A caller that went away, or a node that is down: the connection ends.
                    let _ = pass(cuts, slot, caller, from, node).await;
                });
                while passing.try_join_next().is_some() {}
            }
        });
        Ok(())
    }

    pub(super) fn cut(&self, from: u8, to: u8) {
        self.cuts.lock().insert((from, to));
    }

    pub(super) fn mend(&self, from: u8, to: u8) {
        self.cuts.lock().remove(&(from, to));
    }
}

async fn pass(
    cuts: Arc<Mutex<Cuts>>,
    slot: u8,
    caller: TcpStream,
    from: SocketAddr,
    node: SocketAddrV4,
) -> anyhow::Result<()> {
    let caller_slot = tokio::task::spawn_blocking(move || whose(from, *node.ip())).await?;
    let caller_slot = caller_slot.context("no node opened this connection")?;
    let server = TcpStream::connect(node).await?;
    let (caller_reads, caller_writes) = caller.into_split();
    let (server_reads, server_writes) = server.into_split();
    let there = copy(&cuts, (caller_slot, slot), caller_reads, server_writes);
    let back = copy(&cuts, (slot, caller_slot), server_reads, caller_writes);
    // One end is enough: a half open connection would look like a cut.
    tokio::select! {
        ended = there => ended,
        ended = back => ended,
    }
}

/// Passes on what comes; holds it back for as long as the way is cut, as a network does whose senders repeat.
async fn copy(
    cuts: &Mutex<Cuts>,
    way: (u8, u8),
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> anyhow::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk).await?;
        while cuts.lock().contains(&way) {
            sleep(LOOK).await;
        }
        match chunk.get(..count) {
            Some([]) | None => return Ok(()),
            Some(bytes) => to.write_all(bytes).await?,
        }
    }
}

/// The node that opened a connection: the kernel's table leads from its port to a socket, the socket to a process, and
/// the process names its address.
fn whose(from: SocketAddr, neighbour: Ipv4Addr) -> Option<u8> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let socket = format!("socket:[{}]", inode_of(&table, from)?);
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.into_iter().find_map(|process| {
        let words = fs::read_to_string(process.path().join("cmdline")).ok()?;
        let slot = slot_in(&words, neighbour)?;
        let mut files = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        let is_its = |file: fs::DirEntry| {
            fs::read_link(file.path()).is_ok_and(|target| target.to_str() == Some(&socket))
        };
        files.any(is_its).then_some(slot)
    })
}

/// The slot of a node of this run, from its command line.
fn slot_in(words: &str, neighbour: Ipv4Addr) -> Option<u8> {
    let mut words = words.split('\0').skip_while(|word| *word != "--peer");
    let address: SocketAddrV4 = words.nth(1)?.parse().ok()?;
    let [.., slot] = address.ip().octets();
    let is_ours = address.ip().octets().get(..3) == neighbour.octets().get(..3);
    is_ours.then_some(slot)
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
    fn a_node_is_known_by_the_peer_address_of_its_command_line() {
        let words = ["ringtail", "serve", "--peer", "127.3.4.2:7000", ""].join("\0");
        assert_eq!(slot_in(&words, Ipv4Addr::new(127, 3, 4, 1)), Some(2));
        assert_eq!(slot_in(&words, Ipv4Addr::new(127, 3, 5, 1)), None);
        assert_eq!(slot_in("cat\0file\0", Ipv4Addr::new(127, 3, 4, 1)), None);
    }

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
