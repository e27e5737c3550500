//! The `bailiwick` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    bailiwick_cli::run()
}
