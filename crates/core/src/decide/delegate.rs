//! Delegation: the holder of a grant gives a part of it to another agent of the same owner.
//!
//! The part is narrower in every dimension: the same action and tool, a scope within, an end no
//! later, no more uses than are left, every constraint kept. It rests on all that it came from:
//! a use of it is a use of each of those, and it is dead as soon as one of them is. At each use policy
//! and allowlist are asked for the new holder and the owner, as for any grant, and for everyone who
//! gave it on: what an agent may not do itself it lets no other do.

use super::call::{self, JIT_TTL, JIT_USES};
use super::{Draft, grant, grant_id, refuse};
use crate::arguments::constraints;
use crate::command::{Answer, DelegateGrant, Done, RefusalCode};
use crate::event::{Constraint, DenialCode, Fact, GrantIssued, Issuance, Scope};
use crate::id::{AgentId, OwnerId, TaskId};
use crate::state::{Covered, Grant, Holder, State};
use crate::time::Time;

/// How many delegations a grant may be away from the one that nobody delegated.
pub const DEPTH_MAX: usize = 8;
/// How many grants may be delegated from one, by its holder and by those who hold a part of it.
pub const DELEGATIONS_MAX: u32 = 256;

/// What is to be given, checked.
struct Part {
    scope: Scope,
    not_before: Time,
    expires_at: Time,
    max_uses: u32,
    constraints: Vec<Constraint>,
}

pub(super) fn delegate(draft: &mut Draft<'_>, ask: &DelegateGrant) -> Answer {
    let start = draft.next_time();
    let found = parent(draft.state, ask, draft.now).and_then(|parent| {
        let owner = receiver(draft.state, ask, parent, draft.now)?;
        Ok((parent, owner, part(draft.state, ask, parent, start)?))
    });
    let (parent, owner, part) = match found {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let suspended = draft.state.marks().suspension(Covered {
        grant: None,
        agent: Some(&ask.to),
        owner: &owner,
        task: ask.task,
        tool: parent.tool.as_ref(),
        resource: part.scope.root(),
    });
    if let Some(cause) = suspended {
        let message = format!("it is suspended by the revocation at {cause}: lift that first");
        return refuse(RefusalCode::WrongState, message);
    }
    let fact = Fact::GrantIssued(GrantIssued {
        agent: Some(ask.to.clone()),
        owner,
        task: ask.task,
        tool: parent.tool.clone(),
        action: parent.action.clone(),
        scope: part.scope,
        not_before: part.not_before,
        expires_at: part.expires_at,
        max_uses: part.max_uses,
        issuance: Issuance::Delegated,
        request: None,
        policies: Vec::new(),
        policy_hash: draft.state.policy_hash(),
        justification: ask.justification.clone(),
        constraints: part.constraints,
        parent: Some(ask.parent),
        approval: None,
        shown: None,
    });
    let kind = fact.kind();
    let index = draft.record_because(ask.parent.0, fact);
    Answer::Done(Done { kind, index, grant: Some(grant_id(index)), repeats: None })
}

/// The grant that is to be delegated, which is good, may be, and whose holder may act.
fn parent<'a>(state: &'a State, ask: &DelegateGrant, now: Time) -> Result<&'a Grant, Answer> {
    let wrong = |message: String| Err(refuse(RefusalCode::WrongState, message));
    let id = ask.parent;
    let Some(parent) = state.grants().get(id) else {
        return Err(refuse(RefusalCode::NotFound, format!("`{id}` is not known")));
    };
    match state.check_grant(id, parent, now) {
        Ok(()) | Err(DenialCode::NotYetValid) => {}
        Err(code) => return wrong(format!("`{id}` has ended already: {code}")),
    }
    let Holder::Agent(holder) = &parent.holder else {
        return wrong(format!("`{id}` is held by an owner in person: agents delegate to agents"));
    };
    if let Some(Err(code)) = state.agents().get(holder).map(|agent| call::alive(agent, now)) {
        return wrong(format!("agent `{holder}` may not act: {code}"));
    }
    // What a human was shown, or what broke the glass, was for this holder and nobody else.
    let is_personal = match parent.issuance {
        Issuance::Approved | Issuance::BreakGlass => true,
        Issuance::JustInTime | Issuance::Policy | Issuance::Operator | Issuance::Delegated => {
            parent.bounds.as_ref().is_some_and(|b| b.approval.is_some() || b.shown.is_some())
        }
    };
    if is_personal {
        return wrong(format!("`{id}` was given to its holder alone and cannot be delegated"));
    }
    let depth = state.grants().lineage(id).count();
    if depth > DEPTH_MAX {
        let message = format!("a grant is at most {DEPTH_MAX} delegations away from its root");
        return Err(refuse(RefusalCode::LimitReached, message));
    }
    let mut line = state.grants().lineage(id).filter_map(|(_, grant)| grant);
    if line.any(|grant| grant.delegated() >= DELEGATIONS_MAX) {
        let message = format!("at most {DELEGATIONS_MAX} grants are delegated from one");
        return Err(refuse(RefusalCode::LimitReached, message));
    }
    Ok(parent)
}

