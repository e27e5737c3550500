//! One call: the checks in their order, the first that fails gives the code.

use std::collections::BTreeMap;

mod lineage;

use super::approval::{self, Proposal};
use super::{ALLOW_REPEATED, Draft, USES_MAX, disclosed, grant_id, refuse};
use crate::approval::call_digest;
use crate::arguments::constraints;
use crate::command::{
    Allowed, Answer, Authorize, Awaited, Command, Decision, Denied, Done, Finish, RefusalCode,
    Subject, Submission,
};
use crate::event::{
    Call, CallAuthorized, CallDenied, CallFinished, DenialCode, Detector, Fact, FindingRaised,
    GrantEnded, GrantIssued, Issuance, RevocationIssued, Scope, Selector, Verdict as Wanted,
};
use crate::id::{AgentId, CallId, GrantId, OwnerId, PolicyId, Text};
use crate::record::hash::Digest;
use crate::state::{Agent, CALL_AUTHORIZED, Covered, Grant, Holder, Memo, OpenCall, State};
use crate::time::{Span, Time};
use live::Seen;
use message::message;
pub(super) use policies::{PolicySays, policies_for};
use policies::{ask_policies, named};
use standing::{agrees, on_behalf, standing};
pub(super) use standing::{alive, human_of};

mod glass;
mod live;
mod message;
mod pin;
mod policies;
mod standing;

/// How long a grant issued at a call lives when no policy says so.
pub const JIT_TTL: Span = Span::minutes(5);
/// How often a grant issued at a call may be used when no policy says so.
pub const JIT_USES: u32 = 1;

/// How many determining policies an event names, the first by id. The hash of the set is always
/// there, and asking it again gives them all.
pub const POLICIES_NAMED_MAX: usize = 64;

/// Why a call is denied, with what the event is to say about it.
struct Denial {
    code: DenialCode,
    grant: Option<GrantId>,
    policies: Vec<PolicyId>,
    reason: Option<Text>,
    seen: Option<Box<Seen>>,
    /// What people said no to, or are asked for.
    approval: Option<Box<Awaited>>,
    /// What people are to be asked for.
    wanted: Option<Box<Proposal>>,
}

impl From<DenialCode> for Denial {
    fn from(code: DenialCode) -> Self {
        let (grant, policies, reason) = (None, Vec::new(), None);
        Self { code, grant, policies, reason, seen: None, approval: None, wanted: None }
    }
}

/// What a permitted call uses.
enum Source {
    /// A grant that is there.
    Held(GrantId),
    /// The smallest grant, issued now: how long and how often.
    JustInTime(Span, u32),
}

struct Permit {
    source: Source,
    policies: Vec<PolicyId>,
    /// Whether it is owed to a policy that breaks the glass.
    breakglass: bool,
    seen: Seen,
}

/// Who acts, and on whose authority.
struct Party<'a> {
    agent: Option<(&'a AgentId, &'a Agent)>,
    owner: &'a OwnerId,
}

pub(super) fn authorize(draft: &mut Draft<'_>, ask: &Authorize) -> Answer {
    let ask = &*on_behalf(draft.submission, ask);
    let (disclosed, fit) = match disclosed::of(draft, ask) {
        Ok(fields) => (fields, Ok(())),
        Err(code) => (BTreeMap::new(), Err(Denial::from(code))),
    };
    let checked = fit
        .and_then(|()| check_id(draft, ask))
        .and_then(|()| agrees(draft.submission, ask))
        .and_then(|()| check(draft.state, ask, draft.now));
    let call = call_of(draft.state, ask, disclosed);
    match checked {
        Ok(permit) => allow(draft, ask, call, permit),
        Err(denial) => {
            let denial = put_to_people(draft, &call, denial);
            deny(draft, call, denial)
        }
    }
}

/// Asks people, where policy says that they have to approve.
fn put_to_people(draft: &mut Draft<'_>, call: &Call, mut denial: Denial) -> Denial {
    let Some(wanted) = denial.wanted.take() else { return denial };
    match approval::ask(draft, call, *wanted) {
        Ok(awaited) => Denial { approval: Some(Box::new(awaited)), ..denial },
        Err(unasked) => {
            Denial { code: unasked.code, reason: Text::new(&unasked.why).ok(), ..denial }
        }
    }
}

