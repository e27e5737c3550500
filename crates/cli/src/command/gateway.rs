//! `bailiwick gateway`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bailiwick_client::discover::discover;
use bailiwick_gateway::mapping::{Mapping, ServerName};
use bailiwick_gateway::pipeline::Config;
use bailiwick_gateway::stdio;
use bailiwick_gateway::upstream::stdio::Launch;

use crate::args;
use crate::config::{Surroundings, variable};

pub(super) fn run(args: args::Gateway) -> Result<ExitCode> {
    let around = Surroundings::read(args.access.config.as_deref(), &variable)?;
    let http = discover(&around.sources(&args.access))?;
    let root = std::env::current_dir().context("this directory cannot be told")?;
    let named = args.server.as_deref().map(ServerName::new).transpose()?;
    let mapping = match (&args.tools, named) {
        (Some(file), named) => Mapping::read(file, named, &root)?,
        (None, Some(named)) => Mapping::unmapped(named, root),
        (None, None) => Mapping::unmapped(ServerName::from_command(&args.command)?, root),
    };
    let config =
        Config { agent: args.agent, on_behalf_of: args.on_behalf_of, task: args.task, mapping };
    let launch = Launch { command: args.command, environment: args.environment, directory: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let (from, to) = stdio::streams();
        stdio::run(config, &launch, Arc::new(http), from, to).await
    });
    // A read of standard input may still wait; it must not hold up the end.
    runtime.shutdown_background();
    Ok(ExitCode::from(ended?.code()))
}
