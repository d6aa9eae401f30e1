//! Where the servers are and how they are used.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::MirrorError;

/// The longest name of a keyspace that servers take.
const KEYSPACE_BYTES_MAX: usize = 48;

/// How ScyllaDB or Cassandra is reached and used.
#[derive(Clone)]
pub struct CassandraOptions {
    /// Some of the servers, `host:port`; they tell of the others.
    pub nodes: Vec<String>,
    /// The keyspace that holds the tables. Default `ringtail`.
    pub keyspace: String,
    /// User and password, where the servers ask for them.
    pub login: Option<(String, String)>,
    /// The data centre whose servers are asked; any when absent.
    pub datacenter: Option<String>,
    /// How long one request may take. Default 5 s.
    pub request_timeout: Duration,
    /// How long the first connection to a server may take. Default 5 s.
    pub connect_timeout: Duration,
    /// Attempts of one request before its caller hears of it. Default 3.
    pub attempts_max: u32,
    /// Requests of one write that are under way at once. Default 8.
    pub concurrency_max: usize,
    /// How long superseded versions stay: the time that a reader has for one pinned read. Default 1 h.
    pub grace: Duration,
    /// Rows whose superseded versions wait for the end of the grace; beyond it the oldest are left until the row changes
    /// again. Default 262,144.
    pub prune_rows_max: usize,
}

impl Default for CassandraOptions {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            keyspace: "ringtail".to_owned(),
            login: None,
            datacenter: None,
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            attempts_max: 3,
            concurrency_max: 8,
            grace: Duration::from_secs(3_600),
            prune_rows_max: 1 << 18,
        }
    }
}

/// Written by hand, so that no password gets into a log.
impl fmt::Debug for CassandraOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CassandraOptions")
            .field("nodes", &self.nodes)
            .field("keyspace", &self.keyspace)
            .field("user", &self.login.as_ref().map(|(user, _)| user))
            .field("datacenter", &self.datacenter)
            .finish_non_exhaustive()
    }
}

impl CassandraOptions {
    /// Refuses what no server can be asked for.
    ///
    /// # Errors
    /// [`MirrorError::BadOptions`].
    pub fn check(&self) -> Result<(), MirrorError> {
        let bad = |message: &str| {
            Err(MirrorError::BadOptions {
                message: message.to_owned(),
            })
        };
        if self.nodes.is_empty() {
            return bad("no node is named");
        }
        let is_first = |byte: &u8| byte.is_ascii_lowercase();
        let is_later =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let name = self.keyspace.as_bytes();
        if !name.first().is_some_and(is_first)
            || !name.iter().copied().all(is_later)
            || name.len() > KEYSPACE_BYTES_MAX
        {
            return bad("a keyspace is named by up to 48 of a-z, 0-9 and _, a letter first");
        }
        Ok(())
    }
}

/// How many servers hold each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// That many anywhere: for one server, or servers that know of no data centres.
    Simple(u8),
    /// That many in each data centre, by its name.
    Datacenters(BTreeMap<String, u8>),
}

impl Replication {
    /// As CQL writes it.
    pub(super) fn cql(&self) -> Result<String, MirrorError> {
        let bad = |message: String| MirrorError::BadOptions { message };
        match self {
            Self::Simple(0) => Err(bad("0 replicas hold nothing".to_owned())),
            Self::Simple(factor) => Ok(format!(
                "{{'class': 'SimpleStrategy', 'replication_factor': {factor}}}"
            )),
            Self::Datacenters(datacenters) if datacenters.is_empty() => {
                Err(bad("no data centre is named".to_owned()))
            }
            Self::Datacenters(datacenters) => {
                let mut text = "{'class': 'NetworkTopologyStrategy'".to_owned();
                for (name, factor) in datacenters {
                    if *factor == 0 || name.contains('\'') || name.is_empty() {
                        return Err(bad(format!("data centre {name:?} with {factor} replicas")));
                    }
                    text.push_str(&format!(", '{name}': {factor}"));
                }
                text.push('}');
                Ok(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_keyspaces() {
        let check = |keyspace: &str, expect: bool| {
            let options = CassandraOptions {
                nodes: vec!["127.0.0.1:9042".to_owned()],
                keyspace: keyspace.to_owned(),
                ..CassandraOptions::default()
            };
            assert_eq!(options.check().is_ok(), expect, "{keyspace:?}");
        };
        check("ringtail", true);
        check("r2_d2", true);
        check("", false);
        check("2r", false);
        check("Ringtail", false);
        check("a; drop keyspace b", false);
        check(&"k".repeat(48), true);
        check(&"k".repeat(49), false);
        let nobody = CassandraOptions::default();
        assert!(nobody.check().is_err());
    }

    #[test]
    fn replication_is_written_as_the_servers_read_it() {
        let check = |replication: Replication, expect: Option<&str>| {
            assert_eq!(replication.cql().ok().as_deref(), expect);
        };
        check(
            Replication::Simple(1),
            Some("{'class': 'SimpleStrategy', 'replication_factor': 1}"),
        );
        check(Replication::Simple(0), None);
        let datacenters = |list: &[(&str, u8)]| {
            let named = list
                .iter()
                .map(|(name, factor)| ((*name).to_owned(), *factor));
            Replication::Datacenters(named.collect())
        };
        check(
            datacenters(&[("b", 2), ("a", 3)]),
            Some("{'class': 'NetworkTopologyStrategy', 'a': 3, 'b': 2}"),
        );
        check(datacenters(&[]), None);
        check(datacenters(&[("it's", 3)]), None);
        check(datacenters(&[("a", 0)]), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let options = CassandraOptions {
            login: Some(("user".to_owned(), "secret".to_owned())),
            ..CassandraOptions::default()
        };
        let printed = format!("{options:?}");
        assert!(printed.contains("user") && !printed.contains("secret"));
    }
}