/// Whether the caller's id is free for this call. It is when it was not used, or for the same call
/// and that was denied. When the call was allowed and that may not be repeated, this says why not.
fn check_id(draft: &Draft<'_>, ask: &Authorize) -> Result<(), Denial> {
    let Some(request) = &draft.submission.request else { return Ok(()) };
    match draft.state.memo(&draft.submission.actor, &request.id, draft.now) {
        Some(memo) if memo.digest != request.digest => Err(DenialCode::IdReused.into()),
        Some(memo) if memo.kind == CALL_AUTHORIZED => {
            repeatable(draft.state, ask, memo, draft.now)?;
            Err(DenialCode::IdReused.into())
        }
        _ => Ok(()),
    }
}

fn check(state: &State, ask: &Authorize, now: Time) -> Result<Permit, Denial> {
    let (party, policy) = permitted(state, ask, now)?;
    let source = match held_grant(state, &party, &policy, ask, now) {
        Ok(grant) => Ok(Source::Held(grant)),
        Err(_) if !policy.restrictions.approvals.is_empty() => {
            Err(unapproved(state, ask, &policy, now))
        }
        Err(missing) => just_in_time(&policy, missing),
    };
    let (breakglass, seen) = (policy.restrictions.breakglass, policy.seen);
    match source {
        Ok(source) => Ok(Permit { source, policies: policy.ids, breakglass, seen }),
        Err(denial) => Err(Denial { seen: Some(Box::new(seen.without_shadow())), ..denial }),
    }
}

/// Why a call that people have to approve is denied: they said no, or are to be asked.
fn unapproved(state: &State, ask: &Authorize, policy: &PolicySays, now: Time) -> Denial {
    let approvals = state.approvals();
    if approvals.has_denials()
        && let Some((id, denied)) = approvals.denial_of(&digest_of(state, ask), now)
    {
        let reason = denied.said.last().and_then(|said| said.reason.clone());
        let approval = Some(Box::new(Awaited::of(id, denied)));
        return Denial { reason, approval, ..DenialCode::ApprovalDenied.into() };
    }
    let wanted = Some(Box::new(policy.wanted(None, None)));
    Denial { wanted, ..DenialCode::ApprovalRequired.into() }
}

/// What the call is, as an approval is bound to it.
fn digest_of(state: &State, ask: &Authorize) -> Digest {
    call_digest(&call_of(state, ask, disclosed::fields(ask).unwrap_or_default()))
}

/// Whether a call would be allowed if it were asked for at `now`, as far as its own id and what it
/// discloses do not stand in the way. Nothing is recorded and no use is taken: this is for looking
/// around, never for letting a call through.
///
/// # Errors
/// The denial code that it would get.
pub fn would_allow(state: &State, ask: &Authorize, now: Time) -> Result<(), DenialCode> {
    if ask.args.as_ref().is_some_and(|arguments| arguments.fault().is_some()) {
        return Err(DenialCode::InvalidArguments);
    }
    check(state, ask, now).map(|_| ()).map_err(|denial| denial.code)
}

/// Checks 1 to 6: everything but the grant.
fn permitted<'a>(
    state: &'a State,
    ask: &'a Authorize,
    now: Time,
) -> Result<(Party<'a>, PolicySays), Denial> {
    let party = standing(state, ask, now)?;
    pin::check(state, &party, ask)?;
    if let Some((_, agent)) = party.agent {
        allowlisted(agent, ask, now)?;
    }
    // Check 5, detectors that look at a call before it is allowed, joins here.
    let policy = ask_policies(state, &party, ask, now)?;
    Ok((party, policy))
}

/// What selectors can name about a call, and about the grant it uses.
fn covered<'a>(party: &Party<'a>, ask: &'a Authorize, grant: Option<GrantId>) -> Covered<'a> {
    Covered {
        grant,
        agent: party.agent.map(|(id, _)| id),
        owner: party.owner,
        task: ask.task,
        tool: ask.tool.as_ref(),
        resource: &ask.resource,
    }
}

