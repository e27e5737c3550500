//! Signs the ledger's tree every so often.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bailiwick_ledger::Ledger;
use tokio::sync::watch;

/// Has a checkpoint signed every so often while this process writes the ledger.
pub(super) fn start(
    ledger: Ledger,
    every: Duration,
    mut stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let sign = async move {
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = tokio::time::sleep(every) => {}
            }
            // Who only follows the ledger leaves it to its writer.
            if ledger.writer_since().is_none() {
                continue;
            }
            if let Err(refusal) = ledger.checkpoint().await {
                tracing::warn!(%refusal.message, "no checkpoint is signed this time");
            }
        }
    };
    let spawned = std::thread::Builder::new().name("checkpoints".to_owned());
    let spawned = spawned.spawn(move || runtime.block_on(sign));
    spawned.context("cannot start a thread for checkpoints")
}
