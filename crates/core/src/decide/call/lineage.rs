//! What a grant rests on, at a call: itself and all that it was delegated from.

use super::{Party, PolicySays, alive, covered, policies_for};
use crate::command::{Authorize, Subject};
use crate::event::{DenialCode, Issuance, Selector};
use crate::id::GrantId;
use crate::state::{Covered, End, Grant, Holder, State};
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

/// Whether a grant and each that it was delegated from goes as far as policy goes now: for the
/// caller, and for each who gave it on.
pub(super) fn narrowed(
    state: &State,
    policy: &PolicySays,
    ask: &Authorize,
    id: GrantId,
    now: Time,
) -> Result<(), DenialCode> {
    let mut line = state.grants().lineage(id).filter_map(|(_, grant)| grant);
    line.try_for_each(|grant| narrowed_alone(policy, grant, now))?;
    for ancestor in ancestors(state, id) {
        let policy = policies_for(state, &by_holder(ask, ancestor), now)?;
        narrowed_alone(&policy, ancestor, now)?;
    }
    Ok(())
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
    let subject = match &grant.holder {
        Holder::Agent(agent) => Subject::Agent(agent.clone()),
        Holder::Owner(owner) => Subject::Person(owner.clone()),
    };
    Authorize { subject, task: grant.task, verdicts: None, ..ask.clone() }
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
        all.extend(ancestor.task.map(Selector::Task));
        match &ancestor.holder {
            Holder::Agent(agent) => all.push(Selector::Agent(agent.clone())),
            Holder::Owner(_) => {}
        }
    }
    all
}

/// Whether a grant or one that it was delegated from was handed back, or its task was closed, or its
/// holder may not act any more.
pub(super) fn is_handed_back(state: &State, id: GrantId, now: Time) -> bool {
    let mut line = state.grants().lineage(id).filter_map(|(_, grant)| grant);
    line.any(|grant| {
        let is_closed = grant.task.is_some_and(|task| !state.tasks().contains_key(&task));
        grant.ended == Some(End::Returned) || is_closed || !is_holder_alive(state, grant, now)
    })
}

fn is_holder_alive(state: &State, grant: &Grant, now: Time) -> bool {
    match &grant.holder {
        Holder::Agent(id) => state.agents().get(id).is_some_and(|agent| alive(agent, now).is_ok()),
        Holder::Owner(_) => true,
    }
}
