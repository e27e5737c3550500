//! One file a verb.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory as _;

use crate::args::{Access, Args, Command};
use crate::config::{Surroundings, variable};
use crate::show;

pub(crate) mod bench;

mod agent;
mod approvals;
mod archive;
mod config;
mod demo_server;
mod doctor;
mod events;
mod gateway;
mod grant;
mod key;
mod ledger;
mod offline;
mod online;
mod owner;
mod points;
mod policy;
mod properties;
mod query;
mod review;
mod revoke;
mod schema;
mod serve;
mod sql;
mod story;
mod task;
mod tool;
mod verify;
mod watch;

pub(crate) use sql::{read as answer, rows};
pub(crate) use verify::directory as proof;

/// What is logged when BAILIWICK_LOG says nothing: trouble.
const LOG: &str = "warn";

/// Runs one command.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    log_to_stderr();
    match command {
        Command::Demo(args) => crate::demo::run(&args)?,
        Command::Serve(args) => serve::run(&args)?,
        Command::Gateway(args) => return gateway::run(args),
        Command::DemoServer(args) => return demo_server::run(args),
        Command::Owner(args) => online(&args.access, |http| owner::run(args.verb, http))?,
        Command::Agent(args) => online(&args.access, |http| agent::run(args.verb, http))?,
        Command::Task(args) => online(&args.access, |http| task::run(args.verb, http))?,
        Command::Properties(args) => online(&args.access, |http| properties::run(args.verb, http))?,
        Command::Tool(args) => online(&args.access, |http| tool::run(args.verb, http))?,
        Command::Policy(args) => policy::run(args)?,
        Command::Schema(args) => online(&args.access, |http| schema::run(args.verb, http))?,
        Command::Grant(args) => online(&args.access, |http| grant::run(args.verb, http))?,
        Command::Review(args) => {
            let access = args.access.clone();
            online(&access, |desk| review::run(args, desk))?;
        }
        Command::Approvals(args) => {
            approvals::look(&args.verb)?;
            online(&args.access, |http| approvals::run(args.verb, http))?;
        }
        Command::Approve(args) => {
            approvals::look_at(&args.yes)?;
            online(&args.access, |http| approvals::approve(args.yes, http))?;
        }
        Command::Deny(args) => online(&args.access, |http| approvals::deny(args.no, http))?,
        Command::Revoke(args) => revoke::revoke(args)?,
        Command::Lift(args) => revoke::lift(args)?,
        Command::Points(args) => online(&args.access, points::run)?,
        Command::Watch(args) => watch::run(args)?,
        Command::Events(args) => events::run(args)?,
        Command::Sql(args) => sql::run(args)?,
        Command::Query(args) => query::run(args)?,
        Command::Story(args) => story::run(&args)?,
        Command::Verify(args) => verify::run(&args)?,
        Command::Ledger(args) => ledger::run(args)?,
        Command::Archive(args) => archive::run(args)?,
        Command::Key(args) => online(&args.access, |http| key::run(args.verb, http))?,
        Command::Config(args) => online(&args.access, |http| config::run(args.verb, http))?,
        Command::Doctor(args) => return doctor::run(&args),
        Command::Bench(args) => bench::run(&args)?,
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Args::command(), "bailiwick", &mut script);
            show::raw(&String::from_utf8_lossy(&script))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that talks to a server.
fn online<F: Future<Output = Result<()>>>(
    access: &Access,
    work: impl FnOnce(online::Desk) -> F,
) -> Result<()> {
    let around = Surroundings::read(access.config.as_deref(), &variable)?;
    let http = bailiwick_client::discover::discover(&around.sources(access))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(online::Desk { http, json: access.json }))
}

/// Logs go to standard error; BAILIWICK_LOG says which, such as `info` or `bailiwick_ledger=debug`.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BAILIWICK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(LOG));
    // Fails only where a subscriber is set already, which is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}
