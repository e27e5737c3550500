//! `bailiwick bench`: what it costs, measured beside a floor in the same run.
//!
//! Every figure comes with the figure that bounds it (a hello-world of the same server, a raw append
//! to the same log), because machines differ and are noisy and ratios say more than numbers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bailiwick_ledger::{Config, Ledger, Store};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;

mod append;
mod child;
mod clock;
mod decide;
mod furnish;
mod latency;
mod load;
mod process;
mod replay;
mod revoke;
mod revoke_latency;
mod sql;
mod stage;
mod subscribers;
mod upstream;

/// Arguments of `bailiwick bench`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    which: Which,
    /// Print one JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Durable decisions a second: over HTTP beside a hello-world, and in process.
    Decide(decide::Args),
    /// Events a second through the loop, beside raw appends of the same size on the same log.
    Append(append::Args),
    /// Taking back one agent's grants, then all, among many.
    Revoke(revoke::Args),
    /// From a revocation to the last use, between real gateways under traffic.
    RevokeLatency(revoke_latency::Args),
    /// Subscribers that all hear of everything, and what they cost the server.
    Subscribers(subscribers::Args),
    /// Ten audit questions over an archive, beside DuckDB on the same files.
    Sql(sql::Args),
    /// Replay from nothing, and restart with a snapshot.
    Replay(replay::Args),
    /// The tool's server of `revoke-latency`.
    #[command(hide = true)]
    Upstream(upstream::Args),
}

/// Which log to measure on.
#[derive(Debug, Clone, ClapArgs)]
struct Target {
    /// Measure on JetStream at this URL instead of the embedded log. Makes a stream of its own,
    /// which stays.
    #[arg(long, env = "BAILIWICK_NATS")]
    nats: Option<String>,
    /// Where to put the ledger; a directory that goes away by default.
    #[arg(long)]
    data: Option<PathBuf>,
    /// How long the loop waits under load for commands to share an entry, in microseconds.
    #[arg(long, default_value_t = 1_000)]
    linger_us: u64,
}

impl Target {
    /// The directory, and what keeps it while it is needed.
    fn home(&self) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
        match &self.data {
            Some(dir) => Ok((dir.clone(), None)),
            None => {
                let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
                Ok((dir.path().to_owned(), Some(dir)))
            }
        }
    }

    fn config(&self, home: PathBuf) -> anyhow::Result<Config> {
        let name = format!("bench-{}-{}", std::process::id(), home.as_os_str().len());
        let name: bailiwick_ledger::log::jetstream::Name = name.parse()?;
        let store = match &self.nats {
            None => Store::Embedded,
            Some(url) => Store::JetStream(bailiwick_ledger::log::jetstream::Config {
                url: url.clone(),
                name: name.clone(),
                replicas: 1,
                credentials: None,
                root_certificates: None,
            }),
        };
        let linger = Duration::from_micros(self.linger_us);
        Ok(Config { home, store, name, trust_head: false, trust_clock: false, linger })
    }

    fn open(&self, home: PathBuf) -> anyhow::Result<Ledger> {
        Ok(Ledger::open(&self.config(home)?, |_| {})?)
    }

    const fn log(&self) -> &'static str {
        if self.nats.is_some() { "jetstream" } else { "embedded" }
    }
}

/// Runs one benchmark and prints what it found.
///
/// # Errors
/// When it cannot be set up, or something that was measured went wrong. What must never happen and
/// did is printed with the rest, under `violations`, and is an error too.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let found = match &args.which {
        Which::Decide(args) => decide::run(args)?,
        Which::Append(args) => append::run(args)?,
        Which::Revoke(args) => revoke::run(args)?,
        Which::RevokeLatency(args) => revoke_latency::run(args)?,
        Which::Subscribers(args) => subscribers::run(args)?,
        Which::Replay(args) => replay::run(args)?,
        Which::Sql(args) => sql::run(args)?,
        Which::Upstream(args) => return upstream::run(args),
    };
    print(&found, args.json)?;
    let violations = found.get("violations").and_then(Value::as_array);
    match violations.map_or(0, Vec::len) {
        0 => Ok(()),
        count => bail!("{count} things happened that must never happen, see `violations`"),
    }
}

#[expect(clippy::print_stdout, reason = "printing is what a benchmark ends with")]
fn print(found: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(found)?);
        return Ok(());
    }
    for (name, value) in found.as_object().into_iter().flatten() {
        if let Value::Object(nested) = value {
            println!("\n{name}");
            for (name, value) in nested {
                println!("  {name:<24} {}", shown(value));
            }
        } else {
            println!("{name:<26} {}", shown(value));
        }
    }
    Ok(())
}

/// A figure as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            if number >= 1_000.0 { format!("{number:.0}") } else { format!("{number:.3}") }
        }
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}