/// Check 4: an unexpired allowlist entry names the action.
fn allowlisted(agent: &Agent, ask: &Authorize, now: Time) -> Result<(), Denial> {
    let names = agent.settings.allowlist.iter().any(|allow| {
        allow.expires_at.is_none_or(|end| now < end) && allow.pattern.matches(&ask.action)
    });
    if names { Ok(()) } else { Err(DenialCode::ToolNotAllowed.into()) }
}

/// Under whose name a grant that the call may use is held.
fn holder(party: &Party<'_>) -> Holder {
    match party.agent {
        Some((agent, _)) => Holder::Agent(agent.clone()),
        None => Holder::Owner(party.owner.clone()),
    }
}

/// Check 7: the live grant with the lowest index, or why there is none. Of several reasons the one
/// that comes from the latest grant is given.
fn held_grant(
    state: &State,
    party: &Party<'_>,
    policy: &PolicySays,
    ask: &Authorize,
    now: Time,
) -> Result<GrantId, (DenialCode, Option<GrantId>)> {
    let holder = holder(party);
    // One that is for something else is none: `no_grant` says so, and the agent may ask for another.
    let candidates = state.grants().candidates(&holder, ask.task, &ask.action, &ask.resource);
    let mut grants: Vec<(GrantId, &Grant)> =
        candidates.filter(|(_, grant)| is_for(grant, ask)).collect();
    grants.sort_unstable_by_key(|(id, _)| *id);
    let mut givers = lineage::Givers::new(state, ask, now);
    let mut missing = (DenialCode::NoGrant, None);
    for (id, grant) in grants {
        let good = covers(state, party, id, grant, ask, now)
            .and_then(|()| shown(state, grant, ask))
            .and_then(|()| givers.narrow(policy, id));
        match good {
            Ok(()) => return Ok(id),
            Err(code) => missing = (code, Some(id)),
        }
    }
    Err(missing)
}

/// Whether a grant is for calls through this tool, with these arguments.
fn is_for(grant: &Grant, ask: &Authorize) -> bool {
    grant.tool().is_none_or(|tool| ask.tool.as_ref() == Some(tool))
        && constraints::are_met(grant.constraints(), ask.args.as_deref())
}

/// Whether a grant is good for this very call: its own standing, and every watermark on what the
/// call touches, such as its tool or a part of the grant's prefix.
fn covers(
    state: &State,
    party: &Party<'_>,
    id: GrantId,
    grant: &Grant,
    ask: &Authorize,
    now: Time,
) -> Result<(), DenialCode> {
    state.check_grant(id, grant, now)?;
    if lineage::is_taken_back(state, party, ask, id) {
        Err(DenialCode::GrantRevoked)
    } else {
        Ok(())
    }
}

/// A grant that people approved at a call covers the call that they were shown, and nothing else.
fn shown(state: &State, grant: &Grant, ask: &Authorize) -> Result<(), DenialCode> {
    match grant.shown() {
        Some(shown) if shown != digest_of(state, ask) => Err(DenialCode::ApprovalMismatch),
        Some(_) | None => Ok(()),
    }
}

/// The smallest grant, where the agent's own policy says that it may be issued at the call.
fn just_in_time(
    policy: &PolicySays,
    missing: (DenialCode, Option<GrantId>),
) -> Result<Source, Denial> {
    if !policy.just_in_time {
        let (code, grant) = missing;
        return Err(Denial { grant, ..code.into() });
    }
    let ttl = policy.restrictions.ttl.unwrap_or(JIT_TTL);
    let uses = policy.restrictions.max_uses.unwrap_or(JIT_USES).min(USES_MAX);
    Ok(Source::JustInTime(ttl, uses))
}

