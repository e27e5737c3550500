//! From a revocation to the last use, between real processes: a server, gateways, the tools' servers
//! behind them, and agents that do not stop calling.
//!
//! A use is measured where the effect happens: the tool's server writes it to a file before it
//! answers, and what gateways or the ledger say about it plays no part. Every figure is counted from
//! right before the revocation was sent.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bailiwick_core::enforce::LEASE;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use super::child::unless_stopped;
use super::clock;
use super::stage::Stage;
use crate::exit::usage;
use crate::show;

mod cut;
mod gateways;
mod pause;
mod relay;
mod revocation;
mod sampling;
mod traffic;
mod uses;

use cut::CutOff;
use gateways::{Asked, Gateways};
use pause::Paused;
use relay::{Passing, Relay};
use sampling::{Found, Sample, figures};
use traffic::read;
use uses::Uses;

/// How long agents call before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long agents may take to act again when they may.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
/// How long the traffic may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
/// How many agents lose everything while the log is away.
const CUT_AGENTS: usize = 4;
/// The port of a NATS server that names none.
const NATS_PORT: u16 = 4_222;

/// Arguments of `bench revoke-latency`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Gateways, a process each, every one with an agent of its own.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=512))]
    gateways: u16,
    /// Calls a second, over all of them.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How long revocations are measured; what is paused or cut off comes in the middle of it.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure on JetStream at this URL instead of the embedded log. Makes a stream of its own,
    /// which stays.
    #[arg(long, env = "BAILIWICK_NATS")]
    nats: Option<String>,
    /// Stop so many gateways for 5 s while their agents are revoked.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pause: u16,
    /// Cut the server off from its log for 5 s, twice: once by silence, once by closed connections.
    #[arg(long, requires = "nats")]
    cut_log: bool,
    /// What the choice of agents begins with [default: a random one, which is printed].
    #[arg(long)]
    seed: Option<u64>,
}

/// Everything that runs while it is measured.
struct Scene {
    gateways: Gateways,
    stage: Stage,
    uses: RefCell<Uses>,
    relay: Option<Relay>,
    clock: clock::Watch,
}

/// What was measured, before the uses are counted.
struct Measured {
    samples: Vec<Sample>,
    seconds: f64,
    paused: Option<Paused>,
    cut: Vec<CutOff>,
}

pub(super) fn run(args: &Args) -> Result<Value> {
    if args.pause > args.gateways {
        return Err(usage(format!("only {} gateways can be paused", args.gateways)));
    }
    // The traffic has a thread of its own, so that it cannot hold up a reading of the clock.
    let traffic = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("traffic")
        .enable_all()
        .build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(unless_stopped(measure(args, traffic.handle())));
    // With it go the processes of gateways that were only half opened.
    traffic.shutdown_timeout(SHUTDOWN_MAX);
    found
}

async fn measure(args: &Args, traffic: &tokio::runtime::Handle) -> Result<Value> {
    let seed = args.seed.unwrap_or_else(rand::random);
    show::note(&format!("seed {seed}; starting a server and {} gateways", args.gateways));
    let mut scene = Scene::set(args, traffic).await?;
    scene.gateways.are_known(&scene.stage).await?;
    scene.gateways.go();
    tokio::time::sleep(WARM_UP).await;
    let began = Instant::now();
    let measured = play(args, &scene, seed).await?;
    let played = began.elapsed() + WARM_UP;
    scene.gateways.check()?;
    scene.stage.check()?;
    let Scene { gateways, stage, uses, relay, .. } = scene;
    let calls = calls(&gateways, played);
    gateways.close().await?;
    stage.strike().await?;
    drop(relay);
    let mut uses = uses.into_inner();
    uses.read_on()?;
    Ok(told(args, seed, measured, calls, &uses))
}

