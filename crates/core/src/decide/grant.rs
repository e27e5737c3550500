//! Grants: asked for, issued, turned down, handed back, run out.

use std::collections::BTreeMap;

use super::approval::{self, Application};
use super::{Draft, EXPIRED_EACH, call, grant_id, refuse};
use crate::arguments::constraints;
use crate::command::{Answer, Authorize, Done, IssueGrant, RefusalCode, RequestGrant, Subject};
use crate::event::{
    Constraint, DenialCode, Effect, Fact, GrantDenied, GrantEnded, GrantIssued, GrantRequested,
    GrantReturned, Issuance, Scope,
};
use crate::id::{AgentId, GrantId, GrantRequestId, OwnerId, Resource, TaskId, Text};
use crate::state::{Covered, State};
use crate::time::{Span, Time};

/// The longest life a grant may be given.
pub const TTL_MAX: Span = Span::days(30);
/// The most uses a grant may be given.
pub const USES_MAX: u32 = 1_000_000;

/// The most requests of one agent that may wait for an answer.
pub const REQUESTS_EACH_MAX: usize = 100;

/// An agent asks. Where its own policy says `@jit` and the scope is one resource, the grant is
/// issued in the same step; otherwise the request waits for an operator.
pub(super) fn request(draft: &mut Draft<'_>, terms: &RequestGrant) -> Answer {
    let owner = match holder(draft.state, terms, draft.now) {
        Ok(owner) => owner,
        Err(answer) => return answer,
    };
    if let Err(answer) = check_range(terms) {
        return answer;
    }
    let waiting = draft.state.requests().values().filter(|p| p.terms.agent == terms.agent);
    if waiting.count() >= REQUESTS_EACH_MAX {
        let message = format!("{REQUESTS_EACH_MAX} requests of the agent wait for an answer");
        return refuse(RefusalCode::LimitReached, message);
    }
    if suspension(draft.state, terms, &owner).is_some() {
        return turned_down(draft, terms, owner, DenialCode::Suspended);
    }
    let asked_of = as_call(terms, terms.scope.root());
    let policy = match call::policies_for(draft.state, &asked_of, draft.now) {
        Ok(policy) => Some(policy),
        // What holds of a prefix itself says nothing of all that lies below: an operator may.
        Err(_) if matches!(terms.scope, Scope::Within(_)) => None,
        Err(code) => return turned_down(draft, terms, owner, code),
    };
    if let Some(policy) = policy.as_ref().filter(|p| !p.restrictions.approvals.is_empty()) {
        return put_to_people(draft, terms, owner, &asked_of, policy);
    }
    let is_exact = matches!(terms.scope, Scope::Exact(_));
    let index = record_request(draft, terms, owner.clone());
    let mut done = Done { kind: 80, index, grant: None, repeats: None };
    if let Some(policy) = policy.filter(|p| p.just_in_time && is_exact) {
        let most = policy.restrictions.ttl.unwrap_or(call::JIT_TTL);
        let uses = policy.restrictions.max_uses.unwrap_or(call::JIT_USES).min(USES_MAX);
        let not_before = draft.next_time();
        let fact = GrantIssued {
            agent: Some(terms.agent.clone()),
            owner,
            task: terms.task,
            tool: None,
            action: terms.action.clone(),
            scope: terms.scope.clone(),
            not_before,
            expires_at: not_before.after(terms.ttl.unwrap_or(most).min(most)),
            max_uses: terms.max_uses.unwrap_or(uses).min(uses),
            issuance: Issuance::Policy,
            request: Some(GrantRequestId(index)),
            policies: policy.ids,
            policy_hash: draft.state.policy_hash(),
            justification: terms.justification.clone(),
            constraints: terms.constraints.clone(),
            parent: None,
            approval: None,
            shown: None,
        };
        done.grant = Some(grant_id(draft.record_because(index, Fact::GrantIssued(fact))));
    }
    Answer::Done(done)
}

/// A request that people have to approve: it waits for them, and an operator may still answer it.
fn put_to_people(
    draft: &mut Draft<'_>,
    terms: &RequestGrant,
    owner: OwnerId,
    asked_of: &Authorize,
    policy: &call::PolicySays,
) -> Answer {
    let call = call::call_of(draft.state, asked_of, BTreeMap::new());
    let wanted = policy.wanted(terms.ttl, terms.max_uses);
    let what = (terms.scope.clone(), terms.constraints.clone());
    match Application::new(draft, &call, owner.clone(), what, wanted) {
        Ok(application) => {
            let index = record_request(draft, terms, owner);
            application.put(draft, GrantRequestId(index));
            Answer::Done(Done { kind: 80, index, grant: None, repeats: None })
        }
        Err(unasked) if unasked.code == DenialCode::ApprovalDenied => {
            turned_down(draft, terms, owner, unasked.code)
        }
        Err(unasked) if unasked.code == DenialCode::RateLimited => {
            refuse(RefusalCode::LimitReached, unasked.why)
        }
        Err(unasked) => refuse(RefusalCode::WrongState, unasked.why),
    }
}

