//! Everything at one moment, and what can happen next: one engine, its writer, two gateways, and what
//! is on its way between them. Time is in ticks of a millisecond.

use bailiwick_core::enforce::{Monotonic, Nonce};
use bailiwick_core::time::Span;

use super::shelf::Slot;

pub(super) const TICK: u64 = 1_000_000;
pub(super) const LEASE: Span = Span(2);
pub(super) const SKEW: Span = Span(1);
/// When a run begins: the first writer began at 0 and has waited for points it does not know.
pub(super) const START: u64 = 2 * LEASE.0 + SKEW.0;
pub(super) const GATEWAYS: usize = 2;
pub(super) const GRANTS: usize = 2;

/// What may still happen: a bound on each kind of step, over both gateways together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Limits {
    pub(super) ticks: u64,
    pub(super) pings: u64,
    pub(super) calls: u64,
    pub(super) revocations: u64,
    /// How often the writer is overtaken by another.
    pub(super) writers: u64,
    /// How often a stream is resumed and refused.
    pub(super) misses: u64,
    /// How many ticks the clocks of gateways lose.
    pub(super) lost_ticks: u64,
    /// Whether a revocation is in force before it is on the ledger.
    pub(super) in_force_first: bool,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A tick passes; one gateway's clock may lose it.
    Tick { lost_by: Option<usize> },
    /// A gateway sends a ping.
    Ping(usize),
    /// The writer answers a gateway's ping.
    Answer(usize, Nonce),
    /// The writer that was overtaken answers it.
    AnswerLate(usize, Nonce),
    /// The answer comes in.
    Hear(usize, Nonce),
    /// An item comes in.
    Item(usize, u64),
    /// Items are missing and will not come.
    Miss(usize),
    /// A new stream says where the feed stands, or stood.
    Begin(usize, u64),
    /// A gateway asks for a call under a grant.
    Ask(usize, usize),
    /// The engine authorizes it.
    Authorize(usize),
    /// The gateway starts it.
    Use(usize),
    /// A grant is revoked, in force at once.
    Revoke(usize),
    /// What is in force is on the ledger.
    Record,
    /// Another writer overtakes the one there is.
    Overtake,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Revocation {
    pub(super) grant: usize,
    pub(super) asked: u64,
    /// Where it is on the ledger; none while it is only in force.
    pub(super) index: Option<u64>,
    /// Whether somebody was told that it is enforced.
    pub(super) enforced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Message {
    pub(super) nonce: Nonce,
    /// When the ping was sent, by the gateway's clock.
    pub(super) sent: Monotonic,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Ping { applied: Option<u64> },
    Pong { number: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) grant: usize,
    pub(super) asked: Monotonic,
    /// Where its authorization is on the ledger. The receipt is on its way from then on.
    pub(super) index: Option<u64>,
    pub(super) started: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Gateway {
    pub(super) guard: Slot,
    /// In the order of nonces; what is lost stays here for good.
    pub(super) messages: Vec<Message>,
    pub(super) call: Option<Call>,
    pub(super) pings: u64,
    /// How many ticks its clock has lost.
    pub(super) lost: u64,
    /// How often it began anew: a reading before that is less than one after, in the same tick too.
    pub(super) begun: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Overtaken {
    pub(super) number: u64,
    pub(super) answers_until: u64,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct World {
    // What differs most comes first: worlds are compared more often than anything else is done.
    pub(super) gateways: Vec<Gateway>,
    pub(super) points: Slot,
    /// The ones on the ledger are first, and their places are their numbers.
    pub(super) revocations: Vec<Revocation>,
    pub(super) now: u64,
    pub(super) index: u64,
    pub(super) overtaken: Option<Overtaken>,
    pub(super) left: Limits,
}

impl World {
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.left.ticks > 0 {
            steps.push(Step::Tick { lost_by: None });
            if self.left.lost_ticks > 0 {
                let gateways = (0..GATEWAYS).filter(|one| self.matters(*one));
                steps.extend(gateways.map(|one| Step::Tick { lost_by: Some(one) }));
            }
        }
        let records = self.records();
        if records {
            let free = self.grants().filter(|grant| !self.is_revoked(*grant));
            steps.extend(free.filter(|_| self.left.revocations > 0).map(Step::Revoke));
            steps.extend((self.left.writers > 0).then_some(Step::Overtake));
        } else {
            steps.push(Step::Record);
        }
        for gateway in 0..GATEWAYS {
            self.steps_of(gateway, records, &mut steps);
        }
        steps
    }

    /// The grants to choose among: they are alike until one of them is chosen.
    pub(super) fn grants(&self) -> std::ops::Range<usize> {
        let called = self.gateways.iter().any(|gateway| gateway.call.is_some());
        if called || !self.revocations.is_empty() { 0..GRANTS } else { 0..1 }
    }

    pub(super) fn steps_of(&self, gateway: usize, records: bool, steps: &mut Vec<Step>) {
        let one = &self.gateways[gateway];
        // Of a gateway without a call that matters only what it acknowledges is of interest.
        let matters = self.matters(gateway);
        let pings = self.left.pings > 0 && (matters || !self.is_settled());
        steps.extend(pings.then_some(Step::Ping(gateway)));
        steps.extend((self.left.misses > 0 && matters).then_some(Step::Miss(gateway)));
        if matters || pings {
            steps.extend((1..=self.number()).map(|number| Step::Item(gateway, number)));
        }
        steps.extend((0..=self.number()).map(|number| Step::Begin(gateway, number)));
        for message in &one.messages {
            match message.what {
                What::Ping { .. } => {
                    steps.push(Step::Answer(gateway, message.nonce));
                    let answers = self.overtaken.is_some_and(|old| self.now <= old.answers_until);
                    steps.extend(answers.then_some(Step::AnswerLate(gateway, message.nonce)));
                }
                What::Pong { .. } => steps.push(Step::Hear(gateway, message.nonce)),
            }
        }
        match one.call {
            None if self.left.calls > 0 => {
                steps.extend(self.grants().map(|grant| Step::Ask(gateway, grant)));
            }
            Some(Call { index: None, grant, .. }) if records && !self.is_revoked(grant) => {
                steps.push(Step::Authorize(gateway));
            }
            Some(Call { index: Some(_), started: false, .. }) => steps.push(Step::Use(gateway)),
            None | Some(_) => {}
        }
    }

    pub(super) fn record(&mut self) {
        if let Some(first) = self.revocations.iter_mut().find(|one| one.index.is_none()) {
            self.index += 1;
            first.index = Some(self.index);
        }
    }

    /// Whether the log can be reached: if not, something waits to be recorded.
    pub(super) fn records(&self) -> bool {
        self.revocations.iter().all(|one| one.index.is_some())
    }

    pub(super) fn is_revoked(&self, grant: usize) -> bool {
        self.revocations.iter().any(|one| one.grant == grant)
    }

    /// Where the feed stands.
    pub(super) fn number(&self) -> u64 {
        self.revocations.iter().filter(|one| one.index.is_some()).count() as u64
    }

    /// Whether no call is left that a revocation could still meet.
    pub(super) fn is_over(&self) -> bool {
        self.left.calls == 0 && (0..GATEWAYS).all(|gateway| !self.matters(gateway))
    }

    /// Whether nobody will be told any more that something is enforced.
    pub(super) fn is_settled(&self) -> bool {
        self.left.revocations == 0 && self.revocations.iter().all(|one| one.enforced)
    }

    /// Whether the gateway has a call, or may have one, that a revocation may meet. What was not
    /// started within a lease never is, as the guard's own tests say.
    pub(super) fn matters(&self, gateway: usize) -> bool {
        let Some(call) = self.gateways[gateway].call else { return self.left.calls > 0 };
        let in_time = self.reading(gateway) < call.asked.after(LEASE);
        let is_revoked = self.is_revoked(call.grant);
        let meets = is_revoked || self.left.revocations > 0;
        meets && (call.started || in_time && (call.index.is_some() || !is_revoked))
    }

    /// What the gateway's clock says.
    pub(super) fn reading(&self, gateway: usize) -> Monotonic {
        let one = &self.gateways[gateway];
        Monotonic((self.now - one.lost) * TICK + one.begun)
    }
}

impl Gateway {
    pub(super) fn message(&mut self, nonce: Nonce) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.nonce == nonce)
    }
}

pub(super) const fn monotonic(tick: u64) -> Monotonic {
    Monotonic(tick * TICK)
}
