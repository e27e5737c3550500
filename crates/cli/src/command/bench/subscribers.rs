//! A great many subscribers to the revocation stream of one real server: whether each hears of
//! everything, how soon, and what that costs the server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bailiwick_client::http::path;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::child::unless_stopped;
use super::clock;
use super::latency::Latencies;
use super::process::{self, Usage};
use super::stage::{Stage, agent_name};
use crate::show;
use crate::show::progress;

mod listener;

use listener::{Heard, Listener};

/// Agents that are taken from.
const AGENTS: usize = 50;
/// Events a second.
const RATE: f64 = 20.0;
/// Files that a process needs besides its connections.
const SPARE_FILES: u64 = 256;
/// How long all subscribers may take to be connected, and to hear of the last event.
const CONNECT_MAX: Duration = Duration::from_secs(60);
const LAST_MAX: Duration = Duration::from_secs(10);

/// Arguments of `bench subscribers`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Subscribers, a connection each.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=4_000))]
    count: u16,
    /// How long things are taken back.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure on JetStream at this URL instead of the embedded log. Makes a stream of its own,
    /// which stays.
    #[arg(long, env = "BAILIWICK_NATS")]
    nats: Option<String>,
    /// What the choice of what is taken back begins with [default: a random one, which is printed].
    #[arg(long)]
    seed: Option<u64>,
}

pub(super) fn run(args: &Args) -> Result<Value> {
    raise_files(u64::from(args.count) + SPARE_FILES)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(unless_stopped(measure(args)))
}

/// Lets this process, and the server that it starts, have so many files open.
fn raise_files(needed: u64) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        bail!("{needed} open files are needed, and this system allows {:?}", limit.maximum);
    }
    limit.current = Some(needed);
    setrlimit(Resource::Nofile, limit).context("the limit of open files cannot be raised")
}

/// What was done, and when.
#[derive(Debug, Default)]
struct Done {
    /// When each event was asked for.
    asked: Vec<u64>,
    seconds: f64,
}

async fn measure(args: &Args) -> Result<Value> {
    let seed = args.seed.unwrap_or_else(rand::random);
    show::note(&format!("seed {seed}; starting a server and {} subscribers", args.count));
    let mut stage = Stage::set(args.nats.as_deref(), AGENTS).await?;
    let watched = clock::Watch::start();
    let alone = process::usage(stage.pid())?;
    let (stop, stops) = watch::channel(false);
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let listeners: Vec<Listener> = (0..args.count)
        .map(|number| Listener::start(&client, &stage, number == 0, stops.clone()))
        .collect();
    all_stand(&listeners, 0, CONNECT_MAX).await.context("not every subscriber is connected")?;
    let first = listeners[0].stands_at();
    let connected = process::usage(stage.pid())?;
    let done = take_back(&stage, args, seed).await?;
    let last = first + done.asked.len() as u64;
    // Whoever has not heard of everything by then is told below.
    let heard_all = all_stand(&listeners, last, LAST_MAX).await;
    let after = process::usage(stage.pid())?;
    stop.send_replace(true);
    let mut heard = Vec::new();
    for listener in listeners {
        heard.push(listener.end().await?);
    }
    stage.check()?;
    stage.strike().await?;
    watched.check()?;
    if let Err(error) = heard_all {
        show::note(&format!("{error:#}"));
    }
    Ok(told(args, seed, &done, (first, last), &heard, [alone, connected, after]))
}

