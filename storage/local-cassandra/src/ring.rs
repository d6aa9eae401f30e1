//! One node, or three that form a cluster.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    thread,
};

use anyhow::{Context, bail, ensure};
use rand::Rng;
use tempfile::TempDir;

use crate::{configuration::Place, jars, node::Node};

/// The usual port of CQL. Each local Cassandra has addresses of its own, so the port need not differ.
const NATIVE_PORT: u16 = 9042;
/// The tokens of three nodes: thirds of the ring, so that all can start at once.
const THIRDS: [i64; 3] = [-6_148_914_691_236_517_204, 0, 6_148_914_691_236_517_204];
/// Tries to find addresses that nobody uses.
const ADDRESS_ATTEMPTS_MAX: usize = 100;

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Options {
    /// 1 or 3.
    pub nodes: usize,
    /// Where the nodes keep their data; a folder that is removed at the end when absent.
    pub folder: Option<PathBuf>,
    /// The address of the first node, the others' follow; three of the loopback network that nobody uses when absent.
    pub first_address: Option<SocketAddr>,
    /// Lines of `cassandra.yaml` beside the usual ones.
    pub settings: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 1,
            folder: None,
            first_address: None,
            settings: BTreeMap::new(),
        }
    }
}

impl Options {
    /// With one more line of `cassandra.yaml`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// A Cassandra of one or three nodes. All end when this is dropped; a folder that it made itself is removed.
pub struct LocalCassandra {
    nodes: Vec<Node>,
    _temporary: Option<TempDir>,
}

impl LocalCassandra {
    /// Starts all nodes and returns when each answers CQL.
    ///
    /// # Errors
    /// When Java or Maven is missing, the packages cannot be fetched, or a node does not answer.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        ensure!(
            matches!(options.nodes, 1 | 3),
            "a local Cassandra has 1 or 3 nodes, not {}",
            options.nodes
        );
        let jars = jars::folder()?;
        let (folder, temporary) = match &options.folder {
            Some(folder) => (folder.clone(), None),
            None => {
                let made = tempfile::Builder::new()
                    .prefix("ringtail-cassandra-")
                    .tempdir()?;
                (made.path().to_owned(), Some(made))
            }
        };
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let folder = folder.canonicalize()?;
        let first = match options.first_address {
            Some(address) => address,
            None => free_address(options.nodes)?,
        };
        let node = |number: usize| {
            Node::new(
                folder.join(format!("node{}", number + 1)),
                jars.clone(),
                place(first, number, options.nodes),
                options.settings.clone(),
            )
        };
        let mut cassandra = Self {
            nodes: (0..options.nodes).map(node).collect(),
            _temporary: temporary,
        };
        cassandra.start_all()?;
        Ok(cassandra)
    }

    fn start_all(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            node.spawn()?;
        }
        for node in &mut self.nodes {
            node.wait_until_ready()?;
        }
        Ok(())
    }

    /// Where the nodes answer CQL.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// One of the nodes, from 0 on.
    ///
    /// # Panics
    /// When there are fewer nodes.
    pub fn node(&mut self, number: usize) -> &mut Node {
        let nodes = self.nodes.len();
        let node = self.nodes.get_mut(number);
        node.unwrap_or_else(|| panic!("there are {nodes} nodes, none has the number {number}"))
    }

    /// Stops all nodes at once, each in order.
    ///
    /// # Errors
    /// When one cannot be asked.
    pub fn stop(mut self) -> anyhow::Result<()> {
        thread::scope(|scope| {
            let stop = |node| scope.spawn(move || Node::stop(node));
            let stopping: Vec<_> = self.nodes.iter_mut().map(stop).collect();
            stopping
                .into_iter()
                .try_for_each(|node| node.join().expect("stopping a node does not panic"))
        })
    }
}

fn place(first: SocketAddr, number: usize, nodes: usize) -> Place {
    Place {
        native: nth_address(first, number),
        storage_port: first.port().wrapping_add(1),
        seed: first.ip(),
        token: THIRDS
            .get(number)
            .copied()
            .filter(|_| nodes == THIRDS.len()),
    }
}

fn nth_address(first: SocketAddr, number: usize) -> SocketAddr {
    let ip = match first.ip() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() + number as u32)),
        ip @ IpAddr::V6(_) => ip,
    };
    SocketAddr::new(ip, first.port())
}

/// Addresses in 127/8 at which the ports are free, so that many local Cassandras live side by side.
fn free_address(nodes: usize) -> anyhow::Result<SocketAddr> {
    let mut random = rand::rng();
    for _ in 0..ADDRESS_ATTEMPTS_MAX {
        let ip = Ipv4Addr::new(127, random.random_range(1..=254), random.random(), 1);
        let first = SocketAddr::new(IpAddr::V4(ip), NATIVE_PORT);
        let is_free = (0..nodes).all(|number| {
            let Place {
                native,
                storage_port,
                ..
            } = place(first, number, nodes);
            TcpListener::bind(native).is_ok()
                && TcpListener::bind((native.ip(), storage_port)).is_ok()
        });
        if is_free {
            return Ok(first);
        }
    }
    bail!("no free address was found in 127/8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_addresses_side_by_side() {
        let first: SocketAddr = "127.3.4.1:9042".parse().expect("an address");
        let third = place(first, 2, 3);
        assert_eq!(third.native.to_string(), "127.3.4.3:9042");
        assert_eq!(third.storage_port, 9043);
        assert_eq!(third.seed.to_string(), "127.3.4.1");
        assert_eq!(third.token, Some(THIRDS[2]));
        assert_eq!(place(first, 0, 1).token, None);
    }
}
