//! Compiles the protocol buffers with protox (pure Rust, no protoc) and writes the descriptor set that reflection serves.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 12] = [
    "ringtail/v1/collector.proto",
    "ringtail/v1/reports.proto",
    "ringtail/v1/subscribe.proto",
    "ringtail/v1/admin.proto",
    "ringtail/stored/v1/entry.proto",
    "ringtail/peer/v1/raft.proto",
    "ringtail/peer/v1/ring.proto",
    "ringtail/peer/v1/events.proto",
    "ringtail/peer/v1/queries.proto",
    "ringtail/peer/v1/look.proto",
    "ringtail/peer/v1/objects.proto",
    "ringtail/peer/v1/feed.proto",
];

/// What no client sees: the nodes among themselves, and what lies in the log.
const PRIVATE: [&str; 2] = ["ringtail.peer.v1", "ringtail.stored.v1"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=ringtail");
    let descriptors = protox::compile(FILES, ["."])?;
    let mut public = descriptors.clone();
    public
        .file
        .retain(|file| !PRIVATE.contains(&file.package()));
    let directory = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(directory.join("descriptors.bin"), public.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".ringtail.stored.v1")
        .bytes(".ringtail.peer.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