/// Waits until every listener has heard of everything up to `number`, and of the feed's position.
async fn all_stand(listeners: &[Listener], number: u64, at_most: Duration) -> Result<()> {
    let until = Instant::now() + at_most;
    loop {
        let behind = listeners.iter().filter(|one| !one.has_begun() || one.stands_at() < number);
        let behind = behind.count();
        if behind == 0 {
            return Ok(());
        }
        if Instant::now() >= until {
            bail!("after {at_most:?}, {behind} subscribers are behind");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes one thing back after the other, at random.
async fn take_back(stage: &Stage, args: &Args, seed: u64) -> Result<Done> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut done = Done::default();
    let bar = progress::bar("taking back", args.seconds);
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE));
    while began.elapsed() < Duration::from_secs(args.seconds) {
        tick.tick().await;
        bar.set_position(began.elapsed().as_secs());
        let event = done.asked.len();
        let agent = agent_name(random.random_range(0..AGENTS));
        let reason = listener::reason(event);
        let (path, body) = match random.random_range(0..5_u8) {
            0 => {
                let body = json!({"reason": reason});
                (path(["v1", "agents", &agent, "suspend"]), body)
            }
            kind => {
                let selector = match kind {
                    1 => json!({"resource": format!("bench://case/{event}")}),
                    2 => json!({"tool": format!("bench/tool-{event}")}),
                    3 => json!({"owner": "alice@example.com"}),
                    _ => json!({"agent": agent}),
                };
                let body = json!({"selector": selector, "reason": reason});
                ("/v1/revocations".to_owned(), body)
            }
        };
        let suspends = path.ends_with("/suspend");
        done.asked.push(clock::now());
        stage.http.post(&path, &body).await.with_context(|| format!("`{path}`"))?;
        if suspends {
            // Widens, so nobody hears of it.
            let path = bailiwick_client::http::path(["v1", "agents", &agent, "reinstate"]);
            stage.http.post(&path, &json!({})).await.with_context(|| format!("`{path}`"))?;
        }
    }
    bar.finish_and_clear();
    done.seconds = began.elapsed().as_secs_f64();
    Ok(done)
}

fn told(
    args: &Args,
    seed: u64,
    done: &Done,
    (first, last): (u64, u64),
    heard: &[Heard],
    [alone, connected, after]: [Usage; 3],
) -> Value {
    let events = done.asked.len();
    let mut violations = Vec::new();
    let mut latencies = Latencies::default();
    // The first subscriber reads what the items say, and so which number is which event.
    let names = &heard[0].events;
    for (number, one) in heard.iter().enumerate() {
        violations
            .extend(one.faults(first, last).map(|fault| format!("subscriber {number}: {fault}")));
        for (item, at) in &one.items {
            if let Some(asked) = names.get(item).and_then(|event| done.asked.get(*event)) {
                latencies.add(clock::between(*asked, *at));
            }
        }
    }
    if names.len() != events {
        violations.push(format!("{} of {events} events are known by their words", names.len()));
    }
    let received: usize = heard.iter().map(|one| one.items.len()).sum();
    json!({
        "name": "subscribers",
        "log": if args.nats.is_some() { "jetstream" } else { "embedded" },
        "measured": "from the call that takes back to each subscriber's receipt",
        "per_second": received as f64 / done.seconds,
        "p50_us": latencies.quantile_us(0.5),
        "p99_us": latencies.quantile_us(0.99),
        "max_us": latencies.max_us(),
        "received": received,
        "expected": events * heard.len(),
        "missing": (events * heard.len()).saturating_sub(received),
        "events": events,
        "seconds": done.seconds,
        "heartbeats": heard.iter().map(|one| one.heartbeats).sum::<u64>(),
        "load": format!(
            "{} subscribers in one process, {RATE} events a second, all on the same cores", args.count
        ),
        "seed": seed,
        "server": {
            "resident_kb_alone": alone.resident_kb,
            "resident_kb_connected": connected.resident_kb,
            "peak_kb": after.peak_kb,
            "kb_each": (after.peak_kb.saturating_sub(alone.resident_kb)) as f64 / heard.len() as f64,
            "cpu_seconds": after.cpu_seconds - connected.cpu_seconds,
            "cpu_share": (after.cpu_seconds - connected.cpu_seconds) / done.seconds,
        },
        "violations": violations,
    })
}
