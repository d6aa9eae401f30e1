//! The network between the nodes, and how to cut it.

use std::net::Ipv4Addr;

use super::{proxies::Proxies, sandbox::system};

/// The harness's own leg of the bridge.
const HARNESS: &str = "10.77.0.254/24";
/// An address of no machine: frames sent there are lost in silence.
const NOWHERE: &str = "02:00:00:00:00:fe";

/// The network of a ring. What is cut is cut between nodes only: the harness reaches every node all the time.
#[derive(Debug)]
pub(super) enum Network {
    /// One namespace for each node, all on one bridge.
    Bridge,
    /// Loopback; each node's peers reach it through a proxy.
    Proxied(Proxies),
}

impl Network {
    /// The bridge, in the harness's own namespace.
    pub(super) fn bridge() -> anyhow::Result<Self> {
        // What an earlier round left; the names are seen in here only.
        let _ = system("ip", &["-all", "netns", "delete"]);
        let _ = system("ip", &["link", "del", "rt0"]);
        system("ip", &["link", "add", "rt0", "type", "bridge"])?;
        system("ip", &["addr", "add", HARNESS, "dev", "rt0"])?;
        system("ip", &["link", "set", "rt0", "up"])?;
        Ok(Self::Bridge)
    }

    /// Connects a place for a node, once.
    pub(super) async fn add(&mut self, slot: u8) -> anyhow::Result<()> {
        match self {
            Self::Bridge => add_namespace(slot),
            Self::Proxied(proxies) => proxies.add(slot).await,
        }
    }

    /// Where the node listens; the same in all its lives.
    pub(super) fn address(&self, slot: u8) -> Ipv4Addr {
        match self {
            Self::Bridge => Ipv4Addr::new(10, 77, 0, slot),
            Self::Proxied(proxies) => proxies.address(slot),
        }
    }

    /// Where its peers reach it, if that is elsewhere.
    pub(super) fn advertised(&self, slot: u8) -> Option<String> {
        match self {
            Self::Bridge => None,
            Self::Proxied(proxies) => Some(proxies.advertised(slot)),
        }
    }

    /// What starts a program at the node's place.
    pub(super) fn launcher(&self, slot: u8) -> Vec<String> {
        match self {
            // Replaces itself by the program, so that its process id is the node's.
            Self::Bridge => vec!["nsenter".to_owned(), format!("--net=/run/netns/rt{slot}")],
            Self::Proxied(_) => Vec::new(),
        }
    }

    /// Nothing that the one sends reaches the other any more; nobody is told.
    pub(super) fn cut(&self, from: u8, to: u8) -> anyhow::Result<()> {
        match self {
            Self::Bridge => {
                let to = self.address(to).to_string();
                neighbour(
                    from,
                    &["replace", &to, "lladdr", NOWHERE, "nud", "permanent"],
                )
            }
            Self::Proxied(proxies) => {
                proxies.cut(from, to);
                Ok(())
            }
        }
    }

    /// Undoes a cut.
    pub(super) fn mend(&self, from: u8, to: u8) -> anyhow::Result<()> {
        match self {
            Self::Bridge => neighbour(from, &["del", &self.address(to).to_string()]),
            Self::Proxied(proxies) => {
                proxies.mend(from, to);
                Ok(())
            }
        }
    }
}

fn add_namespace(slot: u8) -> anyhow::Result<()> {
    let (place, leg) = (format!("rt{slot}"), format!("rtv{slot}"));
    let address = format!("10.77.0.{slot}/24");
    let ip = |arguments: &[&str]| system("ip", arguments);
    ip(&["netns", "add", &place])?;
    let other_end = ["type", "veth", "peer", "name", "eth0", "netns", &place];
    ip(&[&["link", "add", &leg][..], &other_end].concat())?;
    ip(&["link", "set", &leg, "master", "rt0", "up"])?;
    ip(&["-n", &place, "addr", "add", &address, "dev", "eth0"])?;
    ip(&["-n", &place, "link", "set", "eth0", "up"])?;
    ip(&["-n", &place, "link", "set", "lo", "up"])
}

/// Changes what a node believes about its neighbours' addresses of hardware.
fn neighbour(from: u8, change: &[&str]) -> anyhow::Result<()> {
    let place = format!("rt{from}");
    let whole = [&["-n", &place, "neigh"][..], change, &["dev", "eth0"]].concat();
    system("ip", &whole)
}
