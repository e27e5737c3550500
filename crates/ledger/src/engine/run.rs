//! The loop: drain, decide, seal, append, answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bailiwick_core::command::{Command, RefusalCode};
use bailiwick_core::event::DenialCode;
use bailiwick_core::record::{LedgerId, Position, Sealed};
use bailiwick_core::state::State;
use bytes::Bytes;
use rand::rngs::StdRng;

use super::batch::{Batch, Decided, Step};
use super::deliver::{allowed_call, give_up, refuse};
use super::overlay::Overlay;
use super::overtaken::Role;
use super::queue::Waiting;
use super::{ANSWER_MAX, Shared};
use crate::clock::Clock;
use crate::error::report;
use crate::log::{ATTEMPT_MAX, Append, BACKOFF, Log};
use crate::tail::Committed;

/// Commands of one batch.
const BATCH_MAX: usize = 4_096;
/// How long the loop goes without a round trip to the log: when nothing is appended, it reads the
/// head. Enforcement points are only told that they may go on while the last one is fresh.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often expiry is looked after.
const TICK: Duration = Duration::from_secs(1);
/// When callers hear `unavailable` although the outcome may still become known: a look at the head
/// before the append, and a pause and an attempt that has just begun, fit into [`ANSWER_MAX`] too.
const GIVE_UP_AFTER: Duration = ANSWER_MAX
    .checked_sub(ATTEMPT_MAX.saturating_mul(2))
    .unwrap()
    .checked_sub(Duration::from_millis(150))
    .unwrap();

/// The engine's own: nobody else touches it.
pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Box<dyn Log>,
    pub(super) ledger: LedgerId,
    pub(super) epoch: u64,
    pub(super) role: Role,
    pub(super) state: State,
    pub(super) position: Position,
    pub(super) clock: Clock,
    pub(super) chance: StdRng,
    pub(super) linger: Duration,
    pub(super) overlay: Overlay,
    /// When the last append or look at the head began, whatever came of it.
    pub(super) looked: Instant,
    pub(super) last_tick: Instant,
}

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    On,
    /// On, but as a follower: nothing more of this batch is decided.
    Overtaken,
    /// The log takes nothing any more: everything is refused until the process is restarted.
    Stopped,
}

