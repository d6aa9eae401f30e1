//! Compiles the protocol buffers with protox (pure Rust, no protoc) and writes the descriptor set that reflection serves.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 7] = [
    "ringtail/v1/collector.proto",
    "ringtail/v1/reports.proto",
    "ringtail/v1/admin.proto",
    "ringtail/stored/v1/entry.proto",
    "ringtail/peer/v1/raft.proto",
    "ringtail/peer/v1/ring.proto",
    "ringtail/peer/v1/events.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=ringtail");
    let descriptors = protox::compile(FILES, ["."])?;
    let directory = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        directory.join("descriptors.bin"),
        descriptors.encode_to_vec(),
    )?;
    tonic_prost_build::configure()
        .bytes(".ringtail.stored.v1")
        .bytes(".ringtail.peer.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
