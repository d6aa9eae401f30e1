//! The node's configuration: defaults, then the file, then `RINGTAIL_*`, then flags; checked before anything starts.

use std::{net::SocketAddr, path::PathBuf};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, ExitError};

/// All settings of a node. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything that the node stores lives.
    pub data_directory: PathBuf,
    /// Address of HTTP: beacons, API and dashboard. Port 0 picks one.
    pub http_address: SocketAddr,
    /// Address of gRPC. Port 0 picks one.
    pub grpc_address: SocketAddr,
    /// Address for the other nodes of the ring. Port 0 picks one. Another one is picked when the default is taken.
    pub peer_address: SocketAddr,
    /// Where the other nodes reach this one, `host:port`; default: the peer address.
    pub peer_advertised: String,
    /// The newest feature level that this node admits to know; below the binary's own it holds the ring back, so that an
    /// older binary may still return. Default: whatever the binary knows.
    pub feature_level_max: u32,
    /// Where the node stands; replicas of a group avoid sharing a zone.
    pub zone: String,
    /// Networks (CIDR) whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// Partition groups; fixed when the data directory is made. 1 to 256.
    pub partitions: u32,
    /// Threads of the HTTP server and of the site actors, each. 1 to 256; default: one for each core.
    pub threads: usize,
    /// Events a second that one site may send.
    pub site_events_per_second_max: u32,
    /// Events a second that one address may send without a write key.
    pub address_events_per_second_max: u32,
    /// Ingest stops with 503 while less than this is free on the disk, in bytes.
    pub disk_reserve_bytes: u64,
    /// Bytes a second that this node sends of snapshots, over all partitions: what a move may take from ingest.
    pub snapshot_bytes_per_second_max: u64,
    /// A changed site is checkpointed after at most this long, in seconds. 1 to 600.
    pub checkpoint_dirty_seconds_max: u64,
    /// A site without traffic leaves memory after this long, in seconds.
    pub site_idle_seconds_max: u64,
    /// Where the log is archived: `own` for a directory in the data directory, or an address that begins with `file:` or
    /// `s3:`. Empty: nowhere.
    pub archive: String,
    /// Servers of ScyllaDB or Cassandra, `host:port`, in which checkpoints are mirrored. None: they are not.
    pub mirror_nodes: Vec<String>,
    /// The keyspace that `ringtail store init` made there.
    pub mirror_keyspace: String,
    /// The user there; empty where none is asked for.
    pub mirror_user: String,
    /// A file with that user's password.
    pub mirror_password_file: PathBuf,
    /// The data centre whose servers are asked; empty: any.
    pub mirror_datacenter: String,
    /// Days whose hour pages this node keeps itself; older ones rest in the mirror alone. 0: all stay.
    pub mirror_local_days: u32,
    /// Bytes of pages read back from the mirror that are kept in memory.
    pub mirror_cache_bytes: u64,
    /// What waits for the archive is sealed after at most this long, in seconds. 1 to 86400.
    pub archive_seal_seconds_max: u64,
    /// On a stop, requests under way get this long, in seconds.
    pub drain_seconds_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_directory: PathBuf::from("ringtail-data"),
            http_address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            grpc_address: SocketAddr::from(([127, 0, 0, 1], 7001)),
            peer_address: SocketAddr::from(([127, 0, 0, 1], 7000)),
            peer_advertised: String::new(),
            feature_level_max: u32::MAX,
            zone: String::new(),
            trusted_proxies: Vec::new(),
            partitions: 16,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            site_events_per_second_max: 20_000,
            address_events_per_second_max: 1_000,
            disk_reserve_bytes: 256 << 20,
            snapshot_bytes_per_second_max: 32 << 20,
            checkpoint_dirty_seconds_max: 600,
            site_idle_seconds_max: 900,
            archive: String::new(),
            mirror_nodes: Vec::new(),
            mirror_keyspace: "ringtail".to_owned(),
            mirror_user: String::new(),
            mirror_password_file: PathBuf::new(),
            mirror_datacenter: String::new(),
            mirror_local_days: 0,
            mirror_cache_bytes: 64 << 20,
            archive_seal_seconds_max: 600,
            drain_seconds_max: 10,
        }
    }
}

