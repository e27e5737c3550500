//! Revocations in force before they are durable. They outlive a state that is rebuilt, no call that
//! they cover is answered with an allow, and they are submitted until they are on the ledger.

use bailiwick_core::command::{
    Allowed, Answer, Authorize, Command, RefusalCode, Subject, Submission,
};
use bailiwick_core::event::{Actor, Selector};
use bailiwick_core::state::{Covered, State};

use super::queue::Waiting;

/// Names one revocation in force. Two may have the same selector and still differ in what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InForce(u64);

#[derive(Debug)]
struct Kept {
    id: InForce,
    selector: Selector,
    submission: Submission,
}

/// All of them, in the order in which they were taken.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    kept: Vec<Kept>,
    taken: u64,
}

impl Overlay {
    /// Takes a revocation in force. None when it is something else.
    pub(super) fn keep(&mut self, submission: &Submission) -> Option<InForce> {
        let Command::Revoke(revoke) = &submission.command else { return None };
        self.taken += 1;
        let (id, selector) = (InForce(self.taken), revoke.selector.clone());
        self.kept.push(Kept { id, selector, submission: submission.clone() });
        Some(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What is in force, to be shown.
    pub(super) fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.kept.iter().map(|kept| &kept.selector)
    }

    /// The commands that record them.
    pub(super) fn commands(&self) -> impl Iterator<Item = Waiting> {
        self.kept.iter().map(|kept| Waiting {
            submission: kept.submission.clone(),
            reply: None,
            in_force: Some(kept.id),
        })
    }

    /// One of them was answered: it is on the ledger, or it cannot get there as it is.
    pub(super) fn settle(&mut self, id: InForce, answer: &Answer) {
        let Some(at) = self.kept.iter().position(|kept| kept.id == id) else { return };
        let kept = &mut self.kept[at];
        match answer {
            Answer::Done(_) => {}
            // Whoever revoked could do so at the time, and was told that it is in force. What came
            // in between, the end of the credential say, does not undo it.
            Answer::Refused(refusal)
                if refusal.code != RefusalCode::NotFound
                    && kept.submission.actor != Actor::System =>
            {
                let (selector, actor) = (&kept.selector, &kept.submission.actor);
                tracing::warn!(%selector, ?actor, %refusal.message, "recorded by the system instead");
                kept.submission.actor = Actor::System;
                kept.submission.request = None;
                return;
            }
            Answer::Refused(_) | Answer::Decided(_) => {
                let selector = &kept.selector;
                tracing::error!(%selector, ?answer, "a revocation in force cannot be recorded");
            }
        }
        self.kept.remove(at);
    }

    /// Whether a call that is about to be allowed must not be.
    pub(super) fn covers(&self, state: &State, call: &Authorize, allowed: &Allowed) -> bool {
        if self.kept.is_empty() {
            return false;
        }
        let (agent, owner) = match &call.subject {
            Subject::Agent(agent) => {
                let Some(known) = state.agents().get(agent) else { return true };
                (Some(agent), &known.owner)
            }
            Subject::Person(owner) => (None, owner),
        };
        let asked = Covered {
            grant: Some(allowed.grant),
            agent,
            owner,
            task: call.task,
            tool: call.tool.as_ref(),
            resource: &call.resource,
        };
        let Some(grant) = state.grants().get(allowed.grant) else { return true };
        let granted = grant.covered(allowed.grant);
        self.selectors().any(|named| asked.is_named_by(named) || granted.is_named_by(named))
    }
}
