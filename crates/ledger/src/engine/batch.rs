//! One entry in the making: commands decided in order, each seeing those before it.

use bailiwick_core::command::{Answer, Command};
use bailiwick_core::decide::decide;
use bailiwick_core::event::{Event, Place, Recorded};
use bailiwick_core::record::entry::{EntryBuilder, PushError};
use bailiwick_core::record::{LedgerId, Link, Position};
use bailiwick_core::state::State;
use bailiwick_core::time::Time;
use rand::Rng;

use super::queue::Waiting;
use super::{Receipt, Reply};

/// A command that has been decided and waits for its entry to be durable.
pub(super) struct Decided {
    pub(super) waiting: Waiting,
    pub(super) answer: Answer,
    pub(super) receipt: Option<Receipt>,
}

impl Decided {
    /// The answer once the entry is durable.
    pub(super) fn reply(&self) -> Reply {
        Reply { answer: self.answer.clone(), receipt: self.receipt, durable: true }
    }
}

/// An entry being filled.
pub(super) struct Batch {
    entry: EntryBuilder,
    pub(super) events: Vec<Recorded>,
    pub(super) decided: Vec<Decided>,
    bodies: Vec<u8>,
    ends: Vec<usize>,
}

/// What became of one command.
pub(super) enum Step {
    /// It is in the batch.
    Taken,
    /// It does not fit any more: it is the first of the next entry.
    Full(Box<Waiting>),
}

impl Batch {
    pub(super) fn begin(ledger: LedgerId, at: &Position, epoch: u64) -> Self {
        Self {
            entry: EntryBuilder::new(ledger, at, epoch),
            events: Vec::new(),
            decided: Vec::new(),
            bodies: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Decides one command and applies what follows, so that later commands see it.
    pub(super) fn take(
        &mut self,
        state: &mut State,
        waiting: Waiting,
        clock: Time,
        chance: &mut impl Rng,
    ) -> Step {
        let now = state.last_time().map_or(clock, |last| clock.max(Time(last.0 + 1)));
        let decided = decide(state, &waiting.submission, now);
        self.encode(&decided.events, chance);
        if !self.entry.fits(decided.events.len(), self.bodies.len()) {
            return Step::Full(Box::new(waiting));
        }
        let main = main_index(&waiting.submission.command, &decided.answer);
        let mut receipt = repeated(&decided.answer, main);
        let mut start = 0;
        for (position, event) in decided.events.into_iter().enumerate() {
            let end = self.ends[position];
            let time = Time(now.0 + position as u64);
            let index = self.entry.next_index();
            let link = self.push(&event, time, start..end);
            start = end;
            let place = Place { index, time, link };
            state.apply(place, &event);
            if main == Some(index) && receipt.is_none() {
                receipt = Some(Receipt { index, link });
            }
            self.events.push(Recorded { place, event });
        }
        self.decided.push(Decided { waiting, answer: decided.answer, receipt });
        Step::Taken
    }

    /// Encodes bodies one after another; `ends` holds where each ends.
    fn encode(&mut self, events: &[Event], chance: &mut impl Rng) {
        self.bodies.clear();
        self.ends.clear();
        for event in events {
            let mut salt = [0; 16];
            chance.fill_bytes(&mut salt);
            event
                .encode_body(salt, &mut self.bodies)
                .expect("an event that decide makes is within the limits of a frame");
            self.ends.push(self.bodies.len());
        }
    }

    fn push(&mut self, event: &Event, time: Time, body: std::ops::Range<usize>) -> Link {
        let (kind, schema) = (event.fact.kind(), event.fact.schema());
        match self.entry.push(kind, schema, time, &self.bodies[body]) {
            Ok(link) => link,
            Err(e @ (PushError::Full { .. } | PushError::Time { .. } | PushError::Frame(_))) => {
                unreachable!("room and order were checked before: {e}")
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entry.count() == 0
    }

    pub(super) fn into_parts(self) -> (EntryBuilder, Vec<Recorded>, Vec<Decided>) {
        (self.entry, self.events, self.decided)
    }
}

/// Index of the event that a receipt names.
fn main_index(command: &Command, answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Done(_) if matches!(command, Command::Expire) => None,
        Answer::Done(done) => Some(done.index),
        Answer::Decided(decision) => Some(decision.call.0),
        Answer::Refused(_) => None,
    }
}

/// The receipt of an answer that was given before.
fn repeated(answer: &Answer, main: Option<u64>) -> Option<Receipt> {
    let link = match answer {
        Answer::Done(done) => done.repeats,
        Answer::Decided(decision) => decision.repeats,
        Answer::Refused(_) => None,
    };
    Some(Receipt { index: main?, link: link? })
}