impl Scene {
    async fn set(args: &Args, traffic: &tokio::runtime::Handle) -> Result<Self> {
        let relay = match (&args.nats, args.cut_log) {
            (Some(url), true) => {
                let server = host_and_port(url)?;
                Some(traffic.spawn(async move { Relay::start(&server).await }).await??)
            }
            (Some(_) | None, _) => None,
        };
        let relayed = relay.as_ref().map(|relay| format!("nats://{}", relay.address()));
        let nats = relayed.as_deref().or(args.nats.as_deref());
        let count = usize::from(args.gateways);
        let stage = Stage::set(nats, count).await?;
        let path = stage.directory().join("uses");
        let uses = RefCell::new(Uses::open(&path, count)?);
        let gateways = open(&stage, args, &path, traffic).await?;
        Ok(Self { gateways, stage, uses, relay, clock: clock::Watch::start() })
    }
}

async fn open(
    stage: &Stage,
    args: &Args,
    uses: &Path,
    traffic: &tokio::runtime::Handle,
) -> Result<Gateways> {
    let count = usize::from(args.gateways);
    let every = Duration::from_secs_f64(count as f64 / f64::from(args.rate));
    let asked = Arc::new(Asked::of(stage, uses));
    traffic.spawn(Gateways::open(asked, count, every)).await?
}

/// The two halves of the measurement, and between them what goes wrong on purpose.
async fn play(args: &Args, scene: &Scene, seed: u64) -> Result<Measured> {
    let mut random = StdRng::seed_from_u64(seed);
    let half = Duration::from_secs(args.seconds) / 2;
    let began = Instant::now();
    let mut samples = sampling::sample(scene, random.random(), half).await?;
    let mut seconds = began.elapsed().as_secs_f64();
    let mut some = |count: usize| {
        let mut all: Vec<usize> = (0..scene.gateways.count()).collect();
        all.shuffle(&mut random);
        all.truncate(count);
        all
    };
    let mut paused = None;
    if args.pause > 0 {
        let chosen = some(args.pause.into());
        working(scene, &chosen).await?;
        show::note(&format!("gateways {chosen:?} are stopped"));
        paused = Some(pause::pause(scene, &chosen).await?);
    }
    let mut cut = Vec::new();
    if let Some(relay) = &scene.relay {
        for passing in [Passing::Nothing, Passing::Closed] {
            let chosen = some(CUT_AGENTS);
            working(scene, &chosen).await?;
            show::note(&format!("the server is cut off from its log: {passing:?}"));
            cut.push(cut::cut(scene, relay, passing, &chosen).await?);
        }
    }
    let began = Instant::now();
    samples.extend(sampling::sample(scene, random.random(), half).await?);
    seconds += began.elapsed().as_secs_f64();
    Ok(Measured { samples, seconds, paused, cut })
}

