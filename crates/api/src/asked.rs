//! Questions to the record, recorded: who asked what, as of which event, and what came of it. That
//! is done a moment after the answer has left, so that no answer waits for it; a question does not
//! see its own event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bailiwick_audit::Question;
use bailiwick_core::command::{Answer, Command, RefusalCode, Submission};
use bailiwick_core::event::{Actor, QueryDoor, QueryOutcome, QueryRun, TraceId};
use bailiwick_core::id::Text;
use bailiwick_core::record::Digest;
use bailiwick_ledger::{Ledger, Reply};
use tokio::sync::{mpsc, watch};

use crate::auth::Caller;
use crate::desk::Desk;
use crate::problem::Problem;
use crate::server::DRAIN_MAX;

/// Questions that wait to be recorded, at most.
pub const WAITING_MAX: usize = 4_096;
/// Questions that are submitted at a time.
const TOGETHER: usize = 64;
/// How long to wait when the ledger cannot record now.
const RETRY: Duration = Duration::from_millis(250);

/// Where every door tells of the questions that it answered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Questions {
    sender: mpsc::Sender<Waiting>,
    unrecorded: Arc<AtomicU32>,
}

/// The other end: what records them.
#[derive(Debug)]
pub(crate) struct Recorder {
    waiting: mpsc::Receiver<Waiting>,
    unrecorded: Arc<AtomicU32>,
}

/// A question that waits to be recorded.
#[derive(Debug, Clone)]
struct Waiting {
    by: Actor,
    trace: Option<TraceId>,
    query: QueryRun,
}

impl Questions {
    pub(crate) fn new() -> (Self, Recorder) {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let unrecorded = Arc::new(AtomicU32::new(0));
        (Self { sender, unrecorded: Arc::clone(&unrecorded) }, Recorder { waiting, unrecorded })
    }

    /// Records, in a moment, that `by` asked a question. Never waits: when [`WAITING_MAX`] wait
    /// already it is counted, and the next that is recorded says how many were.
    pub fn record_query(&self, by: Actor, trace: Option<TraceId>, query: QueryRun) {
        if self.sender.try_send(Waiting { by, trace, query }).is_err() {
            add(&self.unrecorded, 1);
        }
    }

    /// How many questions are not recorded, since too many waited, and not told of yet.
    #[must_use]
    pub fn unrecorded(&self) -> u32 {
        self.unrecorded.load(Ordering::Relaxed)
    }
}

fn add(count: &AtomicU32, more: u32) {
    // The closure never declines.
    let _ =
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_add(more)));
}

impl Recorder {
    /// Records what comes, until nobody is left who could tell of more, or some time after the
    /// server began to close.
    pub(crate) async fn record(mut self, ledger: &Ledger, mut closing: watch::Receiver<bool>) {
        let ends = async {
            let _ = closing.wait_for(|closing| *closing).await;
            tokio::time::sleep(DRAIN_MAX).await;
        };
        tokio::pin!(ends);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                taken = self.waiting.recv_many(&mut batch, TOGETHER) => if taken == 0 { break },
                () = &mut ends => break,
            }
            while !batch.is_empty() {
                batch = self.submit(ledger, batch).await;
                if batch.is_empty() {
                    break;
                }
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = &mut ends => {
                        add(&self.unrecorded, u32::try_from(batch.len()).unwrap_or(u32::MAX));
                        batch.clear();
                    }
                }
            }
        }
        let lost = self.unrecorded.load(Ordering::Relaxed);
        let lost = lost.saturating_add(u32::try_from(self.waiting.len()).unwrap_or(u32::MAX));
        if lost > 0 {
            tracing::error!(questions = lost, "questions were answered and are not recorded");
        }
    }

    /// Submits them and gives back those that have to wait. Where an answer stayed away and the
    /// event came all the same, a question is told twice: that is better than not at all.
    async fn submit(&self, ledger: &Ledger, mut batch: Vec<Waiting>) -> Vec<Waiting> {
        if let Some(first) = batch.first_mut() {
            let before = self.unrecorded.swap(0, Ordering::Relaxed);
            first.query.unrecorded = first.query.unrecorded.saturating_add(before);
        }
        let replies = batch.iter().map(|one| {
            let Waiting { by, trace, query } = one.clone();
            let command = Command::RecordQuery { by, query };
            ledger.submit(Submission { actor: Actor::System, request: None, trace, command })
        });
        let replies = futures::future::join_all(replies).await;
        let mut left = Vec::new();
        for (one, reply) in batch.into_iter().zip(replies) {
            match refused(&reply) {
                None => {}
                Some(code) if may_pass(code) => left.push(one),
                Some(code) => {
                    tracing::error!(?code, "the ledger does not record a question");
                    add(&self.unrecorded, one.query.unrecorded.saturating_add(1));
                }
            }
        }
        left
    }
}

