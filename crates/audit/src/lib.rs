//! The questions: who did what, when, why and for how long, in SQL over the record.
//!
//! [`Audit`] is fed every committed event in the order of the chain and folds it into tables:
//! `events` (one wide row each), and the projections `grants`, `calls`, `approvals`, `revocations`,
//! `agents`, `owners`, `tasks`, `policies`, `findings`, `segments` and `checkpoints`. A question is answered from a snapshot of
//! all of them at one event, named in the answer as `as_of_seq`, so the same question over the same
//! events has the same answer.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use bailiwick_audit::{Audit, Limits, Settings};
//!
//! let audit = Audit::new(Settings { threads: 2, at_once: 4 })?;
//! audit.ingest(0, &[])?; // the events of each committed entry, as a follower gets them
//! let sql = "select agent_id, action, resource, decision, reason from calls order by seq";
//! let answer = audit.run(sql, &Limits::INTERACTIVE).await?;
//! println!("{}", answer.csv());
//! let refused = audit.run("copy calls to '/tmp/calls.csv'", &Limits::INTERACTIVE).await;
//! assert_eq!(refused.unwrap_err().code(), "sql_not_a_read");
//! # Ok(()) })
//! # }
//! ```
//!
//! Where things are: `table` has one file a table, and under it how rows are kept (`grown`: most
//! cells in Arrow, the few that change beside them) and read (`scan`); `store` folds events into
//! all of them; `guard` says which questions are answered at all; `session` is the query engine
//! with nothing in it but these tables; `query` runs a question within its limits, and `leash` makes
//! it stop when nobody waits any more; `answer` is what comes out, and `served` what goes out, as
//! bytes of a form; `named` has the questions that are asked again and again. `archive` has the
//! files that older rows are sealed into, and `sealing` moves them there.
//!
//! `chain` reads the record itself where rows are to be held against it.
//!
//! This crate alone knows DataFusion and Arrow, and no type of theirs leaves it. It knows nothing
//! of how events are followed, of HTTP, and of who asks: whoever serves a question checks the role
//! and records the question.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bailiwick_core::event::Recorded;
use bailiwick_core::time::Time;
use datafusion::common::ParamValues;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

mod answer;
mod archive;
mod budget;
mod chain;
mod error;
mod guard;
mod leash;
pub mod named;
mod pace;
mod parquet_file;
pub mod pg;
mod query;
mod sealing;
mod served;
mod session;
mod size;
mod store;
mod table;

pub use answer::{Column, Table};
pub use archive::Place;
pub use archive::compare::{Compared, Comparison};
pub use budget::{Bounds, Spill};
pub use chain::Chain;
pub use error::{Code, Error};
pub use guard::{BRACKETS_MAX, LINKS_MAX, RECURSION_MAX, TEXT_BYTES_MAX, WITH_DEPTH_MAX};
pub use parquet_file::write_parquet;
pub use query::{Limits, Parameters};
pub use sealing::{Archiving, Status};
pub use served::{AS_OF_SEQ, Form, Piece, Pieces, Question};

use budget::Budget;
use query::{Awaited, Opened, Within};
use store::Store;

/// Bytes of stack of a thread that answers questions. Only what is touched becomes memory; the
/// deepest statement that the guard lets pass was tried in a debug build.
const STACK_BYTES: usize = 64 * 1_024 * 1_024;

/// Threads of the engine, at most. A join may keep its thread for as long as its question may take, so
/// each question that runs has threads of its own, and the system shares the cores among all.
const WORKERS_MAX: usize = 128;

/// What an [`Audit`] runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Threads that answer one question; at least one.
    pub threads: usize,
    /// Questions that run at once; further ones wait within their own time limit.
    pub at_once: usize,
}

/// The tables, and the threads that answer questions about them.
#[derive(Debug)]
pub struct Audit {
    store: Mutex<Store>,
    archiving: Option<Archiving>,
    /// Why nothing is answered, if it is not.
    fault: Option<Error>,
    /// Held while a segment is written.
    sealing: tokio::sync::Mutex<()>,
    ingested: watch::Sender<Option<u64>>,
    turns: Arc<Semaphore>,
    at_once: usize,
    threads: usize,
    budget: Budget,
    /// Taken when dropped, to be left running down outside of any caller's runtime.
    runtime: Option<Runtime>,
}

