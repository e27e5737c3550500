//! `bailiwick gateway`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bailiwick_client::discover::discover;
use bailiwick_core::id::{AgentId, NAME_BYTES_MAX, PointId};
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
    let point = point(args.point, &args.agent)?;
    let config = Config {
        agent: args.agent,
        on_behalf_of: args.on_behalf_of,
        task: args.task,
        mapping,
        wait_for_approval: Duration::from_millis(args.wait_for_approval.map_or(0, |wait| wait.0)),
        point,
    };
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

/// The name of this process as an enforcement point, which none before it had and none after it will
/// have: what a point has acknowledged says nothing about the one that comes after it.
fn point(name: Option<PointId>, agent: &AgentId) -> Result<PointId> {
    let life = format!("-{:08x}", rand::random::<u32>());
    let name = match name {
        Some(name) => name.to_string(),
        None => {
            let mut name = format!("gateway-{agent}");
            name.truncate(NAME_BYTES_MAX - life.len());
            name
        }
    };
    PointId::new(&format!("{name}{life}")).context("the enforcement point's name cannot be used")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lives_of_a_gateway_are_two_points() {
        let agent = AgentId::new("support").unwrap();
        let named = |name: Option<&str>| {
            point(name.map(|name| PointId::new(name).unwrap()), &agent).map(|point| {
                let (name, life) = point.as_str().rsplit_once('-').unwrap();
                assert!(life.len() == 8 && life.bytes().all(|b| b.is_ascii_hexdigit()), "{point}");
                (name.to_owned(), point.clone())
            })
        };
        let (name, first) = named(None).unwrap();
        assert_eq!(name, "gateway-support");
        assert_ne!(named(None).unwrap().1, first);
        assert_eq!(named(Some("billing")).unwrap().0, "billing");
        let longest = "x".repeat(NAME_BYTES_MAX);
        assert!(named(Some(&longest)).is_err());
        assert!(point(None, &AgentId::new(&longest).unwrap()).is_ok());
    }
}