/// An operator issues. Policy is asked again at every use, for the agent and for its owner, so a
/// grant alone allows nothing that policy does not.
pub(super) fn issue(draft: &mut Draft<'_>, issue: &IssueGrant) -> Answer {
    let terms = &issue.terms;
    let owner = match holder(draft.state, terms, draft.now) {
        Ok(owner) => owner,
        Err(answer) => return answer,
    };
    if let Err(answer) = check_range(terms) {
        return answer;
    }
    if let Some(cause) = suspension(draft.state, terms, &owner) {
        let message = format!("it is suspended by the revocation at {cause}: lift that first");
        return refuse(RefusalCode::WrongState, message);
    }
    if let Some(request) = issue.request
        && let Err(answer) = answers(draft.state, request, terms)
    {
        return answer;
    }
    let start = draft.next_time();
    let not_before = issue.not_before.map_or(start, |given| given.max(start));
    if start.after(TTL_MAX) < not_before {
        return refuse(RefusalCode::OutOfRange, format!("not_before is more than {TTL_MAX} away"));
    }
    let fact = Fact::GrantIssued(GrantIssued {
        agent: Some(terms.agent.clone()),
        owner,
        task: terms.task,
        tool: None,
        action: terms.action.clone(),
        scope: terms.scope.clone(),
        not_before,
        expires_at: not_before.after(terms.ttl.unwrap_or(call::JIT_TTL)),
        max_uses: terms.max_uses.unwrap_or(call::JIT_USES),
        issuance: Issuance::Operator,
        request: issue.request,
        policies: Vec::new(),
        policy_hash: draft.state.policy_hash(),
        justification: terms.justification.clone(),
        constraints: terms.constraints.clone(),
        parent: None,
        approval: None,
        shown: None,
    });
    let kind = fact.kind();
    let index = match issue.request {
        Some(request) => draft.record_because(request.0, fact),
        None => draft.record(fact),
    };
    Answer::Done(Done { kind, index, grant: Some(grant_id(index)), repeats: None })
}

pub(super) fn deny(
    draft: &mut Draft<'_>,
    request: GrantRequestId,
    reason: &Option<Text>,
) -> Answer {
    if !draft.state.requests().contains_key(&request) {
        return refuse(RefusalCode::NotFound, format!("`{request}` waits for no answer"));
    }
    let code = DenialCode::ApprovalDenied;
    let fact = Fact::GrantDenied(GrantDenied { request, code, reason: reason.clone() });
    let kind = fact.kind();
    let index = draft.record_because(request.0, fact);
    Answer::Done(Done { kind, index, grant: None, repeats: None })
}

pub(super) fn give_back(draft: &mut Draft<'_>, grant: GrantId) -> Answer {
    let Some(held) = draft.state.grants().get(grant) else {
        return refuse(RefusalCode::NotFound, format!("`{grant}` is not known"));
    };
    match draft.state.check_grant(grant, held, draft.now) {
        Ok(()) | Err(DenialCode::NotYetValid) => {
            draft.done(Fact::GrantReturned(GrantReturned { grant }))
        }
        Err(code) => {
            refuse(RefusalCode::WrongState, format!("`{grant}` has ended already: {code}"))
        }
    }
}

/// Records grants and approvals whose time is over, a bounded number of each at a time.
pub(super) fn expire(draft: &mut Draft<'_>) -> Answer {
    let state = draft.state;
    let over: Vec<GrantId> =
        state.grants().run_out(state.marks(), draft.now).take(EXPIRED_EACH).collect();
    for grant in over {
        draft.record_by_system(Some(grant.0), Fact::GrantExpired(GrantEnded { grant }));
    }
    approval::expire(draft);
    Answer::Done(Done { kind: 84, index: state.next_index(), grant: None, repeats: None })
}

fn holder(state: &State, terms: &RequestGrant, now: Time) -> Result<OwnerId, Answer> {
    holds(state, &terms.agent, terms.task, now)
}

/// The owner of the agent that is to hold a grant, which must be able to act and own the task.
pub(super) fn holds(
    state: &State,
    id: &AgentId,
    task: Option<TaskId>,
    now: Time,
) -> Result<OwnerId, Answer> {
    let Some(agent) = state.agents().get(id) else {
        let message = format!("agent `{id}` is not registered");
        return Err(refuse(RefusalCode::NotFound, message));
    };
    if let Err(code) = call::alive(agent, now) {
        let message = format!("agent `{id}` may not act: {code}");
        return Err(refuse(RefusalCode::WrongState, message));
    }
    if state.owners().get(&agent.owner).is_none_or(|owner| owner.disabled) {
        let message = format!("owner `{}` is disabled", agent.owner);
        return Err(refuse(RefusalCode::WrongState, message));
    }
    let Some(task) = task else { return Ok(agent.owner.clone()) };
    match state.tasks().get(&task) {
        Some(open) if open.opened.agent == *id => Ok(agent.owner.clone()),
        _ => {
            let message = format!("`{task}` is not an open task of agent `{id}`");
            Err(refuse(RefusalCode::NotFound, message))
        }
    }
}

