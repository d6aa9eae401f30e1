//! Whose address a request comes from, and whom to believe about it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A network in CIDR notation; a lone address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// In IPv6 form; IPv4 as mapped addresses, so that both forms of an address are equal.
    bits: u128,
    prefix: u32,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let difference = self.bits ^ mapped_bits(address);
        self.prefix == 0 || difference >> (128 - self.prefix) == 0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let fault = || format!("{text:?} is not a network like 10.0.0.0/8 or fd00::/8");
        let address: IpAddr = address.trim().parse().map_err(|_| fault())?;
        let (own_bits, offset) = if address.is_ipv4() {
            (32, 96)
        } else {
            (128, 0)
        };
        let prefix = match prefix {
            Some(prefix) => prefix.trim().parse().map_err(|_| fault())?,
            None => own_bits,
        };
        if prefix > own_bits {
            return Err(fault());
        }
        Ok(Self {
            bits: mapped_bits(address),
            prefix: prefix + offset,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Ipv6Addr::from(self.bits).to_ipv4_mapped() {
            Some(address) if self.prefix >= 96 => {
                write!(formatter, "{address}/{}", self.prefix - 96)
            }
            _ => write!(formatter, "{}/{}", Ipv6Addr::from(self.bits), self.prefix),
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

fn mapped_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Networks whose `X-Forwarded-For` counts. By default there is none: then the peer's own address counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustedProxies(pub Vec<Network>);

/// Addresses looked at in `X-Forwarded-For`; a longer list is a forgery.
const FORWARDED_ADDRESSES_MAX: usize = 32;

impl FromStr for TrustedProxies {
    type Err = String;

    /// A list with commas; empty for nobody.
    fn from_str(text: &str) -> Result<Self, String> {
        let networks = text
            .split(',')
            .map(str::trim)
            .filter(|network| !network.is_empty());
        networks.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    /// The address of the client: the right-most address that is not a trusted proxy.
    ///
    /// Whatever stands further left was written by somebody whom we do not trust.
    #[must_use]
    pub fn client_address(&self, peer: IpAddr, forwarded_for: Option<&str>) -> IpAddr {
        let mut client = peer.to_canonical();
        let Some(forwarded_for) = forwarded_for else {
            return client;
        };
        let mut hops = forwarded_for.rsplit(',').take(FORWARDED_ADDRESSES_MAX);
        while self.trusts(client) {
            let Some(hop) = hops.next() else { break };
            let Some(address) = parse_hop(hop) else { break };
            client = address;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = match hop.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if hop.matches(':').count() == 1 => hop.split(':').next()?,
        None => hop,
    };
    bare.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// An address that a client wrote into an event.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    text.trim()
        .parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[&str]) -> TrustedProxies {
        TrustedProxies(
            networks
                .iter()
                .map(|network| network.parse().unwrap())
                .collect(),
        )
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        let check = |trusted: &[&str], peer: &str, header: Option<&str>, expect: &str| {
            let client = proxies(trusted).client_address(peer.parse().unwrap(), header);
            assert_eq!(client.to_string(), expect, "{trusted:?} {peer} {header:?}");
        };
        check(&[], "198.51.100.7", None, "198.51.100.7");
        // Nobody is trusted by default, so the header is only a claim.
        check(&[], "198.51.100.7", Some("192.0.2.1"), "198.51.100.7");
        check(&["10.0.0.0/8"], "10.1.2.3", Some("192.0.2.1"), "192.0.2.1");
        check(
            &["10.0.0.0/8"],
            "10.1.2.3",
            Some("203.0.113.9, 192.0.2.1"),
            "192.0.2.1",
        );
        check(
            &["10.0.0.0/8"],
            "10.1.2.3",
            Some("192.0.2.1, 10.9.9.9"),
            "192.0.2.1",
        );
        check(&["10.0.0.0/8"], "11.1.2.3", Some("192.0.2.1"), "11.1.2.3");
        // All hops trusted: the outermost is the client.
        check(
            &["10.0.0.0/8"],
            "10.1.2.3",
            Some("10.0.0.9, 10.0.0.8"),
            "10.0.0.9",
        );
        // A broken hop ends the walk at what is known for sure.
        check(
            &["10.0.0.0/8"],
            "10.1.2.3",
            Some("192.0.2.1, unknown"),
            "10.1.2.3",
        );
        check(&["10.0.0.0/8"], "10.1.2.3", Some(""), "10.1.2.3");
        check(
            &["10.0.0.0/8"],
            "::ffff:10.1.2.3",
            Some("::ffff:192.0.2.1"),
            "192.0.2.1",
        );
        check(
            &["::ffff:10.0.0.0/104"],
            "10.1.2.3",
            Some("192.0.2.1:5555"),
            "192.0.2.1",
        );
        check(
            &["fd00::/8"],
            "fd00::1",
            Some("[2001:db8::7]:443"),
            "2001:db8::7",
        );
        check(
            &["127.0.0.1"],
            "127.0.0.1",
            Some("2001:db8::7"),
            "2001:db8::7",
        );
        check(
            &["0.0.0.0/0"],
            "192.0.2.9",
            Some("2001:db8::7, 1.2.3.4"),
            "2001:db8::7",
        );
        check(&["::/0"], "192.0.2.9", Some("5.6.7.8"), "5.6.7.8");
    }

    #[test]
    fn a_network_is_read_and_written_alike_or_refused() {
        for text in ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8", "::/0"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "fd00::/129",
            "10.0.0.0/x",
            "proxy.example.com",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }
}
