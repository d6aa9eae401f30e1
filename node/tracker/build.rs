//! Chooses what is embedded: the built script in `dist/`, or the one in `fallback/` that says how to build it.
//!
//! A plain `cargo build` of a fresh clone has no `dist/` (it needs npm); it must still give a working binary.

use std::path::Path;

fn main() {
    let crate_dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let crate_dir = Path::new(&crate_dir);
    let is_built = crate_dir.join("dist/ringtail.js").is_file();
    // Relative to the crate: build results may be shared by clones in several places.
    let folder = if is_built { "dist" } else { "fallback" };

    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=RINGTAIL_TRACKER_FILES={folder}");
    println!("cargo::rustc-env=RINGTAIL_TRACKER_IS_BUILT={is_built}");
    // Naming a missing `dist` here would rebuild this crate at every call of cargo, so until it exists
    // the crate's own folder is watched: it changes at the moment when `dist` appears.
    println!(
        "cargo::rerun-if-changed={}",
        if is_built { "dist" } else { "." }
    );
}
