//! The loop: drain, decide, seal, append, answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bailiwick_core::command::{Answer, Command, Decision, Denied, Finish, Submission};
use bailiwick_core::decide::decide;
use bailiwick_core::event::{Actor, DenialCode, Outcome, Selector};
use bailiwick_core::id::CallId;
use bailiwick_core::record::{LedgerId, Position, Sealed};
use bailiwick_core::state::{Covered, State};
use bailiwick_core::time::Time;
use bytes::Bytes;
use rand::rngs::StdRng;

use super::batch::{Batch, Decided, Step};
use super::queue::Waiting;
use super::{ANSWER_MAX, Reply, Shared, unavailable};
use crate::clock::Clock;
use crate::log::{Append, Log};
use crate::tail::Committed;

/// Commands of one batch.
const BATCH_MAX: usize = 4_096;
/// How often expiry is looked after when nothing else happens.
const TICK: Duration = Duration::from_secs(1);
/// Between attempts at an append whose outcome is unknown.
const BACKOFF: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// The engine's own: nobody else touches it.
pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Box<dyn Log>,
    pub(super) ledger: LedgerId,
    pub(super) epoch: u64,
    pub(super) state: State,
    pub(super) position: Position,
    pub(super) clock: Clock,
    pub(super) chance: StdRng,
    pub(super) linger: Duration,
    /// Revocations in force before they are durable: they outlive a rebuilt state, and what they
    /// cover is not delivered.
    pub(super) overlay: Vec<Selector>,
    pub(super) last_tick: Instant,
}

/// Whether the loop goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    /// The log takes nothing any more: everything is refused until the process is restarted.
    Stopped,
}

