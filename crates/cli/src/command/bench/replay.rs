//! Replay from an empty state, and the restart with a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use bailiwick_core::record::EntryRef;
use bailiwick_ledger::Ledger;
use bailiwick_ledger::home::{self, Home};
use bailiwick_ledger::log::embedded::Embedded;
use bailiwick_ledger::replay::{Projection, catch_up};
use serde_json::{Value, json};

use super::Target;
use super::furnish::{self, Load};
use crate::show::progress;

/// Arguments of `bench replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Events to replay.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Commands in flight while the ledger is made, which is about how many share an entry.
    #[arg(long, default_value_t = 256)]
    in_flight: usize,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Value> {
    let target = Target { nats: None, data: None, linger_us: 1_000 };
    let (home, _kept) = target.home()?;
    let ledger = target.open(home.clone())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(furnish::furnish(&ledger, Load { agents: 1_000, policies: 20 }))?;
    runtime.block_on(fill(&ledger, args))?;
    ledger.close();
    drop(ledger);

    let reader = Embedded::open_read_only(&home::log_dir(&home))?;
    let first = reader.read(1, 1, 1)?;
    let first = first.first().context("the log is empty")?;
    let id = EntryRef::parse(first)?.ledger();
    let own = Home::open(&home)?;
    let mut projection = Projection::genesis(id, &own.public())?;
    let started = Instant::now();
    catch_up(&mut projection, reader.as_ref(), 0, |_| {})?;
    let cold = started.elapsed().as_secs_f64();
    let position = projection.position;
    let mut projection = Projection::genesis(id, &own.public())?;
    let started = Instant::now();
    catch_up(&mut projection, reader.as_ref(), position.entry_number, |_| {})?;
    let anchored = started.elapsed().as_secs_f64();
    drop(reader);

    let started = Instant::now();
    let ledger = target.open(home.clone())?;
    let restart = started.elapsed().as_secs_f64();
    if ledger.info().events < position.next_index {
        bail!("the restarted ledger is shorter than it was");
    }
    ledger.close();
    let snapshot = std::fs::metadata(home.join("snapshot")).map_or(0, |file| file.len());
    let events = position.next_index as f64;
    Ok(json!({
        "name": "replay",
        "per_second": events / anchored,
        "events": position.next_index,
        "seconds": anchored,
        "events_per_entry": events / position.entry_number as f64,
        "load": "chain and bodies checked, signatures up to the anchor not again; embedded log",
        "every_signature": {"per_second": events / cold, "seconds": cold},
        "restart_with_snapshot": {"seconds": restart, "snapshot_bytes": snapshot},
    }))
}

async fn fill(ledger: &Ledger, args: &Args) -> anyhow::Result<()> {
    let bar = progress::bar("writing events", args.events);
    let left = Arc::new(AtomicU64::new(args.events));
    let tasks: Vec<_> = (0..args.in_flight)
        .map(|task| {
            let (ledger, left, bar) = (ledger.clone(), Arc::clone(&left), bar.clone());
            tokio::spawn(async move {
                let mut n = task;
                while left.load(Ordering::Relaxed) > 0 {
                    let reply = furnish::submit(&ledger, furnish::warm_call(n % 1_000)?).await;
                    if !reply.durable {
                        bail!("not durable: {:?}", reply.answer);
                    }
                    n += 256;
                    let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                        Some(left.saturating_sub(1))
                    });
                    bar.inc(1);
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    bar.finish_and_clear();
    Ok(())
}
