//! What a node reads and is told when it starts.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
};

/// Modules that Cassandra reaches into beyond what Java 17 allows by itself. Without them it ends at once.
const EXPORTS: [&str; 3] = ["sun.nio.ch", "jdk.internal.misc", "jdk.internal.ref"];
const OPENS: [&str; 8] = [
    "java.lang",
    "java.io",
    "java.nio",
    "java.util",
    "sun.nio.ch",
    "jdk.internal.loader",
    "jdk.internal.ref",
    "jdk.internal.misc",
];

/// Console only: the node's output goes into a file of its folder.
pub(crate) const LOGBACK: &str = "<configuration>\
    <appender name=\"OUT\" class=\"ch.qos.logback.core.ConsoleAppender\">\
    <encoder><pattern>%date %-5level %logger{0} %msg%n</pattern></encoder></appender>\
    <root level=\"INFO\"><appender-ref ref=\"OUT\"/></root></configuration>\n";

/// A node's place in its cluster.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its own address, where it answers CQL.
    pub(crate) native: SocketAddr,
    /// Where the nodes talk to each other: one port on all addresses.
    pub(crate) storage_port: u16,
    /// The address of the first node.
    pub(crate) seed: IpAddr,
    /// Its token when all nodes start at once.
    pub(crate) token: Option<i64>,
}

/// The node's `cassandra.yaml`. Later settings are added, or take the place of these by their name.
pub(crate) fn yaml(folder: &Path, place: &Place, settings: &BTreeMap<String, String>) -> String {
    let folder = folder.display();
    let own = place.native.ip();
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| lines.insert(name.to_owned(), value);
    set("cluster_name", "ringtail-local".to_owned());
    set("num_tokens", "1".to_owned());
    set(
        "partitioner",
        "org.apache.cassandra.dht.Murmur3Partitioner".to_owned(),
    );
    set("data_file_directories", format!("[ {folder}/data ]"));
    set("commitlog_directory", format!("{folder}/commitlog"));
    set("saved_caches_directory", format!("{folder}/saved_caches"));
    set("hints_directory", format!("{folder}/hints"));
    set("cdc_raw_directory", format!("{folder}/cdc_raw"));
    // With `periodic` a kill loses acknowledged writes.
    set("commitlog_sync", "batch".to_owned());
    set("listen_address", own.to_string());
    set("rpc_address", own.to_string());
    set("storage_port", place.storage_port.to_string());
    set("native_transport_port", place.native.port().to_string());
    set("start_native_transport", "true".to_owned());
    set("endpoint_snitch", "SimpleSnitch".to_owned());
    set(
        "seed_provider",
        format!(
            "[ {{ class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [ {{ seeds: \"{}:{}\" }} ] }} ]",
            place.seed, place.storage_port
        ),
    );
    if let Some(token) = place.token {
        set("initial_token", token.to_string());
        set("auto_bootstrap", "false".to_owned());
    }
    lines.extend(settings.clone());
    lines
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect()
}

/// The arguments of `java`.
pub(crate) fn arguments(folder: &Path, jars: &Path) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut module = |option: &str, name: &str| {
        arguments.push(format!("--{option}"));
        arguments.push(format!("java.base/{name}=ALL-UNNAMED"));
    };
    EXPORTS.iter().for_each(|name| module("add-exports", name));
    OPENS.iter().for_each(|name| module("add-opens", name));
    let folder = folder.display();
    arguments.extend([
        // As root, Cassandra pins its memory: a small start keeps it small.
        "-Xms64m".to_owned(),
        "-Xmx512m".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        format!("-Dcassandra.config=file://{folder}/cassandra.yaml"),
        format!("-Dcassandra.storagedir={folder}"),
        format!("-Dlogback.configurationFile={folder}/logback.xml"),
        // Nodes of one machine need not wait for news to get around.
        "-Dcassandra.ring_delay_ms=1000".to_owned(),
        "-Dcassandra.skip_wait_for_gossip_to_settle=0".to_owned(),
        "-Dcassandra.consistent.rangemovement=false".to_owned(),
        "-Dcassandra.superuser_setup_delay_ms=0".to_owned(),
        "-cp".to_owned(),
        format!("{}/*", jars.display()),
        "org.apache.cassandra.service.CassandraDaemon".to_owned(),
    ]);
    arguments
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_setting_takes_the_place_of_the_one_of_its_name() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let place = Place {
            native: SocketAddr::new(address, 9042),
            storage_port: 9043,
            seed: address,
            token: None,
        };
        let settings = [("commitlog_sync", "periodic"), ("new_setting", "1ms")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = yaml(Path::new("/d"), &place, &settings.into());
        assert_eq!(text.matches("commitlog_sync:").count(), 1);
        assert!(text.contains("commitlog_sync: periodic\n"));
        assert!(text.contains("new_setting: 1ms\n"));
        assert!(!text.contains("initial_token"));
    }
}
