//! What every handler has at hand. Each thread has a desk of its own, so that threads share no
//! count of references.

use std::sync::Arc;

use bailiwick_audit::Audit;
use bailiwick_core::state::State;
use bailiwick_ledger::Ledger;
use tokio::sync::watch;

use crate::asked::Questions;
use crate::auth::used::Used;
use crate::enforce::Roster;
use crate::problem::{INTERNAL, Problem};
use crate::refused::Refusals;
use crate::stream;
use crate::token::Issuers;

/// What handlers work with.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) ledger: Ledger,
    pub(crate) audit: Arc<Audit>,
    pub(crate) feed: stream::Position,
    pub(crate) points: Roster,
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) used: Used,
    pub(crate) refused: Refusals,
    pub(crate) questions: Questions,
    pub(crate) settings: Arc<Settings>,
    /// True from the begin of a shutdown on.
    pub(crate) closing: watch::Receiver<bool>,
}

/// What was configured.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What this server is called from outside, without a slash at its end.
    pub(crate) public_url: String,
    /// Where it says how to get a token for this server.
    pub(crate) resource_metadata: String,
    /// AuthZEN subject types that are people.
    pub(crate) person_types: Vec<String>,
    /// Whether `POST /bench/hello` is offered.
    pub(crate) bench: bool,
}

impl Desk {
    /// Reads the committed state on a thread that may wait, so that a long list holds up no
    /// decision.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let ledger = self.ledger.clone();
        blocking(move || ledger.read(read)).await
    }
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        tracing::error!(%error, "a handler ended without an answer");
        INTERNAL.with("the request ended without an answer")
    })
}