impl Engine {
    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut last = 0;
        loop {
            let shared = Arc::clone(&self.shared);
            let taken = shared.queue.take(BATCH_MAX, TICK, last, self.linger);
            last = taken.batch.len();
            if taken.closed && taken.batch.is_empty() {
                return;
            }
            let mut batch = taken.batch;
            self.tick(&mut batch);
            if !batch.is_empty() && self.work(batch) == Going::Stopped {
                self.refuse_all();
                return;
            }
        }
    }

    /// Adds the system's own command when grants have run out.
    fn tick(&mut self, batch: &mut Vec<Waiting>) {
        if self.last_tick.elapsed() < TICK {
            return;
        }
        self.last_tick = Instant::now();
        self.look_around();
        let now = self.clock.read();
        if self.state.grants().run_out(self.state.marks(), now).next().is_some() {
            batch.push(by_system(Command::Expire));
        }
    }

    /// Whether the next command could be recorded: the clock, and the log, which may have gone
    /// away while nobody asked.
    fn look_around(&mut self) {
        if self.shared.clock_confirmed.swap(false, Ordering::AcqRel) {
            self.clock.confirm();
        }
        let unsure = self.clock.unsure().map(|why| format!("clock_unsure: {why}"));
        let away = match self.log.head() {
            Ok(head) if head < self.position.entry_number => {
                Some(format!("the log ends at entry {head}, shorter than it was"))
            }
            Ok(_) => None,
            Err(error) => Some(format!("the log does not answer: {}", report(&error))),
        };
        *self.shared.trouble() = unsure.or(away);
    }

    /// Decides a batch into as many entries as it needs.
    fn work(&mut self, commands: Vec<Waiting>) -> Going {
        let mut commands = commands.into_iter();
        let mut carried: Option<Waiting> = None;
        loop {
            let started = Instant::now();
            let mut batch = Batch::begin(self.ledger, &self.position, self.epoch);
            let clock = self.clock.read();
            if self.clock.unsure().is_some() {
                let waiting: Vec<_> = carried.into_iter().chain(commands).collect();
                return self.refuse_unsure(waiting);
            }
            let mut full = false;
            while let Some(waiting) = carried.take().or_else(|| commands.next()) {
                match batch.take(&mut self.state, waiting, clock, &mut self.chance) {
                    Step::Taken => {}
                    Step::Full(waiting) => {
                        carried = Some(*waiting);
                        full = true;
                        break;
                    }
                }
            }
            self.shared.counts.decided(started.elapsed());
            if self.commit(batch) == Going::Stopped {
                let left: Vec<_> = carried.into_iter().chain(commands).collect();
                refuse(left, "the ledger takes no more commands");
                return Going::Stopped;
            }
            if !full {
                return Going::On;
            }
        }
    }

    /// Seals, appends and answers.
    fn commit(&mut self, batch: Batch) -> Going {
        if batch.is_empty() {
            let (_, _, decided) = batch.into_parts();
            self.deliver(decided);
            return Going::On;
        }
        let (entry, events, mut decided) = batch.into_parts();
        let Some(sealed) = entry.seal(self.shared.home.signing()) else { return Going::On };
        let before = self.position.entry_number;
        let started = Instant::now();
        let outcome = self.log.append(before, &sealed.bytes, Some(&sealed.last_link));
        self.shared.counts.appended(started.elapsed());
        let outcome = match outcome {
            Append::Unknown(reason) => {
                self.shared.counts.unknown_outcomes.fetch_add(1, Ordering::Relaxed);
                self.resolve(before, &sealed, &mut decided, reason.to_string())
            }
            Append::Committed | Append::LostRace | Append::Fatal(_) => outcome,
        };
        match outcome {
            Append::Committed => {
                let number = sealed.number;
                self.position = sealed.position();
                self.publish(Committed { number, bytes: Bytes::from(sealed.bytes), events });
                self.deliver(decided);
                Going::On
            }
            Append::LostRace => {
                let why = "another writer took up the ledger; restart to follow it";
                self.stop(decided, why.to_owned())
            }
            Append::Fatal(error) => self.stop(decided, report(&error)),
            Append::Unknown(reason) => self.stop(decided, reason.to_string()),
        }
    }

    /// Retries the same bytes at the same place until their outcome is known. Callers hear
    /// `unavailable` in time; revocations are taken in force meanwhile.
    fn resolve(
        &mut self,
        before: u64,
        sealed: &Sealed,
        decided: &mut [Decided],
        why: String,
    ) -> Append {
        let started = Instant::now();
        tracing::warn!(entry = sealed.number, why, "append outcome unknown, retrying");
        let mut backoff = BACKOFF.into_iter();
        let mut pause = Duration::ZERO;
        loop {
            pause = backoff.next().unwrap_or(pause);
            std::thread::sleep(pause);
            self.take_revocations(&why);
            if started.elapsed() > ANSWER_MAX.mul_f32(0.75) {
                *self.shared.trouble() = Some(format!("the log does not answer: {why}"));
                give_up(decided, &why);
                refuse(self.shared.queue.take_others(), &why);
            }
            match self.log.append(before, &sealed.bytes, Some(&sealed.last_link)) {
                Append::Unknown(reason)
                    if self.shared.queue.is_closed() && started.elapsed() > ANSWER_MAX =>
                {
                    return Append::Unknown(reason);
                }
                Append::Unknown(_) => {}
                outcome @ (Append::Committed | Append::LostRace | Append::Fatal(_)) => {
                    *self.shared.trouble() = None;
                    tracing::info!(entry = sealed.number, ?outcome, "append outcome known");
                    return outcome;
                }
            }
        }
    }

    /// Takes revocations in force although they cannot be recorded yet. They are submitted again
    /// until they are durable.
    fn take_revocations(&mut self, why: &str) {
        let mut again = Vec::new();
        for mut waiting in self.shared.queue.take_revocations() {
            let now = self.clock.read();
            let now = self.state.last_time().map_or(now, |last| now.max(Time(last.0 + 1)));
            let answer = decide(&self.state, &waiting.submission, now).answer;
            let accepted = matches!(answer, Answer::Done(_));
            if accepted && let Command::Revoke(revoke) = &waiting.submission.command {
                tracing::warn!(selector = %revoke.selector, why, "revocation in force, not durable");
                self.overlay.push(revoke.selector.clone());
            }
            if let Some(to) = waiting.reply.take() {
                // Nobody may be listening any more; the revocation stays in force all the same.
                let _ = to.send(Reply { answer, receipt: None, durable: false });
            }
            if accepted {
                again.push(waiting);
            }
        }
        self.shared.queue.put_back(again);
    }

    /// Makes an entry visible: to readers, to followers, to the anchor.
    fn publish(&mut self, committed: Committed) {
        let counts = &self.shared.counts;
        counts.entries.fetch_add(1, Ordering::Relaxed);
        counts.events.fetch_add(committed.events.len() as u64, Ordering::Relaxed);
        counts.bytes.fetch_add(committed.bytes.len() as u64, Ordering::Relaxed);
        let view = self.state.view();
        if self.shared.view.load().version() != view.version() {
            self.shared.view.store(view);
        }
        self.shared.keeper.advance(committed.bytes.clone());
        self.shared.tail.commit(committed);
    }

    /// Answers. An allow that a revocation in force covers, or that nobody waits for, is not
    /// delivered, and that is recorded.
    fn deliver(&mut self, decided: Vec<Decided>) {
        let shared = Arc::clone(&self.shared);
        let counts = &shared.counts;
        counts.commands.fetch_add(decided.len() as u64, Ordering::Relaxed);
        let mut undelivered = Vec::new();
        for one in decided {
            let mut reply = one.reply();
            let allowed = allowed_call(&one.answer);
            if allowed.is_some() && self.is_overlaid(&one.waiting.submission) {
                reply.answer = suspended(&one.answer);
                undelivered.extend(allowed);
            }
            match &reply.answer {
                Answer::Decided(Decision { result: Ok(_), .. }) => count(&counts.allowed),
                Answer::Decided(_) => count(&counts.denied),
                Answer::Refused(_) => count(&counts.refused),
                Answer::Done(_) => {}
            }
            if let Command::Revoke(revoke) = &one.waiting.submission.command {
                self.overlay.retain(|selector| *selector != revoke.selector);
            }
            if !one.waiting.answer(reply) {
                undelivered.extend(allowed);
            }
        }
        for call in undelivered {
            let finish = Finish {
                call,
                outcome: Outcome::NotDelivered,
                latency_us: 0,
                bytes_in: 0,
                bytes_out: 0,
                result: None,
            };
            // A full queue only means that the call's end is not recorded: it never ran.
            let _ = self.shared.queue.push(by_system(Command::Finish(finish)));
        }
    }

    fn is_overlaid(&self, submission: &Submission) -> bool {
        use bailiwick_core::command::Subject;
        if self.overlay.is_empty() {
            return false;
        }
        let Command::Authorize(call) = &submission.command else { return false };
        let (agent, owner) = match &call.subject {
            Subject::Agent(agent) => {
                let Some(known) = self.state.agents().get(agent) else { return true };
                (Some(agent), &known.owner)
            }
            Subject::Person(owner) => (None, owner),
        };
        let covered = Covered {
            grant: None,
            agent,
            owner,
            task: call.task,
            tool: call.tool.as_ref(),
            resource: &call.resource,
        };
        self.overlay.iter().any(|selector| covered.is_named_by(selector))
    }

    fn refuse_unsure(&mut self, waiting: Vec<Waiting>) -> Going {
        let why = self.clock.unsure().unwrap_or_default().to_owned();
        *self.shared.trouble() = Some(format!("clock_unsure: {why}"));
        for one in waiting {
            let is_call = matches!(one.submission.command, Command::Authorize(_));
            let why = format!("{why}; an operator has to confirm the clock");
            let reply = super::unrecorded(
                is_call,
                DenialCode::ClockUnsure,
                bailiwick_core::command::RefusalCode::ClockUnsure,
                &why,
            );
            one.answer(reply);
        }
        Going::On
    }

    fn stop(&mut self, decided: Vec<Decided>, why: String) -> Going {
        tracing::error!(why, "the ledger takes no more commands");
        // Whoever is refused finds the reason in the health as well.
        *self.shared.trouble() = Some(why.clone());
        refuse(decided.into_iter().map(|one| one.waiting).collect(), &why);
        Going::Stopped
    }

    /// After a stop: everything that still comes is refused.
    fn refuse_all(&self) {
        let why = self.shared.trouble().clone().unwrap_or_default();
        loop {
            let taken = self.shared.queue.take(BATCH_MAX, TICK, 0, Duration::ZERO);
            if taken.closed && taken.batch.is_empty() {
                return;
            }
            refuse(taken.batch, &why);
        }
    }
}