fn allow(draft: &mut Draft<'_>, ask: &Authorize, call: Call, permit: Permit) -> Answer {
    let policy_hash = draft.state.policy_hash();
    let Some(owner) = call.owner.clone() else {
        return deny(draft, call, DenialCode::OwnerDisabled.into());
    };
    let (grant, expires_at, line) = match permit.source {
        Source::Held(id) => {
            let Some(grant) = draft.state.grants().get(id) else {
                return deny(draft, call, DenialCode::NoGrant.into());
            };
            (id, grant.expires_at, lineage::uses_left(draft.state, id))
        }
        Source::JustInTime(ttl, max_uses) => {
            let not_before = draft.next_time();
            let expires_at = not_before.after(ttl);
            let issuance =
                if permit.breakglass { Issuance::BreakGlass } else { Issuance::JustInTime };
            let index = draft.record(Fact::GrantIssued(GrantIssued {
                agent: call.agent.clone(),
                owner: owner.clone(),
                task: call.task,
                tool: call.tool.clone(),
                action: call.action.clone(),
                scope: Scope::Exact(call.resource.clone()),
                not_before,
                expires_at,
                max_uses,
                issuance,
                request: None,
                policies: permit.policies.clone(),
                policy_hash,
                justification: call.justification.clone(),
                constraints: Vec::new(),
                parent: None,
                approval: None,
                shown: None,
            }));
            let id = grant_id(index);
            if permit.breakglass {
                glass::broken(draft, &call, id, &permit.policies);
            }
            (id, expires_at, vec![(id, max_uses.saturating_sub(1))])
        }
    };
    let uses_left = line.iter().map(|(_, left)| *left).min().unwrap_or(0);
    let fact = CallAuthorized {
        call,
        grant,
        expires_at,
        uses_left,
        policies: permit.policies,
        policy_hash,
        finishes: ask.finishes,
        read: permit.seen.read,
        shadow: permit.seen.shadow,
    };
    if let Some(pin) = pin::first_use(draft, ask) {
        draft.record(pin);
    }
    let index = draft.record_because(grant.0, Fact::CallAuthorized(fact));
    for (grant, _) in line.into_iter().filter(|(_, left)| *left == 0) {
        draft.record_by_system(Some(index), Fact::GrantExhausted(GrantEnded { grant }));
    }
    let rests_on = lineage::rests_on(draft.state, grant);
    let allowed = Allowed { grant, owner, expires_at, uses_left, rests_on };
    Answer::Decided(Decision { call: CallId(index), result: Ok(allowed), repeats: None })
}

fn deny(draft: &mut Draft<'_>, call: Call, denial: Denial) -> Answer {
    let code = denial.code;
    let message = message(code, &call, denial.reason.as_ref());
    let seen = denial.seen.map(|seen| *seen).unwrap_or_default();
    let fact = CallDenied {
        call,
        code,
        grant: denial.grant,
        policies: denial.policies,
        policy_hash: draft.state.policy_hash(),
        read: seen.read,
        shadow: seen.shadow,
        approval: denial.approval.as_ref().map(|approval| approval.id),
    };
    let cause = pin::changed(draft, &fact)
        .or_else(|| tear_down(draft, &fact))
        .or(fact.approval.map(|approval| approval.0));
    let index = match cause {
        Some(cause) => draft.record_because(cause, Fact::CallDenied(fact)),
        None => draft.record(Fact::CallDenied(fact)),
    };
    let result = Err(Denied { code, message, approval: denial.approval });
    Answer::Decided(Decision { call: CallId(index), result, repeats: None })
}

/// Lets the detector see a denial. What it finds is recorded before the denial, in the same entry:
/// the finding, and the revocation that it asks for.
fn tear_down(draft: &mut Draft<'_>, denied: &CallDenied) -> Option<u64> {
    let mut evidence = draft.state.probing().judge(denied, draft.now)?;
    let agent = denied.call.agent.clone()?;
    let task = denied.call.task;
    let selector = task.map_or_else(|| Selector::Agent(agent.clone()), Selector::Task);
    if draft.state.marks().is_suspended(&selector).is_some() {
        return None;
    }
    // The denial itself comes after the finding and the revocation.
    evidence.push(draft.next_index() + 2);
    let summary = format!("{} distinct tools denied to `{agent}` in one task", evidence.len());
    let finding = draft.record_by_system(
        None,
        Fact::FindingRaised(FindingRaised {
            detector: Detector::Probing,
            verdict: Wanted::Revoke,
            agent,
            task,
            score: 1_000_000,
            evidence,
            summary: Text::new(&summary).ok()?,
        }),
    );
    let revocation = Fact::RevocationIssued(RevocationIssued {
        selector,
        suspend: true,
        reason_code: Text::new("probing").ok()?,
        reason: Text::new(&summary).ok(),
    });
    Some(draft.record_by_system(Some(finding), revocation))
}