/// The revocation that suspends what would be granted: nothing is granted anew under it, or lifting
/// it would set free what nobody looked at.
fn suspension(state: &State, terms: &RequestGrant, owner: &OwnerId) -> Option<u64> {
    state.marks().suspension(Covered {
        grant: None,
        agent: Some(&terms.agent),
        owner,
        task: terms.task,
        tool: None,
        resource: terms.scope.root(),
    })
}

fn check_range(terms: &RequestGrant) -> Result<(), Answer> {
    check_limits(terms.ttl, terms.max_uses, &terms.constraints)
}

/// Whether what was given of a grant's terms is within what any grant may have.
pub(super) fn check_limits(
    ttl: Option<Span>,
    max_uses: Option<u32>,
    of_arguments: &[Constraint],
) -> Result<(), Answer> {
    if ttl.is_some_and(|ttl| ttl == Span(0) || ttl > TTL_MAX) {
        let message = format!("ttl must be more than 0 and at most {TTL_MAX}");
        return Err(refuse(RefusalCode::OutOfRange, message));
    }
    if max_uses.is_some_and(|uses| uses == 0 || uses > USES_MAX) {
        let message = format!("max_uses must be from 1 to {USES_MAX}");
        return Err(refuse(RefusalCode::OutOfRange, message));
    }
    constraints::check(of_arguments)
        .map_err(|error| refuse(RefusalCode::OutOfRange, error.to_string()))
}

/// Whether `terms` stay within what was asked for: an answer may narrow, never widen.
fn answers(state: &State, id: GrantRequestId, terms: &RequestGrant) -> Result<(), Answer> {
    let Some(pending) = state.requests().get(&id) else {
        return Err(refuse(RefusalCode::NotFound, format!("`{id}` waits for no answer")));
    };
    let asked = &pending.terms;
    let same = asked.agent == terms.agent
        && asked.action == terms.action
        && asked.task.is_none_or(|task| terms.task == Some(task))
        && terms.ttl.unwrap_or(call::JIT_TTL) <= asked.ttl
        && terms.max_uses.unwrap_or(call::JIT_USES) <= asked.max_uses
        && constraints::keep_all(&terms.constraints, &asked.constraints);
    if is_within(&terms.scope, &asked.scope) && same {
        return Ok(());
    }
    Err(refuse(RefusalCode::OutOfRange, format!("the grant would be wider than `{id}` asked for")))
}

/// Whether a scope holds nothing that the wider one does not.
pub(super) fn is_within(scope: &Scope, wider: &Scope) -> bool {
    match (scope, wider) {
        (Scope::Exact(resource), _) => wider.covers(resource),
        (Scope::Within(_), Scope::Exact(_)) => false,
        (Scope::Within(prefix), Scope::Within(wider)) => prefix.is_within(wider),
    }
}

fn record_request(draft: &mut Draft<'_>, terms: &RequestGrant, owner: OwnerId) -> u64 {
    draft.record(Fact::GrantRequested(GrantRequested {
        agent: terms.agent.clone(),
        owner,
        task: terms.task,
        action: terms.action.clone(),
        scope: terms.scope.clone(),
        ttl: terms.ttl.unwrap_or(call::JIT_TTL),
        max_uses: terms.max_uses.unwrap_or(call::JIT_USES),
        justification: terms.justification.clone(),
        constraints: terms.constraints.clone(),
    }))
}

/// A request that policy turns down is recorded with its denial.
fn turned_down(
    draft: &mut Draft<'_>,
    terms: &RequestGrant,
    owner: OwnerId,
    code: DenialCode,
) -> Answer {
    let index = record_request(draft, terms, owner);
    let request = GrantRequestId(index);
    let fact = Fact::GrantDenied(GrantDenied { request, code, reason: None });
    let kind = fact.kind();
    let index = draft.record_because(index, fact);
    Answer::Done(Done { kind, index, grant: None, repeats: None })
}

/// The call that a request is about, to ask the policies. Tool, session and effect are not known
/// yet: a policy that needs them permits at the use or not at all.
fn as_call(terms: &RequestGrant, resource: &Resource) -> Authorize {
    Authorize {
        subject: Subject::Agent(terms.agent.clone()),
        on_behalf_of: None,
        task: terms.task,
        session: None,
        tool: None,
        tool_hash: None,
        action: terms.action.clone(),
        resource: resource.clone(),
        effect: Effect::Write,
        arguments: None,
        disclosed: BTreeMap::new(),
        justification: terms.justification.clone(),
        args: None,
        environment: None,
        correlation: None,
        actors: Vec::new(),
        told: None,
        finishes: false,
        verdicts: None,
    }
}