/// Waits until `is_so`.
///
/// # Errors
/// When it is not by then, or cannot be told.
async fn wait_until(
    what: &str,
    at_most: Duration,
    mut is_so: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let until = Instant::now() + at_most;
    while !is_so().await? {
        if Instant::now() >= until {
            bail!("after {at_most:?} it is not so that {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Waits until each of these agents uses its tool again; how long that took since `from`.
async fn recovered(scene: &Scene, from: u64, agents: &[usize]) -> Result<Duration> {
    let mut last = from;
    wait_until("every agent that may act acts", RECOVERY_MAX, async || {
        let mut uses = scene.uses.borrow_mut();
        uses.read_on()?;
        let firsts = agents.iter().map(|agent| uses.within(*agent, from, u64::MAX).first());
        let firsts: Option<Vec<&u64>> = firsts.collect();
        last = firsts.iter().flatten().copied().copied().max().unwrap_or(last);
        Ok(firsts.is_some())
    })
    .await?;
    Ok(clock::between(from, last))
}

/// Waits until each of these agents works.
async fn working(scene: &Scene, agents: &[usize]) -> Result<()> {
    recovered(scene, clock::now(), agents).await.map(|_| ())
}

fn host_and_port(url: &str) -> Result<String> {
    let parsed: reqwest::Url = url.parse().with_context(|| format!("`{url}` is no URL"))?;
    if parsed.scheme() != "nats" || !parsed.username().is_empty() {
        bail!("a relay can stand only before a plain `nats://host:port` without a user");
    }
    let host = parsed.host_str().with_context(|| format!("`{url}` names no host"))?;
    Ok(format!("{host}:{}", parsed.port().unwrap_or(NATS_PORT)))
}

/// What came of the calls.
fn calls(gateways: &Gateways, played: Duration) -> Map<String, Value> {
    let sum = |count: fn(&traffic::Tally) -> u64| gateways.tallies().map(count).sum::<u64>();
    let sent = sum(|tally| read(&tally.sent));
    let mut calls = Map::new();
    calls.insert("per_second".to_owned(), json!(sent as f64 / played.as_secs_f64()));
    for (name, count) in [
        ("sent", sent),
        ("allowed", sum(|tally| read(&tally.allowed))),
        ("denied", sum(|tally| read(&tally.denied))),
        ("cut", sum(|tally| read(&tally.cut))),
        ("undecided", sum(|tally| read(&tally.undecided))),
        ("held_back", sum(|tally| read(&tally.held_back))),
    ] {
        calls.insert(name.to_owned(), json!(count));
    }
    calls
}

/// The result: what was found, and under `violations` what must not have been found.
fn told(
    args: &Args,
    seed: u64,
    measured: Measured,
    calls: Map<String, Value>,
    uses: &Uses,
) -> Value {
    let mut found = Found::default();
    found.add(&measured.samples, uses);
    let mut violations = std::mem::take(&mut found.violations);
    if measured.samples.is_empty() {
        violations.push("no agent worked, nothing was measured".to_owned());
    }
    let last = figures(&mut found.last_use);
    let floor = figures(&mut found.durable);
    let ratio = last["p99_us"].as_f64().zip(floor["p99_us"].as_f64()).map(|(us, floor)| us / floor);
    let mut told = json!({
        "name": "revoke-latency",
        "log": match (&args.nats, args.cut_log) {
            (None, _) => "embedded, each entry synced",
            (Some(_), false) => "jetstream, synced as its server is set",
            (Some(_), true) => "jetstream through a relay, synced as its server is set",
        },
        "measured": "from the revoke call to the last allowed use at the tool's server",
        "p50_us": last["p50_us"],
        "p99_us": last["p99_us"],
        "max_us": last["max_us"],
        "count": last["count"],
        "uses_after_enforced": found.uses_after_enforced,
        "per_second": calls["per_second"],
        "floor": "a durable command over HTTP on the same server, right behind each revocation",
        "floor_p50_us": floor["p50_us"],
        "floor_p99_us": floor["p99_us"],
        "ratio": ratio,
        "uses": uses.count(),
        "seconds": measured.seconds,
        "load": format!(
            "{} gateways, {} calls a second asked for, {:.0} made, lease {} ms, all on the same cores",
            args.gateways, args.rate, calls["per_second"].as_f64().unwrap_or_default(), LEASE.0
        ),
        "seed": seed,
        "leases_that_ran_out": found.expired,
        "last_use_where_there_was_one_behind_the_call": figures(&mut found.used),
        "last_acknowledgement": figures(&mut found.acknowledged),
        "answer": figures(&mut found.answered),
        "calls": calls,
    });
    if let Some(paused) = measured.paused {
        let (what, wrong) = paused.told(uses);
        told["paused"] = what;
        violations.extend(wrong);
    }
    for cut in measured.cut {
        let name = format!("log_{}", cut.name());
        let (what, wrong) = cut.told(uses);
        told[name] = what;
        violations.extend(wrong);
    }
    told["violations"] = json!(violations);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_stands_before_plain_servers_only() {
        assert_eq!(host_and_port("nats://127.0.0.1:4333").unwrap(), "127.0.0.1:4333");
        assert_eq!(host_and_port("nats://localhost").unwrap(), "localhost:4222");
        for refused in ["tls://h:1", "nats://u:p@h:1", "h"] {
            host_and_port(refused).unwrap_err();
        }
    }
}
