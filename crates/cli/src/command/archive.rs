//! `bailiwick archive`.

use anyhow::{Context as _, Result};
use bailiwick_audit::{Archiving, Audit, Comparison, Settings};
use bailiwick_core::event::Fact;
use bailiwick_core::record::PublicKey;
use bailiwick_ledger::Committed;
use bailiwick_ledger::home::Home;
use serde_json::json;
use tokio::runtime::Runtime;

use super::offline::{self, Stopped};
use super::online;
use crate::args::{self, ArchiveVerb};
use crate::config::{Surroundings, variable};
use crate::exit::{unverified, usage};
use crate::service::cores;
use crate::show;
use crate::show::progress::{Progress, Unit};
use crate::verify::{self, Bodies, KeyRing, Walk};

const PATH: &str = "/v1/archive";

pub(super) fn run(args: args::Archive) -> Result<()> {
    let access = &args.access;
    match args.verb {
        ArchiveVerb::Status => online(access, |desk| async move { desk.show(PATH).await }),
        ArchiveVerb::Seal => online(access, |desk| async move {
            let answer = desk.http.post("/v1/archive/seal", &json!({})).await?;
            let segment = &answer["segment"];
            if desk.json {
                show::json::one(true, &answer)
            } else if segment.is_null() {
                Ok(show::line("everything was sealed already")?)
            } else {
                show::json::one(false, segment)
            }
        }),
        ArchiveVerb::Rebuild(stopped) => {
            let (stopped, archiving, runtime) = open(access, &stopped)?;
            let (segments, events) = rebuild(&stopped, &archiving, &runtime)?;
            let told = json!({"segments": segments, "events": events});
            show::json::one(access.json, &told)
        }
        ArchiveVerb::Verify(stopped) => {
            let (stopped, archiving, runtime) = open(access, &stopped)?;
            let compared = compare(&stopped, &archiving, &runtime)?;
            show::json::one(access.json, &serde_json::to_value(compared)?)
        }
    }
}

/// A stopped ledger, verified, and how its archive is kept.
fn open(access: &args::Access, told: &args::Offline) -> Result<(Stopped, Archiving, Runtime)> {
    let around = Surroundings::read(access.config.as_deref(), &variable)?;
    let archive = around
        .archive(access.data.as_ref(), &told.archive)?
        .ok_or_else(|| usage("`--archive none` leaves nothing to work on"))?;
    let dir = around.data(access.data.as_ref());
    let stream = around.offline_stream(told.nats.as_ref(), told.name.as_ref())?;
    let stopped = offline::open(&dir, stream.as_ref())?;
    let home = Home::open(&dir)?;
    let trusted = keys(&stopped)?;
    let archiving = archive.of(stopped.created.ledger, home.signing().clone(), trusted);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((stopped, archiving, runtime))
}

/// Verifies the ledger, and gives every key that it ever had.
fn keys(stopped: &Stopped) -> Result<Vec<PublicKey>> {
    let first = stopped.key(None)?.key;
    let mut keys = vec![first];
    walk(stopped, "verifying", |entry| {
        for recorded in &entry.events {
            if let Fact::KeyRotated(rotated) = &recorded.event.fact {
                keys.push(rotated.key);
            }
        }
        Ok(())
    })?;
    Ok(keys)
}

fn walk(
    stopped: &Stopped,
    what: &'static str,
    mut visit: impl FnMut(Committed) -> Result<()>,
) -> Result<()> {
    let ring = KeyRing::new(&stopped.key(None)?.key)?;
    let mut progress = Progress::new(what, Unit::Entries, Some(stopped.head));
    let walk = Walk::new(ring, Bodies::Present, cores().get());
    verify::log(stopped.reader.as_ref(), walk, |entries| {
        for bytes in entries {
            let entry = Committed::decode(bytes.clone())?;
            progress.at(entry.number);
            visit(entry)?;
        }
        Ok(())
    })
    .map(|_| ())
    .map_err(super::verify::told_of)
}

fn rebuild(stopped: &Stopped, archiving: &Archiving, runtime: &Runtime) -> Result<(usize, u64)> {
    runtime.block_on(Audit::clear_archive(archiving))?;
    let settings = Settings { threads: 1, at_once: 1 };
    let audit = Audit::with_archive(settings, archiving.clone())?;
    let mut unsealed = 0;
    walk(stopped, "sealing", |entry| {
        audit.ingest(entry.number, &entry.events)?;
        unsealed += entry.events.len() as u64;
        if unsealed >= archiving.events {
            unsealed = 0;
            runtime.block_on(audit.seal(true))?;
        }
        Ok(())
    })?;
    runtime.block_on(audit.seal(true))?;
    let status = audit.archive()?.context("there is an archive")?;
    Ok((status.segments, status.last.map_or(0, |last| last + 1)))
}

fn compare(
    stopped: &Stopped,
    archiving: &Archiving,
    runtime: &Runtime,
) -> Result<bailiwick_audit::Compared> {
    let differs = |error: bailiwick_audit::Error| match error.code() {
        "archive_altered" | "archive_missing" | "archive_differs" => {
            unverified(format!("verification failed: {error}"))
        }
        _ => error.into(),
    };
    let mut comparison = runtime.block_on(Comparison::begin(archiving)).map_err(differs)?;
    let mut found = Ok(());
    walk(stopped, "comparing", |entry| {
        if found.is_ok() {
            found = runtime.block_on(comparison.ingest(entry.number, &entry.events));
        }
        Ok(())
    })?;
    found.map_err(differs)?;
    runtime.block_on(comparison.end()).map_err(differs)
}