/// Flags of `serve`, which win over everything else.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Flags {
    /// `--data-dir`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_directory: Option<PathBuf>,
    /// `--http`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_address: Option<SocketAddr>,
    /// `--grpc`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_address: Option<SocketAddr>,
    /// `--peer`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<SocketAddr>,
    /// `--zone`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown, or a value is out of its range.
    pub(crate) fn load(file: Option<PathBuf>, flags: &Flags) -> Result<Self, ExitError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                let message = format!("configuration file {} cannot be read", file.display());
                return Err(ExitError::new(Exit::Usage, message));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        let config: Self = figment
            .merge(Env::prefixed("RINGTAIL_").only(&Self::keys()))
            .merge(Serialized::defaults(flags))
            .extract()
            .map_err(|error| ExitError::new(Exit::Usage, format!("configuration: {error}")))?;
        config.check()?;
        Ok(config)
    }

    /// Names of all settings. Other variables that start with `RINGTAIL_` are not settings (`RINGTAIL_TOKEN`).
    fn keys() -> Vec<&'static str> {
        vec![
            "data_directory",
            "http_address",
            "grpc_address",
            "peer_address",
            "peer_advertised",
            "feature_level_max",
            "zone",
            "trusted_proxies",
            "partitions",
            "threads",
            "site_events_per_second_max",
            "address_events_per_second_max",
            "disk_reserve_bytes",
            "snapshot_bytes_per_second_max",
            "checkpoint_dirty_seconds_max",
            "site_idle_seconds_max",
            "archive",
            "mirror_nodes",
            "mirror_keyspace",
            "mirror_user",
            "mirror_password_file",
            "mirror_datacenter",
            "mirror_local_days",
            "mirror_cache_bytes",
            "archive_seal_seconds_max",
            "drain_seconds_max",
        ]
    }

    fn check(&self) -> Result<(), ExitError> {
        let ranges = [
            ("partitions", u64::from(self.partitions), 1, 256),
            ("threads", self.threads as u64, 1, 256),
            (
                "checkpoint_dirty_seconds_max",
                self.checkpoint_dirty_seconds_max,
                1,
                600,
            ),
            (
                "archive_seal_seconds_max",
                self.archive_seal_seconds_max,
                1,
                86_400,
            ),
            ("drain_seconds_max", self.drain_seconds_max, 0, 600),
            (
                "snapshot_bytes_per_second_max",
                self.snapshot_bytes_per_second_max,
                64 << 10,
                4 << 30,
            ),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let message =
                    format!("configuration: {name} is {value}, allowed is {least} to {most}");
                return Err(ExitError::new(Exit::Usage, message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Config, ExitError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ringtail.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(file), &Flags::default())
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ringtail.toml");
        std::fs::write(&file, "http_address = \"127.0.0.1:1\"\npartitions = 4\n").unwrap();
        let flags = Flags {
            http_address: Some("127.0.0.1:2".parse().unwrap()),
            ..Flags::default()
        };
        let config = Config::load(Some(file), &flags).unwrap();
        assert_eq!(config.http_address.port(), 2);
        assert_eq!(config.partitions, 4);
        assert_eq!(config.grpc_address.port(), 7001);
    }

    #[test]
    fn unknown_keys_and_values_out_of_range_are_refused() {
        for (text, expect) in [
            ("portitions = 4", "portitions"),
            ("partitions = 0", "partitions is 0, allowed is 1 to 256"),
            ("http_address = \"nowhere\"", "http_address"),
        ] {
            let error = load_text(text).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.message.contains(expect), "{}", error.message);
        }
    }

    #[test]
    fn every_setting_has_a_name_in_the_environment() {
        let value = serde_json::to_value(Config::default()).unwrap();
        let mut fields: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        let mut keys = Config::keys();
        fields.sort_unstable();
        keys.sort_unstable();
        assert_eq!(fields, keys);
    }
}
