//! Events a second through the loop, beside raw appends of entries of the same size on the same
//! kind of log in the same run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use bailiwick_core::record::{EntryBuilder, LedgerId, Position};
use bailiwick_core::time::Time;
use bailiwick_ledger::log::embedded::Embedded;
use bailiwick_ledger::log::jetstream::JetStream;
use bailiwick_ledger::log::{Append, Log};
use bailiwick_ledger::{Ledger, Store};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::Target;
use super::furnish::{self, Load};

/// Arguments of `bench append`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long each part of the run lasts.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Commands in flight at once.
    #[arg(long, default_value_t = 1_024)]
    in_flight: usize,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Value> {
    let (home, _kept) = args.target.home()?;
    let ledger = args.target.open(home)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let load = Load { agents: 1_000, policies: 20 };
    runtime.block_on(furnish::furnish(&ledger, load))?;
    let before = ledger.counters();
    let started = Instant::now();
    runtime.block_on(fill(&ledger, args))?;
    let seconds = started.elapsed().as_secs_f64();
    let after = ledger.counters();
    ledger.close();
    drop(ledger);

    let entries = (after.entries - before.entries).max(1);
    let events = (after.events - before.events).max(1);
    let bytes = (after.bytes - before.bytes) / entries;
    let frames = usize::try_from((events / entries).max(1))?;
    let raw = raw_appends(args, frames, usize::try_from(bytes)?)?;
    let (per_second, floor) = (events as f64 / seconds, raw * frames as f64);
    Ok(json!({
        "name": "append",
        "log": args.target.log(),
        "per_second": per_second,
        "bytes_each": (after.bytes - before.bytes) as f64 / events as f64,
        "floor": "raw appends of entries of the same size on the same log",
        "floor_per_second": floor,
        "ratio": per_second / floor,
        "events": events,
        "seconds": seconds,
        "entries_per_second": entries as f64 / seconds,
        "floor_entries_per_second": raw,
        "events_per_entry": events as f64 / entries as f64,
        "busy": {
            "append_share": (after.append_seconds - before.append_seconds) / seconds,
            "decide_share": (after.decide_seconds - before.decide_seconds) / seconds,
        },
    }))
}

async fn fill(ledger: &Ledger, args: &Args) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..args.in_flight)
        .map(|_| {
            let (ledger, next) = (ledger.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                while Instant::now() < until {
                    let n = next.fetch_add(1, Ordering::Relaxed) % 1_000;
                    let reply = furnish::submit(&ledger, furnish::warm_call(n)?).await;
                    if !reply.durable {
                        bail!("not durable: {:?}", reply.answer);
                    }
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Appends sealed entries one after another; building them is not timed. Entries a second.
fn raw_appends(args: &Args, frames: usize, bytes: usize) -> anyhow::Result<f64> {
    let (home, _kept) = Target { data: None, ..args.target.clone() }.home()?;
    let config = Target { data: None, ..args.target.clone() }.config(home.clone())?;
    let mut log: Box<dyn Log> = match config.store {
        Store::Embedded => Box::new(Embedded::open(&home)?),
        Store::JetStream(mut jetstream) => {
            jetstream.name = format!("{}-raw", jetstream.name.as_str()).parse()?;
            Box::new(JetStream::connect(&jetstream)?)
        }
    };
    let key = SigningKey::from_bytes(&[7; 32]);
    let ledger = LedgerId([7; 16]);
    let mut position = Position::genesis(ledger);
    let body = vec![7; (bytes / frames).saturating_sub(92).clamp(16, 65_535)];
    let mut spent = Duration::ZERO;
    let mut count = 0_u32;
    while spent < Duration::from_secs(args.seconds) {
        let mut entry = EntryBuilder::new(ledger, &position, 1);
        for _ in 0..frames {
            entry.push(110, 1, Time(entry.next_index() + 1), &body)?;
        }
        let Some(sealed) = entry.seal(&key) else { bail!("an entry without events") };
        let started = Instant::now();
        match log.append(position.entry_number, &sealed.bytes, Some(&sealed.last_link)) {
            Append::Committed => {}
            other @ (Append::Unknown(_) | Append::LostRace | Append::Fatal(_)) => {
                bail!("a raw append ended with {other:?}")
            }
        }
        spent += started.elapsed();
        position = sealed.position();
        count += 1;
    }
    Ok(f64::from(count) / spent.as_secs_f64())
}
