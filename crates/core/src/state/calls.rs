//! Authorized calls whose outcome is awaited.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::event::{CallAuthorized, Place};
use crate::id::{AgentId, CallId, GrantId};
use crate::time::{Span, Time};

/// How long an outcome is awaited.
pub(super) const AWAITED: Span = Span::days(1);
/// How many outcomes are awaited at once; the oldest give way.
pub(super) const AWAITED_MAX: usize = 262_144;

/// A call that was authorized and has not ended.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct OpenCall {
    /// Who called; none when an owner did in person.
    pub agent: Option<AgentId>,
    /// The grant that was used.
    pub grant: GrantId,
    /// Until when the grant lives.
    pub expires_at: Time,
    /// Uses left after this call.
    pub uses_left: u32,
    /// When it was authorized.
    pub since: Time,
    /// Whether the enforcement point will report an outcome.
    pub finishes: bool,
}

/// All of them, by id.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub(super) struct OpenCalls {
    calls: BTreeMap<CallId, OpenCall>,
    /// Calls nobody reports on, kept only to repeat an answer.
    unreported: BTreeMap<CallId, OpenCall>,
}

/// How many calls that nobody reports on are kept to repeat an answer, and how long.
const UNREPORTED_MAX: usize = 65_536;
const UNREPORTED: Span = Span::minutes(1);

impl OpenCalls {
    pub(super) fn open(&mut self, place: Place, fact: &CallAuthorized) {
        let call = OpenCall {
            agent: fact.call.agent.clone(),
            grant: fact.grant,
            expires_at: fact.expires_at,
            uses_left: fact.uses_left,
            since: place.time,
            finishes: fact.finishes,
        };
        let (calls, max, age) = if fact.finishes {
            (&mut self.calls, AWAITED_MAX, AWAITED)
        } else {
            (&mut self.unreported, UNREPORTED_MAX, UNREPORTED)
        };
        calls.insert(CallId(place.index), call);
        while let Some(first) = calls.first_entry() {
            if calls_fit(first.get().since, age, place.time) && calls.len() <= max {
                break;
            }
            calls.pop_first();
        }
    }

    pub(super) fn close(&mut self, id: CallId) {
        if self.calls.remove(&id).is_none() {
            self.unreported.remove(&id);
        }
    }

    /// Calls whose outcome is awaited, with an id above `after`, in order.
    pub(super) fn after(&self, after: Option<CallId>) -> impl Iterator<Item = (CallId, &OpenCall)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.calls.range((from, Bound::Unbounded)).map(|(id, call)| (*id, call))
    }

    pub(super) fn get(&self, id: CallId) -> Option<&OpenCall> {
        self.calls.get(&id).or_else(|| self.unreported.get(&id))
    }
}

fn calls_fit(since: Time, age: Span, now: Time) -> bool {
    since.after(age) > now
}