/// The owner, of the agent that is to hold the part as of the one that holds the whole.
fn receiver(
    state: &State,
    ask: &DelegateGrant,
    parent: &Grant,
    now: Time,
) -> Result<OwnerId, Answer> {
    let to: &AgentId = &ask.to;
    if parent.holder == Holder::Agent(to.clone()) {
        let message = format!("agent `{to}` holds `{}` itself", ask.parent);
        return Err(refuse(RefusalCode::OutOfRange, message));
    }
    let owner = grant::holds(state, to, ask.task, now)?;
    if owner != parent.owner {
        let message = format!("agent `{to}` is not one of owner `{}`", parent.owner);
        return Err(refuse(RefusalCode::OutOfRange, message));
    }
    let bound: Option<TaskId> = parent.task.filter(|_| ask.task.is_none());
    if let Some(task) = bound {
        let message = format!("`{}` is for `{task}` only: name a task of agent `{to}`", ask.parent);
        return Err(refuse(RefusalCode::OutOfRange, message));
    }
    Ok(owner)
}

/// The part itself. What was asked for and is wider than the parent is refused, not cut.
fn part(state: &State, ask: &DelegateGrant, parent: &Grant, start: Time) -> Result<Part, Answer> {
    let id = ask.parent;
    let wider = |message: String| Err(refuse(RefusalCode::OutOfRange, message));
    let constraints = constraints::joined(parent.constraints(), &ask.constraints);
    grant::check_limits(ask.ttl, ask.max_uses, &constraints)?;
    let scope = ask.scope.clone().unwrap_or_else(|| parent.scope.clone());
    if !grant::is_within(&scope, &parent.scope) {
        return wider(format!("`{scope}` is not within `{}` of `{id}`", parent.scope));
    }
    let not_before = start.max(parent.not_before);
    let left = parent.expires_at.since(not_before);
    if ask.ttl.is_some_and(|ttl| ttl > left) {
        return wider(format!("`{id}` has {left} left: ttl is more than that"));
    }
    let expires_at = not_before.after(ask.ttl.unwrap_or(JIT_TTL)).min(parent.expires_at);
    let uses_left = uses_left(state, ask);
    if ask.max_uses.is_some_and(|uses| uses > uses_left) {
        return wider(format!("`{id}` has {uses_left} uses left: max_uses is more than that"));
    }
    let max_uses = ask.max_uses.unwrap_or(JIT_USES.min(uses_left));
    Ok(Part { scope, not_before, expires_at, max_uses, constraints })
}

/// Uses left of the parent: of the one that has the fewest among all that it rests on.
fn uses_left(state: &State, ask: &DelegateGrant) -> u32 {
    let line = state.grants().lineage(ask.parent).filter_map(|(_, grant)| grant);
    line.map(|grant| grant.max_uses.saturating_sub(grant.uses)).min().unwrap_or(0)
}
