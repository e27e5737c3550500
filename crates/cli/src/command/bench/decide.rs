//! Durable decisions a second: over HTTP, beside a hello-world of the same server in the same run,
//! and in process; or the rules alone, without any of that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bailiwick_core::command::{Answer, Decision};
use bailiwick_ledger::Ledger;
use serde_json::{Value, json};

use super::Target;
use super::furnish::{self, Load};
use super::latency::Latencies;
use super::load::{self, Requests, Run};
use super::process;
use crate::config;
use crate::exit::usage;
use crate::service::Service;

mod alone;

/// Arguments of `bench decide`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long each part of the run lasts.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections that ask at once.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Registered agents, each with a warm grant.
    #[arg(long, default_value_t = 1_000)]
    agents: usize,
    /// Active policies.
    #[arg(long, default_value_t = 20)]
    policies: usize,
    /// Measure the rules alone, in this process: no server, no log.
    #[arg(long, conflicts_with_all = ["connections", "nats", "data", "linger_us"])]
    core: bool,
    /// Live grants, with `--core`; without it every agent has one.
    #[arg(long, default_value_t = 100_000, requires = "core")]
    grants: u64,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Value> {
    if args.core { rules_alone(args) } else { durable(args) }
}

fn rules_alone(args: &Args) -> anyhow::Result<Value> {
    if args.agents == 0 || args.grants == 0 || args.policies < alone::FITTING {
        let fitting = alone::FITTING;
        return Err(usage(format!(
            "there must be an agent, a grant, and the {fitting} policies that fit a call"
        )));
    }
    let load = alone::Load {
        agents: args.agents as u64,
        policies: args.policies as u64,
        grants: args.grants,
        length: Duration::from_secs(args.seconds),
    };
    alone::run(load, || Ok(process::usage(rustix::process::getpid())?.anonymous_kb * 1_024))
}

fn durable(args: &Args) -> anyhow::Result<Value> {
    let (home, _kept) = args.target.home()?;
    let archive = config::Archive::within(&home);
    let service = Service::start(&config::Serve {
        ledger: args.target.config(home.clone())?,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        pg_listen: None,
        tls: None,
        allow_plain: false,
        public_url: None,
        issuers: Vec::new(),
        archive: Some(archive),
        sql: config::Sql::default(),
        checkpoint_every: None,
        bench: true,
    })?;
    let ledger = service.ledger().clone();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let load = Load { agents: args.agents, policies: args.policies };
    runtime.block_on(furnish::furnish(&ledger, load))?;
    let address = service.address();
    let key_path = bailiwick_ledger::home::admin_key_path(&home);
    let key = std::fs::read_to_string(key_path).context("cannot read the admin key")?;
    let key = key.trim();

    let length = Duration::from_secs(args.seconds);
    let mut hello = hello(address, key, args.connections, length / 2)?;
    let before = ledger.counters();
    let mut http = decisions(address, key, args, length)?;
    let after = ledger.counters();
    let hello_again = self::hello(address, key, args.connections, length / 2)?;
    let floor = f64::midpoint(hello.per_second(), hello_again.per_second());
    hello.latencies.merge(hello_again.latencies);
    let (direct, loop_us) = runtime.block_on(in_process(&ledger, args, length))?;
    service.stop()?;

    let decided = (after.commands - before.commands).max(1) as f64;
    let entries = (after.entries - before.entries).max(1) as f64;
    Ok(json!({
        "name": "decide",
        "log": args.target.log(),
        "per_second": http.per_second(),
        "p50_us": http.latencies.quantile_us(0.5),
        "p99_us": http.latencies.quantile_us(0.99),
        "max_us": http.latencies.max_us(),
        "floor": "hello-world POST on the same server, before and after",
        "floor_per_second": floor,
        "floor_p99_us": hello.latencies.quantile_us(0.99),
        "ratio": http.per_second() / floor,
        "seconds": http.seconds,
        "events": after.events - before.events,
        "in_loop_us": (after.decide_seconds - before.decide_seconds) * 1e6 / decided,
        "decisions_per_entry": decided / entries,
        "append_us": (after.append_seconds - before.append_seconds) * 1e6 / entries,
        "bytes_each": (after.bytes - before.bytes) as f64 / decided,
        "load": format!(
            "{} connections, {} agents with warm grants, {} policies, generator on the same cores",
            args.connections, args.agents, args.policies
        ),
        "in_process": direct.with_loop(loop_us),
    }))
}

fn hello(
    address: SocketAddr,
    key: &str,
    connections: usize,
    length: Duration,
) -> anyhow::Result<Run> {
    let bytes = vec![load::post(address, "/bench/hello", key, &body(0))];
    load::run(address, Requests { bytes, expect: b"{" }, connections, length)
}

fn decisions(address: SocketAddr, key: &str, args: &Args, length: Duration) -> anyhow::Result<Run> {
    let bytes = (0..args.agents)
        .map(|n| load::post(address, "/access/v1/evaluation", key, &body(n)))
        .collect();
    let requests = Requests { bytes, expect: b"\"decision\":true" };
    load::run(address, requests, args.connections, length)
}

/// The request of agent `n`, with everything that an enforcement point sends.
fn body(n: usize) -> String {
    json!({
        "subject": {"type": "agent", "id": furnish::agent_name(n)},
        "action": {"name": furnish::ACTION},
        "resource": {"type": "case", "id": furnish::resource_name(n)},
        "context": {
            "session": format!("session-{n}"),
            "arguments": {"case_id": n.to_string(), "fields": ["state", "owner", "history"]},
            "justification": "customer asked for the state of the case",
            "tool": {"server": "crm", "name": "read_case"},
            "effect": "read",
            "disclosed": {"case_id": n.to_string()},
        },
    })
    .to_string()
}

struct Direct {
    latencies: Latencies,
    seconds: f64,
}

impl Direct {
    fn with_loop(mut self, loop_us: f64) -> Value {
        json!({
            "per_second": self.latencies.count() as f64 / self.seconds,
            "p50_us": self.latencies.quantile_us(0.5),
            "p99_us": self.latencies.quantile_us(0.99),
            "in_loop_us": loop_us,
        })
    }
}

/// The same calls without HTTP: as many tasks as there were connections.
async fn in_process(
    ledger: &Ledger,
    args: &Args,
    length: Duration,
) -> anyhow::Result<(Direct, f64)> {
    let before = ledger.counters();
    let started = Instant::now();
    let until = started + length;
    let next = Arc::new(AtomicUsize::new(0));
    let agents = args.agents;
    let tasks: Vec<_> = (0..args.connections)
        .map(|_| {
            let (ledger, next) = (ledger.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                while Instant::now() < until {
                    let n = next.fetch_add(1, Ordering::Relaxed) % agents;
                    let command = furnish::warm_call(n)?;
                    let sent = Instant::now();
                    let reply = furnish::submit(&ledger, command).await;
                    latencies.add(sent.elapsed());
                    if !matches!(reply.answer, Answer::Decided(Decision { result: Ok(_), .. })) {
                        bail!("not allowed: {:?}", reply.answer);
                    }
                }
                Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Latencies::default();
    for task in tasks {
        latencies.merge(task.await??);
    }
    let after = ledger.counters();
    let decided = (after.commands - before.commands).max(1) as f64;
    let loop_us = (after.decide_seconds - before.decide_seconds) * 1e6 / decided;
    Ok((Direct { latencies, seconds: started.elapsed().as_secs_f64() }, loop_us))
}
