//! Answers: those of a durable entry, and those of what cannot be recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bailiwick_core::command::{Allowed, Answer, Command, Decision, Denied, Finish};
use bailiwick_core::decide::decide;
use bailiwick_core::event::{DenialCode, Outcome};
use bailiwick_core::id::CallId;
use bailiwick_core::time::Time;

use super::batch::Decided;
use super::queue::Waiting;
use super::run::Engine;
use super::{Reply, unavailable};

impl Engine {
    /// Answers. An allow that a revocation in force covers, or that nobody waits for, is not
    /// delivered, and that is recorded.
    pub(super) fn deliver(&mut self, decided: Vec<Decided>) {
        let shared = Arc::clone(&self.shared);
        let counts = &shared.counts;
        counts.commands.fetch_add(decided.len() as u64, Ordering::Relaxed);
        let mut undelivered = Vec::new();
        for one in decided {
            let mut reply = one.reply();
            let allowed = allowed_call(&one.answer).map(|(call, _)| call);
            if self.is_overlaid(&one) {
                reply.answer = suspended(&one.answer);
                undelivered.extend(allowed);
            }
            match &reply.answer {
                Answer::Decided(Decision { result: Ok(_), .. }) => count(&counts.allowed),
                Answer::Decided(_) => count(&counts.denied),
                Answer::Refused(_) => count(&counts.refused),
                Answer::Done(_) => {}
            }
            if let Some(id) = one.waiting.in_force {
                self.overlay.settle(id, &one.answer);
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
            let _ = self.shared.queue.push(Waiting::by_system(Command::Finish(finish)));
        }
    }

    fn is_overlaid(&self, one: &Decided) -> bool {
        let Command::Authorize(call) = &one.waiting.submission.command else { return false };
        allowed_call(&one.answer)
            .is_some_and(|(_, allowed)| self.overlay.covers(&self.state, call, allowed))
    }

    /// Takes revocations in force although they cannot be recorded yet, and says so.
    pub(super) fn take_in_force(&mut self, revocations: Vec<Waiting>) {
        for mut waiting in revocations {
            let now = self.clock.read();
            let now = self.state.last_time().map_or(now, |last| now.max(Time(last.0 + 1)));
            let answer = decide(&self.state, &waiting.submission, now).answer;
            self.keep(&mut waiting, &answer);
            // Nobody may be listening any more; the revocation stays in force all the same.
            waiting.answer(Reply { answer, receipt: None, durable: false });
        }
    }

    /// Takes the revocations of an entry in force whose outcome stays unknown.
    pub(super) fn hold(&mut self, decided: &mut [Decided]) {
        for one in decided {
            if one.waiting.is_revocation() && one.waiting.in_force.is_none() {
                self.keep(&mut one.waiting, &one.answer);
                let answer = one.answer.clone();
                if let Some(to) = one.waiting.reply.take() {
                    // As above.
                    let _ = to.send(Reply { answer, receipt: None, durable: false });
                }
            }
        }
    }

    fn keep(&mut self, waiting: &mut Waiting, answer: &Answer) {
        if matches!(answer, Answer::Done(done) if done.repeats.is_none()) {
            waiting.in_force = self.overlay.keep(&waiting.submission);
            self.shared.standing.doubt();
            if let Command::Revoke(revoke) = &waiting.submission.command {
                tracing::warn!(selector = %revoke.selector, "revocation in force, not durable");
            }
        }
    }
}

/// Refuses what is not recorded. What is in force stays so.
pub(super) fn refuse(waiting: Vec<Waiting>, why: &str) {
    for one in waiting {
        let is_call = matches!(one.submission.command, Command::Authorize(_));
        one.answer(unavailable(is_call, why));
    }
}

/// Tells callers in time that their commands are not recorded yet. Should the entry land later,
/// their calls are recorded as not delivered, since nobody waits for the answer any more.
/// Revocations are taken in force instead.
pub(super) fn give_up(decided: &mut [Decided], why: &str) {
    for one in decided.iter_mut().filter(|one| !one.waiting.is_revocation()) {
        let is_call = matches!(one.waiting.submission.command, Command::Authorize(_));
        if let Some(to) = one.waiting.reply.take() {
            let _ = to.send(unavailable(is_call, why));
            let (gone, _) = tokio::sync::oneshot::channel();
            one.waiting.reply = Some(gone);
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) const fn allowed_call(answer: &Answer) -> Option<(CallId, &Allowed)> {
    match answer {
        Answer::Decided(Decision { call, result: Ok(allowed), .. }) => Some((*call, allowed)),
        Answer::Decided(_) | Answer::Done(_) | Answer::Refused(_) => None,
    }
}

fn suspended(answer: &Answer) -> Answer {
    let call = allowed_call(answer).map_or(CallId(0), |(call, _)| call);
    let message = "it was revoked while it was being recorded".to_owned();
    let result = Err(Denied { code: DenialCode::Suspended, message, approval: None });
    Answer::Decided(Decision { call, result, repeats: None })
}
