//! A caller's own id: a quarter of an hour long, the same call gets its first allow again while
//! that is still good, and another command nothing.

use bailiwick_core::command::{Authorize, Submission};
use bailiwick_core::event::{CallAuthorized, DenialCode, Fact, Recorded, RequestKey};
use bailiwick_core::id::CallId;
use bailiwick_core::time::Time;

use super::evaluator::{Answer, Denial, Naive, later};

/// In milliseconds: how long an answer is remembered and an allow may be repeated; how long a call's
/// outcome is awaited, if its enforcement point will report one and if not.
const REMEMBERED: u64 = 900_000;
const REPEATED: u64 = 60_000;
const AWAITED: u64 = 86_400_000;
const AWAITED_UNREPORTED: u64 = 60_000;

impl Naive {
    pub(super) fn repeats(&self, by: &Submission, ask: &Authorize, now: Time) -> Option<Answer> {
        let key = by.request.as_ref()?;
        let first = self.answered(by, key, now).filter(|first| is_same(first, key))?;
        let Fact::CallAuthorized(fact) = &first.event.fact else { return None };
        self.is_repeatable(first, fact, ask, now).ok()?;
        Some(Answer::Repeated {
            call: first.place.index,
            grant: fact.grant,
            expires_at: fact.expires_at.0,
            uses_left: fact.uses_left,
        })
    }

    /// Whether the id was not used, or for the same call and that was denied.
    pub(super) fn id_is_free(
        &self,
        by: &Submission,
        ask: &Authorize,
        now: Time,
    ) -> Result<(), Denial> {
        let Some(key) = &by.request else { return Ok(()) };
        let Some(first) = self.answered(by, key, now) else { return Ok(()) };
        if !is_same(first, key) {
            return Err(DenialCode::IdReused.into());
        }
        match &first.event.fact {
            Fact::CallAuthorized(fact) => self.is_repeatable(first, fact, ask, now),
            _ => Ok(()),
        }
    }

    /// The event that answers an id: the first, a later one for the same command where that is its
    /// decision. A denial stands for the id as long as no other command used it and none allowed.
    fn answered(&self, by: &Submission, key: &RequestKey, now: Time) -> Option<&Recorded> {
        let is_fresh = |first: &&Recorded, at: u64| at < later(first.place.time.0, REMEMBERED);
        let mut answer: Option<&Recorded> = None;
        for recorded in &self.facts.keyed {
            let about = &recorded.event.about;
            if about.actor != by.actor || about.request.as_ref().is_none_or(|r| r.id != key.id) {
                continue;
            }
            answer = answer.filter(|first| is_fresh(first, recorded.place.time.0));
            let stays = answer.is_some_and(|first| {
                let same = about.request.as_ref().is_some_and(|request| is_same(first, request));
                let allows = matches!(first.event.fact, Fact::CallAuthorized(_));
                match &recorded.event.fact {
                    Fact::CallDenied(_) => !same || allows,
                    Fact::CallAuthorized(_) | Fact::GrantDenied(_) => false,
                    _ => same,
                }
            });
            if !stays {
                answer = Some(recorded);
            }
        }
        answer.filter(|first| is_fresh(first, now.0))
    }

    /// Whether an allowed call may be allowed once more: it has not ended, it would be permitted
    /// now, nobody took back what it used, and it was a short while ago.
    fn is_repeatable(
        &self,
        first: &Recorded,
        fact: &CallAuthorized,
        ask: &Authorize,
        now: Time,
    ) -> Result<(), Denial> {
        if !self.is_awaited(first, fact) {
            return Err(DenialCode::IdReused.into());
        }
        let (party, _) = self.permitted(ask, now)?;
        let returned = self
            .grant(fact.grant)
            .is_some_and(|grant| grant.returned.is_some() && !self.is_forgotten(&grant));
        // What the used grant came from is known as long as the grant itself is.
        let known = self.grant(fact.grant).filter(|grant| !self.is_forgotten(grant));
        let ancestors = known.map_or_else(Vec::new, |grant| self.known_ancestors(grant.id));
        let gone = ancestors.iter().any(|ancestor| {
            ancestor.returned.is_some()
                || self.is_task_closed(ancestor.fact)
                || !self.may_act(ancestor.fact, now)
                || self.is_taken_back_of(ancestor, ask)
        });
        if gone {
            self.meet("ancestor", "gone when the call came again");
        }
        if returned || gone || self.is_call_taken_back(fact.grant, ask, party.owner) {
            return Err(DenialCode::GrantRevoked.into());
        }
        for ancestor in &ancestors {
            let no = self.asked_of_giver(ancestor, ask, now).err();
            // Which of the giver's policies said so is the giver's concern.
            if let Some(code) = no.and_then(|no| no.code) {
                return Err(code.into());
            }
        }
        if now >= fact.expires_at {
            Err(DenialCode::GrantExpired.into())
        } else if now.0 >= later(first.place.time.0, REPEATED) {
            Err(DenialCode::IdReused.into())
        } else {
            Ok(())
        }
    }

    /// Whether the outcome of a call is awaited: it was not reported, and no call that came after
    /// its time made room.
    fn is_awaited(&self, call: &Recorded, fact: &CallAuthorized) -> bool {
        let id = CallId(call.place.index);
        let is_finished =
            self.facts.finished.iter().any(
                |recorded| matches!(&recorded.event.fact, Fact::CallFinished(f) if f.call == id),
            );
        let age = if fact.finishes { AWAITED } else { AWAITED_UNREPORTED };
        let over = later(call.place.time.0, age);
        let made_room = self.facts.allowed.iter().any(|recorded| {
            let same = matches!(&recorded.event.fact,
                Fact::CallAuthorized(f) if f.finishes == fact.finishes);
            same && recorded.place.time.0 >= over
        });
        !is_finished && !made_room
    }
}

fn is_same(first: &Recorded, key: &RequestKey) -> bool {
    first.event.about.request.as_ref().is_some_and(|request| request.digest == key.digest)
}
