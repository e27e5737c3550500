//! Commands on their way into the loop: two lanes. Revocations have one of their own, drained first
//! and never refused for load.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_core::command::{Command, Submission};
use bailiwick_core::event::Actor;
use tokio::sync::oneshot;

use super::Reply;
use super::overlay::InForce;

/// Commands that may wait; more are refused `overloaded`.
pub const QUEUE_MAX: usize = 16_384;

/// A command that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) submission: Submission,
    pub(super) reply: Option<oneshot::Sender<Reply>>,
    /// The revocation in force that this is to record.
    pub(super) in_force: Option<InForce>,
}

impl Waiting {
    pub(super) const fn new(submission: Submission, reply: oneshot::Sender<Reply>) -> Self {
        Self { submission, reply: Some(reply), in_force: None }
    }

    /// A command of the system itself, whose answer nobody waits for.
    pub(super) const fn by_system(command: Command) -> Self {
        let submission = Submission { actor: Actor::System, request: None, trace: None, command };
        Self { submission, reply: None, in_force: None }
    }

    /// Whether somebody still waits for the answer, or nobody ever did.
    pub(super) fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_none_or(|to| !to.is_closed())
    }

    /// Gives the answer. False when nobody waits for it any more.
    pub(super) fn answer(self, reply: Reply) -> bool {
        self.reply.is_none_or(|to| to.send(reply).is_ok())
    }

    pub(super) const fn is_revocation(&self) -> bool {
        matches!(self.submission.command, Command::Revoke(_))
    }
}

#[derive(Debug, Default)]
struct Lanes {
    revocations: VecDeque<Waiting>,
    others: VecDeque<Waiting>,
    closed: bool,
}

/// The queue in front of the loop.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    filled: Condvar,
}

/// Why a command was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    Full,
    Closed,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // A panic elsewhere leaves the lanes whole: every change to them is one push or drain.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, waiting: Waiting) -> Result<(), Rejected> {
        let mut lanes = self.lock();
        if lanes.closed {
            return Err(Rejected::Closed);
        }
        if waiting.is_revocation() {
            lanes.revocations.push_back(waiting);
        } else if lanes.others.len() < QUEUE_MAX {
            lanes.others.push_back(waiting);
        } else {
            return Err(Rejected::Full);
        }
        let first = lanes.revocations.len() + lanes.others.len() == 1;
        drop(lanes);
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits for a command, then, under load, up to `linger` for as many as came the last time:
    /// more of them share a signature and a sync. Revocations end the wait. Takes at most `most`.
    pub(super) fn take(&self, most: usize, wait: Duration, last: usize, linger: Duration) -> Taken {
        let deadline = Instant::now() + wait;
        let mut lanes = self.lock();
        while lanes.revocations.is_empty() && lanes.others.is_empty() && !lanes.closed {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            lanes = self.wait(lanes, left);
        }
        if last >= LOAD {
            let deadline = Instant::now() + linger;
            while lanes.revocations.is_empty() && lanes.others.len() < last && !lanes.closed {
                let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
                lanes = self.wait(lanes, left);
            }
        }
        let closed = lanes.closed;
        let mut batch: Vec<Waiting> = lanes.revocations.drain(..).collect();
        let room = most.saturating_sub(batch.len()).min(lanes.others.len());
        batch.extend(lanes.others.drain(..room));
        Taken { batch, closed }
    }

    fn wait<'a>(&self, lanes: MutexGuard<'a, Lanes>, left: Duration) -> MutexGuard<'a, Lanes> {
        self.filled.wait_timeout(lanes, left).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Takes revocations only.
    pub(super) fn take_revocations(&self) -> Vec<Waiting> {
        self.lock().revocations.drain(..).collect()
    }

    /// Takes everything but revocations.
    pub(super) fn take_others(&self) -> Vec<Waiting> {
        self.lock().others.drain(..).collect()
    }

    pub(super) fn len(&self) -> usize {
        let lanes = self.lock();
        lanes.revocations.len() + lanes.others.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }
}

/// From how many commands in the last batch on there is load.
const LOAD: usize = 4;

/// What came out of the queue.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) batch: Vec<Waiting>,
    pub(super) closed: bool,
}