impl Engine {
    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut last = 0;
        let mut closed: Option<Instant> = None;
        loop {
            let shared = Arc::clone(&self.shared);
            let taken = shared.queue.take(BATCH_MAX, self.until_look(), last, self.linger);
            last = taken.batch.len();
            if taken.closed && taken.batch.is_empty() {
                let closed = *closed.get_or_insert_with(Instant::now);
                // What is in force is to be on the ledger before nobody knows of it any more.
                if self.overlay.is_empty() || closed.elapsed() > ANSWER_MAX {
                    break;
                }
                std::thread::sleep(self.until_look());
            }
            let going = match self.role {
                Role::Writer => self.write(taken.batch),
                Role::Follower(_) => self.follow(taken.batch),
            };
            if going == Going::Stopped {
                self.refuse_all();
                break;
            }
        }
        self.shared.standing.lose();
        for selector in self.overlay.selectors() {
            tracing::error!(%selector, "a revocation in force was never recorded");
        }
    }

    /// How long the loop may wait for commands.
    pub(super) fn until_look(&self) -> Duration {
        if self.has_more() {
            return Duration::ZERO;
        }
        LOOK_EVERY.saturating_sub(self.looked.elapsed())
    }

    /// Whether there is something to do although nobody asked for anything.
    pub(super) fn has_more(&self) -> bool {
        match &self.role {
            Role::Writer => !self.overlay.is_empty() && self.clock.unsure().is_none(),
            Role::Follower(following) => following.is_behind,
        }
    }

    /// One round of a writer. Revocations that are in force already come first, so that everything
    /// in the batch is decided in their sight.
    pub(super) fn write(&mut self, commands: Vec<Waiting>) -> Going {
        self.heed_operator();
        let before = self.position.entry_number;
        let mut batch = commands;
        if !self.overlay.is_empty() {
            batch = self.overlay.commands().chain(batch).collect();
        }
        batch.extend(self.expire());
        if !batch.is_empty() {
            let going = self.work(batch);
            if going != Going::On {
                return going;
            }
        }
        // Whoever appends knows how the log is.
        let appended = self.position.entry_number > before;
        if !appended && self.looked.elapsed() >= LOOK_EVERY { self.look() } else { Going::On }
    }

    /// The system's own command when grants or approvals have run out.
    fn expire(&mut self) -> Option<Waiting> {
        if self.last_tick.elapsed() < TICK {
            return None;
        }
        self.last_tick = Instant::now();
        let now = self.clock.read();
        let has_run_out = self.state.grants().run_out(self.state.marks(), now).next().is_some()
            || self.state.approvals().overdue(now).next().is_some();
        has_run_out.then(|| Waiting::by_system(Command::Expire))
    }

    /// Whether the next command could be recorded: the clock, and the log, which may have gone away
    /// or to another writer while nobody asked.
    fn look(&mut self) -> Going {
        let unsure = self.clock.unsure().map(|why| format!("clock_unsure: {why}"));
        self.looked = Instant::now();
        let away = match self.log.head() {
            Ok(head) if head > self.position.entry_number => return self.overtaken(Vec::new()),
            Ok(head) if head < self.position.entry_number => {
                Some(format!("the log ends at entry {head}, shorter than it was"))
            }
            Ok(_) => {
                self.vouch(self.looked);
                None
            }
            Err(error) => Some(format!("the log does not answer: {}", report(&error))),
        };
        *self.shared.trouble() = unsure.or(away);
        Going::On
    }

    /// A round trip that began at `began` has shown that nobody else writes. It counts only while no
    /// revocation waits to be recorded: who is answered on the strength of it takes the feed for
    /// whole, and that one has no number in it yet.
    pub(super) fn vouch(&self, began: Instant) {
        if matches!(self.role, Role::Writer) && self.overlay.is_empty() {
            self.shared.standing.round_trip(began, self.state.feed().last());
        }
    }

    /// An operator may have said that the clock is right.
    pub(super) fn heed_operator(&mut self) {
        if self.shared.clock_confirmed.swap(false, Ordering::AcqRel) {
            self.clock.confirm();
        }
    }

    /// Decides a batch into as many entries as it needs.
    pub(super) fn work(&mut self, commands: Vec<Waiting>) -> Going {
        let mut commands = commands.into_iter();
        let mut carried: Option<Waiting> = None;
        loop {
            let started = Instant::now();
            let mut batch = Batch::begin(self.ledger, &self.position, self.epoch);
            let clock = self.clock.read();
            if self.clock.unsure().is_some() {
                self.refuse_unsure(carried.into_iter().chain(commands).collect());
                return Going::On;
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
            let going = self.commit(batch);
            if going == Going::On && full {
                continue;
            }
            let left = carried.into_iter().chain(commands).collect();
            return match going {
                Going::On => Going::On,
                Going::Overtaken => self.turn_away(left),
                Going::Stopped => {
                    refuse(left, "the ledger takes no more commands");
                    Going::Stopped
                }
            };
        }
    }

    /// Seals, appends and answers.
    pub(super) fn commit(&mut self, batch: Batch) -> Going {
        if batch.is_empty() {
            let (_, _, decided) = batch.into_parts();
            self.repeat(decided);
            return Going::On;
        }
        let (entry, events, mut decided) = batch.into_parts();
        let Some(sealed) = entry.seal(self.shared.home.signing()) else { return Going::On };
        let before = self.position.entry_number;
        // Later attempts prove less: another writer may have come after the entry by then.
        let began = Instant::now();
        self.looked = began;
        let outcome = self.log.append(before, &sealed.bytes, Some(&sealed.last_link));
        self.shared.counts.appended(began.elapsed());
        let outcome = match outcome {
            Append::Unknown(reason) => {
                self.shared.counts.unknown_outcomes.fetch_add(1, Ordering::Relaxed);
                self.resolve(before, &sealed, &mut decided, reason.to_string())
            }
            Append::Committed | Append::LostRace | Append::Fatal(_) => outcome,
        };
        match outcome {
            Append::Committed => {
                self.position = sealed.position();
                let number = sealed.number;
                let committed = Committed { number, bytes: Bytes::from(sealed.bytes), events };
                self.count(&committed);
                self.publish(committed);
                self.deliver(decided);
                self.vouch(began);
                Going::On
            }
            Append::LostRace => {
                self.overtaken(decided.into_iter().map(|one| one.waiting).collect())
            }
            Append::Fatal(error) => self.stop(decided, report(&error)),
            Append::Unknown(reason) => self.stop(decided, reason.to_string()),
        }
    }

    /// Answers what needs no entry. An allow that was recorded before is only given again by who
    /// knows that nobody else has written since.
    fn repeat(&mut self, decided: Vec<Decided>) {
        let allows = decided.iter().any(|one| allowed_call(&one.answer).is_some());
        let is_known = |began: Instant| began.elapsed() < LOOK_EVERY * 2;
        if !allows || self.shared.standing.last_round_trip().is_some_and(is_known) {
            return self.deliver(decided);
        }
        match self.log.head() {
            Ok(head) if head == self.position.entry_number => self.deliver(decided),
            Ok(_) => refuse_decided(decided, "another writer may have taken up the ledger"),
            Err(error) => refuse_decided(decided, &report(&error)),
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
        // The first attempt is what was looked at last.
        let began = self.looked;
        tracing::warn!(entry = sealed.number, why, "append outcome unknown, retrying");
        let mut backoff = BACKOFF.into_iter();
        let mut pause = Duration::ZERO;
        loop {
            pause = backoff.next().unwrap_or(pause);
            std::thread::sleep(pause);
            self.take_in_force(self.shared.queue.take_revocations());
            if began.elapsed() > GIVE_UP_AFTER {
                *self.shared.trouble() = Some(format!("the log does not answer: {why}"));
                give_up(decided, &why);
                refuse(self.shared.queue.take_others(), &why);
            }
            match self.log.append(before, &sealed.bytes, Some(&sealed.last_link)) {
                Append::Unknown(reason)
                    if self.shared.queue.is_closed() && began.elapsed() > ANSWER_MAX =>
                {
                    return Append::Unknown(reason);
                }
                Append::Unknown(_) => self.hold(decided),
                outcome @ (Append::Committed | Append::LostRace | Append::Fatal(_)) => {
                    *self.shared.trouble() = None;
                    tracing::info!(entry = sealed.number, ?outcome, "append outcome known");
                    return outcome;
                }
            }
        }
    }

    fn count(&self, committed: &Committed) {
        let counts = &self.shared.counts;
        counts.entries.fetch_add(1, Ordering::Relaxed);
        counts.events.fetch_add(committed.events.len() as u64, Ordering::Relaxed);
        counts.bytes.fetch_add(committed.bytes.len() as u64, Ordering::Relaxed);
    }

    /// Makes an entry visible: to readers, to followers, to the anchor.
    pub(super) fn publish(&mut self, committed: Committed) {
        let view = self.state.view();
        if self.shared.view.load().version() != view.version() {
            self.shared.view.store(view);
        }
        self.shared.keeper.advance(committed.bytes.clone());
        self.shared.tail.commit(committed);
    }

    pub(super) fn refuse_unsure(&self, waiting: Vec<Waiting>) {
        let why = self.clock.unsure().unwrap_or_default().to_owned();
        *self.shared.trouble() = Some(format!("clock_unsure: {why}"));
        for one in waiting {
            let is_call = matches!(one.submission.command, Command::Authorize(_));
            let why = format!("{why}; an operator has to confirm the clock");
            let (denial, refusal) = (DenialCode::ClockUnsure, RefusalCode::ClockUnsure);
            one.answer(super::unrecorded(is_call, denial, refusal, &why));
        }
    }

    fn stop(&self, decided: Vec<Decided>, why: String) -> Going {
        self.halt(decided.into_iter().map(|one| one.waiting).collect(), why)
    }

    /// The log takes nothing any more.
    pub(super) fn halt(&self, waiting: Vec<Waiting>, why: String) -> Going {
        tracing::error!(why, "the ledger takes no more commands");
        self.shared.standing.lose();
        // Whoever is refused finds the reason in the health as well.
        *self.shared.trouble() = Some(why.clone());
        refuse(waiting, &why);
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

fn refuse_decided(decided: Vec<Decided>, why: &str) {
    refuse(decided.into_iter().map(|one| one.waiting).collect(), why);
}
