//! The `bailiwick` binary.

use std::process::ExitCode;

/// Commands are allocated on one thread and freed on another, which the system's allocator does
/// dearly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bailiwick_cli::run()
}
