//! `bailiwick demo-server`.

use std::process::ExitCode;

use anyhow::Result;

use crate::args;

pub(super) fn run(args: args::DemoServer) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(bailiwick_gateway::demo_server::run(args.directory));
    runtime.shutdown_background();
    ended?;
    Ok(ExitCode::SUCCESS)
}