/// Why it is not recorded, if it is not.
fn refused(reply: &Reply) -> Option<RefusalCode> {
    match &reply.answer {
        Answer::Done(_) | Answer::Decided(_) if reply.durable => None,
        Answer::Done(_) | Answer::Decided(_) => Some(RefusalCode::Unavailable),
        Answer::Refused(refusal) => Some(refusal.code),
    }
}

/// Whether what stands in the way may be gone in a moment.
const fn may_pass(code: RefusalCode) -> bool {
    matches!(code, RefusalCode::Unavailable | RefusalCode::Overloaded | RefusalCode::ClockUnsure)
}

/// A question from when it comes until its answer has left. When it goes, it is recorded.
#[derive(Debug)]
pub(crate) struct Asking {
    questions: Questions,
    by: Option<Actor>,
    trace: Option<TraceId>,
    since: Instant,
    query: QueryRun,
}

impl Asking {
    /// A question of `caller`. Until more is said of it, whoever asked has gone away.
    pub(crate) fn begin(
        desk: &Desk,
        caller: &Caller,
        trace: Option<TraceId>,
        question: &Question<'_>,
    ) -> Self {
        let name = match question {
            Question::Named(named, _) => Text::new(named.name).ok(),
            Question::Sql(..) => None,
        };
        let query = QueryRun {
            door: QueryDoor::Http,
            name,
            text: Digest(question.digest()),
            parameters: question.digest_of_values().map(Digest),
            as_of: None,
            rows: 0,
            bytes: 0,
            milliseconds: 0,
            outcome: QueryOutcome::Abandoned,
            code: None,
            unrecorded: 0,
        };
        let (questions, by) = (desk.questions.clone(), Some(caller.actor()));
        Self { questions, by, trace, since: Instant::now(), query }
    }

    /// Its answer has come so far.
    pub(crate) fn as_of(&mut self, seq: Option<u64>) {
        self.query.as_of = seq;
    }

    /// So many more rows were made.
    pub(crate) fn rows(&mut self, more: u64) {
        self.query.rows += more;
    }

    /// So many more bytes were handed over.
    pub(crate) fn bytes(&mut self, more: usize) {
        self.query.bytes += more as u64;
    }

    /// Its whole answer was handed over.
    pub(crate) fn answered(&mut self) {
        self.query.outcome = QueryOutcome::Answered;
    }

    /// It is not answered, or no further.
    pub(crate) fn refused(&mut self, code: &str) {
        self.query.outcome = QueryOutcome::Refused;
        self.query.code = Text::new(code).ok();
    }

    /// The same problem, told of.
    pub(crate) fn problem(&mut self, problem: impl Into<Problem>) -> Problem {
        let problem = problem.into();
        self.refused(problem.kind.code);
        problem
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Some(by) = self.by.take() else { return };
        let milliseconds = self.since.elapsed().as_millis();
        self.query.milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX);
        self.questions.record_query(by, self.trace, self.query.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_never_waits() {
        let (questions, mut recorder) = Questions::new();
        let query = QueryRun {
            door: QueryDoor::Postgres,
            name: None,
            text: Digest([1; 32]),
            parameters: None,
            as_of: None,
            rows: 0,
            bytes: 0,
            milliseconds: 0,
            outcome: QueryOutcome::Answered,
            code: None,
            unrecorded: 0,
        };
        for _ in 0..WAITING_MAX + 3 {
            questions.record_query(Actor::System, None, query.clone());
        }
        assert_eq!(questions.unrecorded(), 3);
        assert_eq!(recorder.waiting.len(), WAITING_MAX);
        assert_eq!(recorder.waiting.try_recv().unwrap().query, query);
        questions.record_query(Actor::System, None, query);
        assert_eq!(questions.unrecorded(), 3);
    }
}