/// The call as its event records it.
pub(super) fn call_of(state: &State, ask: &Authorize, disclosed: BTreeMap<Text, Text>) -> Call {
    let (agent, owner) = match &ask.subject {
        Subject::Agent(id) => (Some(id.clone()), state.agents().get(id).map(|a| a.owner.clone())),
        Subject::Person(owner) => (None, Some(owner.clone())),
    };
    Call {
        agent,
        owner,
        task: ask.task,
        session: ask.session.clone(),
        tool: ask.tool.clone(),
        tool_hash: ask.tool_hash,
        action: ask.action.clone(),
        resource: ask.resource.clone(),
        effect: state.view().effect_of(ask),
        arguments: ask.arguments,
        disclosed,
        justification: ask.justification.clone(),
        environment: ask.environment.clone(),
        correlation: ask.correlation.clone(),
        actors: ask.actors.clone(),
    }
}

/// The first allow again, while its call is unfinished and its grant still live. A denial is
/// decided anew.
pub(super) fn repeated(
    state: &State,
    submission: &Submission,
    memo: &Memo,
    now: Time,
) -> Option<Answer> {
    let Command::Authorize(ask) = &submission.command else { return None };
    let ask = on_behalf(submission, ask);
    let (open, owner) = repeatable(state, &ask, memo, now).ok()?;
    let OpenCall { grant, expires_at, uses_left, .. } = *open;
    let rests_on = lineage::rests_on(state, grant);
    let allowed = Allowed { grant, owner: owner.clone(), expires_at, uses_left, rests_on };
    let (call, repeats) = (CallId(memo.index), Some(memo.link));
    Some(Answer::Decided(Decision { call, result: Ok(allowed), repeats }))
}

/// The call that was allowed before, if it may be allowed once more: it has not ended, it would be
/// permitted today, and nobody took back what it uses. With it comes on whose authority.
fn repeatable<'a>(
    state: &'a State,
    ask: &'a Authorize,
    memo: &Memo,
    now: Time,
) -> Result<(&'a OpenCall, &'a OwnerId), Denial> {
    let open = state.open_call(CallId(memo.index)).ok_or(DenialCode::IdReused)?;
    let (party, _) = permitted(state, ask, now)?;
    // What was used up at this very call may be forgotten by now; handed back, it would be known.
    if lineage::is_handed_back(state, open.grant, now)
        || lineage::is_taken_back(state, &party, ask, open.grant)
    {
        return Err(DenialCode::GrantRevoked.into());
    }
    lineage::givers_may(state, ask, open.grant, now)?;
    if now >= open.expires_at {
        Err(DenialCode::GrantExpired.into())
    } else if now >= open.since.after(ALLOW_REPEATED) {
        Err(DenialCode::IdReused.into())
    } else {
        Ok((open, party.owner))
    }
}

pub(super) fn finish(draft: &mut Draft<'_>, finish: &Finish) -> Answer {
    if draft.state.open_call(finish.call).is_none() {
        let message = format!("`{}` is no authorized call that awaits an outcome", finish.call);
        return refuse(RefusalCode::NotFound, message);
    }
    let fact = Fact::CallFinished(CallFinished {
        call: finish.call,
        outcome: finish.outcome,
        latency_us: finish.latency_us,
        bytes_in: finish.bytes_in,
        bytes_out: finish.bytes_out,
        result: finish.result,
    });
    let kind = fact.kind();
    let index = draft.record_because(finish.call.0, fact);
    Answer::Done(Done { kind, index, grant: None, repeats: None })
}
