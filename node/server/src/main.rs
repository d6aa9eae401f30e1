//! The binary `ringtail`: a node of the ring, and the command line that talks to one.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringtail_server::run()
}