impl Audit {
    /// Empty tables and idle threads.
    ///
    /// # Errors
    /// [`Error::Threads`] when the system starts no threads.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Self::over(settings, Store::new(), None)
    }

    /// Tables that answer every question with `fault`: nothing is read from an archive that is not
    /// what it should be, and whoever serves questions goes on with everything else.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub fn refusing(settings: Settings, fault: Error) -> Result<Self, Error> {
        let mut audit = Self::new(settings)?;
        audit.fault = Some(fault);
        Ok(audit)
    }

    fn over(settings: Settings, store: Store, archiving: Option<Archiving>) -> Result<Self, Error> {
        let threads = settings.threads.max(1);
        let at_once = settings.at_once.max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.saturating_mul(at_once).min(WORKERS_MAX))
            .thread_name("audit")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|e| Error::Threads { why: e.to_string() })?;
        let ingested = store.last().map(|last| last.index);
        let budget =
            Budget::new(&Bounds::INTERACTIVE).map_err(|e| Error::Threads { why: e.to_string() })?;
        Ok(Self {
            store: Mutex::new(store),
            archiving,
            fault: None,
            sealing: tokio::sync::Mutex::default(),
            ingested: watch::Sender::new(ingested),
            turns: Arc::new(Semaphore::new(at_once)),
            at_once,
            threads,
            budget,
            runtime: Some(runtime),
        })
    }

    /// The same tables, whose questions may take this.
    ///
    /// # Errors
    /// When there is no room on disk where it is wanted.
    pub fn bounded(mut self, bounds: &Bounds) -> std::io::Result<Self> {
        self.budget = Budget::new(bounds)?;
        Ok(self)
    }

    /// The same tables beside the ledger that they are folded from, for `verify_chain`.
    ///
    /// # Errors
    /// [`Error::Broken`] after a fault of our own.
    pub fn beside(self, chain: Chain) -> Result<Self, Error> {
        self.store()?.chain = Some(chain);
        Ok(self)
    }

    /// What a question may take, if who asks has no other wish.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.budget.limits
    }

    /// How many questions run now; more of them wait for their turn.
    #[must_use]
    pub fn running(&self) -> usize {
        self.at_once.saturating_sub(self.turns.available_permits())
    }

    /// Takes the events of a committed entry. Events that were taken before are passed over, so a
    /// follower may begin an entry anew.
    ///
    /// # Errors
    /// [`Error::Gap`] when an event is missing in between, and [`Error::Broken`] after a fault of
    /// our own: both need the tables to be built anew.
    pub fn ingest(&self, entry: u64, events: &[Recorded]) -> Result<(), Error> {
        let mut store = self.store()?;
        let taken = store.ingest(entry, events);
        self.ingested.send_replace(store.last().map(|last| last.index));
        taken
    }

    /// Index of the last event that the tables hold.
    #[must_use]
    pub fn ingested(&self) -> Option<u64> {
        *self.ingested.borrow()
    }

    /// Waits until the tables hold the event `index`, for at most `patience`.
    ///
    /// # Errors
    /// [`Error::Behind`] when they do not by then.
    pub async fn wait_for(&self, index: u64, patience: Duration) -> Result<(), Error> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let mut ingested = self.ingested.subscribe();
        let reached = ingested.wait_for(|last| last.is_some_and(|last| last >= index));
        match timeout(patience, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Behind { index, waited: patience }),
        }
    }

    /// Answers a question.
    ///
    /// # Errors
    /// [`Error::Refused`] with the rule that the question breaks, the limit that its answer
    /// breaks, or what is wrong with it.
    pub async fn run(&self, sql: &str, limits: &Limits) -> Result<Table, Error> {
        self.run_with(sql, &Parameters::new(), limits).await
    }

    /// Answers a question that has placeholders.
    ///
    /// # Errors
    /// As [`Audit::run`]; also when a placeholder has no value.
    pub async fn run_with(
        &self,
        sql: &str,
        parameters: &Parameters,
        limits: &Limits,
    ) -> Result<Table, Error> {
        self.ask(sql, query::scalars(parameters)?, limits).await
    }

    /// Answers a named question with what is given for its parameters.
    ///
    /// # Errors
    /// As [`Audit::run`]; also when a parameter is missing, unknown, or of another type.
    pub async fn run_named(
        &self,
        named: &named::Named,
        given: &Parameters,
        limits: &Limits,
    ) -> Result<Table, Error> {
        self.ask(named.sql, named.bind(given, now())?, limits).await
    }

    /// Answers a named question and counts its rows, without making values of them: what a
    /// benchmark asks, which measures the engine and not who shows the answer.
    ///
    /// # Errors
    /// As [`Audit::run_named`].
    pub async fn count_named(
        &self,
        named: &named::Named,
        given: &Parameters,
        limits: &Limits,
    ) -> Result<u64, Error> {
        let deadline = Instant::now() + limits.time;
        let mut opened = self.open(named.sql, named.bind(given, now())?, limits, deadline).await?;
        let mut rows = 0;
        while let Some(batch) = opened.next().await {
            rows += batch?.num_rows() as u64;
        }
        Ok(rows)
    }

    async fn ask(
        &self,
        sql: &str,
        parameters: ParamValues,
        limits: &Limits,
    ) -> Result<Table, Error> {
        let deadline = Instant::now() + limits.time;
        let opened = self.open(sql, parameters, limits, deadline).await?;
        // Rows become values on the questions' own threads as well.
        let (runtime, bytes) = (self.runtime()?, limits.bytes);
        Awaited(runtime.spawn(opened.collected(bytes))).by(deadline, limits).await?
    }

    /// Starts a question, whose answer comes in batches.
    async fn open(
        &self,
        sql: &str,
        parameters: ParamValues,
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Opened, Error> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let runtime = self.runtime()?;
        // The parser recurses as far as the statement is deep, so it runs on a deep stack too; and on
        // a thread that no question holds, so that what is refused is refused at once.
        let text = sql.to_owned();
        let admitted = runtime.spawn_blocking(move || guard::admit(&text));
        let statement = Awaited(admitted).by(deadline, limits).await??;
        let turn = match timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(_) => {
                return Err(Error::refused(Code::Busy, "other questions took all the time"));
            }
        };
        let snapshot = self.store()?.snapshot(now());
        let memory = self.budget.memory(limits.memory_bytes);
        let within = Within { limits: *limits, deadline, turn, memory };
        let opened = query::open(statement, parameters, snapshot, self.threads, within);
        Awaited(runtime.spawn(opened)).by(deadline, limits).await?
    }

    fn runtime(&self) -> Result<&Runtime, Error> {
        self.runtime.as_ref().ok_or(Error::Broken)
    }

    fn store(&self) -> Result<MutexGuard<'_, Store>, Error> {
        self.store.lock().map_err(|_| Error::Broken)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The wall clock. Only the `status` of what has run out depends on it.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