fn by_system(command: Command) -> Waiting {
    let submission = Submission { actor: Actor::System, request: None, trace: None, command };
    Waiting { submission, reply: None }
}

fn refuse(waiting: Vec<Waiting>, why: &str) {
    for one in waiting {
        let is_call = matches!(one.submission.command, Command::Authorize(_));
        one.answer(unavailable(is_call, why));
    }
}

/// Tells callers in time that their commands are not recorded yet. Should the entry land later,
/// their calls are recorded as not delivered, since nobody waits for the answer any more.
fn give_up(decided: &mut [Decided], why: &str) {
    for one in decided {
        let is_call = matches!(one.waiting.submission.command, Command::Authorize(_));
        if let Some(to) = one.waiting.reply.take() {
            let _ = to.send(unavailable(is_call, why));
            let (gone, _) = tokio::sync::oneshot::channel();
            one.waiting.reply = Some(gone);
        }
    }
}

fn count(counter: &std::sync::atomic::AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

const fn allowed_call(answer: &Answer) -> Option<CallId> {
    match answer {
        Answer::Decided(Decision { call, result: Ok(_), .. }) => Some(*call),
        Answer::Decided(_) | Answer::Done(_) | Answer::Refused(_) => None,
    }
}

fn suspended(answer: &Answer) -> Answer {
    let call = allowed_call(answer).unwrap_or(CallId(0));
    let message = "it was revoked while it was being recorded".to_owned();
    let result = Err(Denied { code: DenialCode::Suspended, message });
    Answer::Decided(Decision { call, result, repeats: None })
}

/// An error with its sources, for people.
fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
