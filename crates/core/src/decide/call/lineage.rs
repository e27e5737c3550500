//! What a grant rests on, at a call: itself and all that it was delegated from.

use super::{Party, PolicySays, alive, covered, policies_for};
use crate::command::{Authorize, Subject, Told};
use crate::event::{DenialCode, Issuance, Selector};
use crate::id::GrantId;
use crate::properties::Properties;
use crate::state::{Covered, End, Grant, State};
use crate::time::Time;

/// Whether a watermark on what the call touches came after the grant, or after one that it was
/// delegated from: what is taken back does not come back by giving it on. Whom the call itself
/// names counts for the caller's own grant, and each holder for what that one held.
pub(super) fn is_taken_back(
    state: &State,
    party: &Party<'_>,
    ask: &Authorize,
    id: GrantId,
) -> bool {
    let marks = state.marks();
    if marks.ended_since(id.0, covered(party, ask, Some(id))).is_some() {
        return true;
    }
    state.grants().lineage(id).skip(1).any(|(id, ancestor)| {
        ancestor.is_none_or(|ancestor| {
            let (tool, resource) = (ask.tool.as_ref(), &ask.resource);
            let named = Covered { tool, resource, ..ancestor.covered(id) };
            marks.ended_since(id.0, named).is_some()
        })
    })
}

/// What policy says of a call to those who gave a grant on: asked once for each of them, however many
/// grants of theirs the call could use.
pub(super) struct Givers<'a> {
    state: &'a State,
    ask: &'a Authorize,
    now: Time,
    asked: Vec<(&'a Grant, Result<PolicySays, DenialCode>)>,
}

impl<'a> Givers<'a> {
    pub(super) const fn new(state: &'a State, ask: &'a Authorize, now: Time) -> Self {
        Self { state, ask, now, asked: Vec::new() }
    }

    /// Whether a grant and each that it was delegated from goes as far as policy goes now: for the
    /// caller, and for each who gave it on.
    pub(super) fn narrow(&mut self, policy: &PolicySays, id: GrantId) -> Result<(), DenialCode> {
        let mut line = self.state.grants().lineage(id).filter_map(|(_, grant)| grant);
        line.try_for_each(|grant| narrowed_alone(policy, grant, self.now))?;
        ancestors(self.state, id).try_for_each(|ancestor| self.narrow_giver(ancestor))
    }

    fn narrow_giver(&mut self, giver: &'a Grant) -> Result<(), DenialCode> {
        let is_same = |other: &Grant| {
            (&other.agent, &other.owner, other.task()) == (&giver.agent, &giver.owner, giver.task())
        };
        if !self.asked.iter().any(|(other, _)| is_same(other)) {
            let says = policies_for(self.state, &by_holder(self.ask, giver), self.now);
            self.asked.push((giver, says));
        }
        match self.asked.iter().find(|(other, _)| is_same(other)) {
            Some((_, Ok(policy))) => narrowed_alone(policy, giver, self.now),
            Some((_, Err(code))) => Err(*code),
            None => Err(DenialCode::Forbidden),
        }
    }
}

/// Whether each who gave a grant on may make the call, as far as standing, allowlist and policy go:
/// nobody gives on what is not theirs to do.
pub(super) fn givers_may(
    state: &State,
    ask: &Authorize,
    id: GrantId,
    now: Time,
) -> Result<(), DenialCode> {
    ancestors(state, id)
        .try_for_each(|ancestor| policies_for(state, &by_holder(ask, ancestor), now).map(|_| ()))
}

fn ancestors(state: &State, id: GrantId) -> impl Iterator<Item = &Grant> {
    state.grants().lineage(id).skip(1).filter_map(|(_, grant)| grant)
}

/// The same call, made by the holder of a grant in the task that it was given for.
fn by_holder(ask: &Authorize, grant: &Grant) -> Authorize {
    let subject = match &grant.agent {
        Some(agent) => Subject::Agent(agent.clone()),
        None => Subject::Person(grant.owner.clone()),
    };
    // What is told of the caller is not told of who gave the grant on.
    let told =
        ask.told.clone().map(|told| Box::new(Told { subject: Properties::default(), ..*told }));
    Authorize { subject, task: grant.task(), told, verdicts: None, ..ask.clone() }
}

/// A grant that policy issued goes no further than policy goes for this very call, now. What was
/// asked for without naming the tool, or before policy was tightened, may have got more; what people
/// approved meets the rules that they met and no others. What an operator issued was decided by a
/// human; what its holder gave on was not. Where the glass has to be broken, only what was issued for
/// that is good, or what people approved; and elsewhere it is good for nothing.
fn narrowed_alone(policy: &PolicySays, grant: &Grant, now: Time) -> Result<(), DenialCode> {
    let is_needed = policy.restrictions.breakglass;
    let fits = match grant.issuance {
        Issuance::BreakGlass => is_needed,
        Issuance::Approved => true,
        Issuance::JustInTime | Issuance::Policy | Issuance::Operator | Issuance::Delegated => {
            !is_needed
        }
    };
    if !fits {
        return Err(DenialCode::NoGrant);
    }
    if grant.issuance == Issuance::Operator {
        return Ok(());
    }
    let asked = &policy.restrictions;
    if !grant.is_approved(&asked.approvals) {
        Err(DenialCode::ApprovalRequired)
    } else if asked.ttl.is_some_and(|ttl| now >= grant.not_before.after(ttl)) {
        Err(DenialCode::GrantExpired)
    } else if asked.max_uses.is_some_and(|uses| grant.uses >= uses) {
        Err(DenialCode::GrantExhausted)
    } else {
        Ok(())
    }
}

/// Uses left after this one: of the grant, and of each that it was delegated from.
pub(super) fn uses_left(state: &State, id: GrantId) -> Vec<(GrantId, u32)> {
    let line = state.grants().lineage(id).filter_map(|(id, grant)| Some((id, grant?)));
    line.map(|(id, grant)| (id, grant.max_uses.saturating_sub(grant.uses).saturating_sub(1)))
        .collect()
}

/// What a revocation may name to end a grant, beside what it names about the call: each that it was
/// delegated from, with its holder and task.
pub(super) fn rests_on(state: &State, id: GrantId) -> Vec<Selector> {
    let mut all = Vec::new();
    let ancestors = state.grants().lineage(id).skip(1);
    for (id, ancestor) in ancestors.filter_map(|(id, ancestor)| Some((id, ancestor?))) {
        all.push(Selector::Grant(id));
        all.extend(ancestor.task().map(Selector::Task));
        all.extend(ancestor.agent.clone().map(Selector::Agent));
    }
    all
}

/// Whether a grant or one that it was delegated from was handed back, or its task was closed, or its
/// holder may not act any more.
pub(super) fn is_handed_back(state: &State, id: GrantId, now: Time) -> bool {
    let mut line = state.grants().lineage(id).filter_map(|(_, grant)| grant);
    line.any(|grant| {
        let is_closed = grant.task().is_some_and(|task| !state.tasks().contains_key(&task));
        grant.ended == Some(End::Returned) || is_closed || !is_holder_alive(state, grant, now)
    })
}

fn is_holder_alive(state: &State, grant: &Grant, now: Time) -> bool {
    grant
        .agent
        .as_ref()
        .is_none_or(|id| state.agents().get(id).is_some_and(|agent| alive(agent, now).is_ok()))
}
