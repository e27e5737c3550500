//! The tables of a running server: opened over their archive, filled from the record, sealed.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bailiwick_audit::{Archiving, Audit, Chain, Settings};
use bailiwick_core::command::{Answer, Command, Submission};
use bailiwick_core::event::Actor;
use bailiwick_ledger::{Follower, Ledger};
use tokio::sync::watch;

use super::cores;
use crate::config;

/// Threads that answer audit questions, at most.
const AUDIT_THREADS_MAX: usize = 4;
/// How much the tables' threads stand back when there is not enough of the machine for all.
const FOLLOW_NICE: i32 = 10;
/// The sealer frees memory, so it stands back less.
const SEAL_NICE: i32 = 5;
/// How long a follower waits when the log cannot be read for now.
const FOLLOW_RETRY: Duration = Duration::from_millis(500);
/// How often a follower looks whether there is room again.
const FULL_LOOK: Duration = Duration::from_millis(50);
/// How long the sealer waits when the archive cannot be written for now.
const SEAL_RETRY: Duration = Duration::from_secs(5);

/// The tables, and the threads that fill and seal them.
pub(super) fn start(
    config: &config::Serve,
    ledger: &Ledger,
    stopped: &watch::Receiver<bool>,
) -> Result<(Arc<Audit>, Vec<JoinHandle<()>>)> {
    let threads = cores().get().min(AUDIT_THREADS_MAX);
    let settings = Settings { threads, at_once: config.sql.at_once(threads) };
    let bounded = |audit: Audit| {
        let keys = ledger.clone();
        let chain = Chain::new(ledger.info().ledger, ledger.reader(), move || keys.key_ring());
        let bounded = audit.beside(chain)?.bounded(&config.sql.bounds);
        bounded.context("there is no room on disk for questions").map(Arc::new)
    };
    let Some(archive) = &config.archive else {
        let audit = bounded(Audit::new(settings)?)?;
        let follower = follow(ledger.follow(0), Arc::clone(&audit), stopped.clone())?;
        return Ok((audit, vec![follower]));
    };
    let archiving = archive.of(ledger.info().ledger, ledger.signing_key(), ledger.keys());
    match opened(settings, archiving, ledger) {
        Ok(audit) => {
            let audit = bounded(audit)?;
            let after = ledger.follow(audit.resume_after());
            let follower = follow(after, Arc::clone(&audit), stopped.clone())?;
            let sealer = seal(Arc::clone(&audit), ledger.clone(), stopped.clone())?;
            Ok((audit, vec![follower, sealer]))
        }
        Err(error) => {
            // Calls are decided without the tables; questions are told what is wrong.
            tracing::error!(%error, "questions cannot be answered");
            Ok((Arc::new(Audit::refusing(settings, error)?), Vec::new()))
        }
    }
}

/// The tables over their archive, unless that has events which the ledger has not: then one of the
/// two was set back, and no answer would say which.
fn opened(
    settings: Settings,
    archiving: Archiving,
    ledger: &Ledger,
) -> Result<Audit, bailiwick_audit::Error> {
    let audit = Audit::with_archive(settings, archiving)?;
    let next = ledger.committed().borrow().next_index;
    match audit.ingested() {
        Some(last) if last >= next => Err(bailiwick_audit::Error::Archive {
            code: "archive_differs",
            message: format!(
                "the archive has events up to {last} and the ledger ends before {next}; if the \
                 ledger is the right one, `bailiwick archive rebuild` makes the archive anew"
            ),
        }),
        Some(_) | None => Ok(audit),
    }
}

fn thread(name: &str, nice: i32, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let stand_back = move || {
        // Decisions come first: a question waits for the tables, a call waits for nobody. Should
        // the system not allow it, the tables only have the same priority.
        let _ = rustix::process::nice(nice);
        work();
    };
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(stand_back);
    spawned.context("cannot start a thread for the tables")
}

/// Fills the tables from the record, on a thread of its own: reading the log blocks.
fn follow(
    mut follower: Follower,
    audit: Arc<Audit>,
    mut stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let fill = async move {
        loop {
            // What cannot be sealed as fast as it comes does not pile up in memory: the ledger has it.
            let room = async {
                while audit.is_full() {
                    tokio::time::sleep(FULL_LOOK).await;
                }
                follower.next().await
            };
            let next = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                next = room => next,
            };
            match next {
                Ok(Some(entry)) => {
                    if let Err(error) = audit.ingest(entry.number, &entry.events) {
                        tracing::error!(%error, entry = entry.number, "the tables stop here");
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the tables cannot follow for now");
                    tokio::time::sleep(FOLLOW_RETRY).await;
                }
            }
        }
    };
    thread("audit-follower", FOLLOW_NICE, move || runtime.block_on(fill))
}

/// Moves rows to the archive when it is time to, and records each segment on the ledger.
fn seal(
    audit: Arc<Audit>,
    ledger: Ledger,
    mut stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = async move {
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = audit.sealing_due() => {}
            }
            match audit.seal(false).await {
                Ok(Some(sealed)) => {
                    let command = Command::RecordSegment(sealed);
                    let (request, trace) = (None, None);
                    let actor = Actor::System;
                    let told = Submission { actor, request, trace, command };
                    if let Answer::Refused(refusal) = ledger.submit(told).await.answer {
                        tracing::warn!(%refusal.message, "a sealed segment is not on the ledger");
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "the archive cannot be written for now");
                    tokio::select! {
                        _ = stopped.wait_for(|stopped| *stopped) => return,
                        () = tokio::time::sleep(SEAL_RETRY) => {}
                    }
                }
            }
        }
    };
    thread("audit-sealer", SEAL_NICE, move || runtime.block_on(work))
}
