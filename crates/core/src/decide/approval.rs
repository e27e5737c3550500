//! Approvals: put to people when policy says so, answered by people, and by nobody else.
//!
//! A yes is bound to the digest of what was shown, counts for the rules that its person meets
//! ([`counts_for`](crate::state::State::counts_for) says whose yes counts for which), and counts once.
//! The last one needed issues the grant in the same step; the grant is held to the very call that
//! people saw, and policy is asked again at every use. Once a request has expired or was withdrawn
//! the same question makes a new one; while a person's no stands, it does not.

use std::collections::BTreeSet;

use super::{Draft, EXPIRED_EACH, grant_id, refuse};
use crate::approval::{RULES_MAX, call_digest, question_digest, shown_digest};
use crate::command::{Answer, Awaited, Done, RefusalCode};
use crate::event::{
    ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested, ApprovalRule,
    ApprovalWithdrawn, Call, Constraint, DenialCode, Fact, GrantDenied, GrantIssued, Issuance,
    Scope,
};
use crate::id::{AgentId, ApprovalId, GrantRequestId, OwnerId, PolicyId, Text};
use crate::record::hash::Digest;
use crate::state::{Approval, ApprovalStatus, Holder};
use crate::time::{Span, Time};

/// The most requests of one agent, or of one person, that may wait for people.
pub const APPROVALS_EACH_MAX: usize = 32;
/// The most requests that may wait for people.
pub const APPROVALS_MAX: usize = 4_096;

/// What policy would grant, if people said yes.
pub(super) struct Proposal {
    pub(super) needs: Vec<ApprovalRule>,
    pub(super) ttl: Span,
    pub(super) max_uses: u32,
    pub(super) policies: Vec<PolicyId>,
}

impl Proposal {
    /// The request that would be recorded, without its moment.
    fn of(self, draft: &Draft<'_>, call: &Call, owner: OwnerId, scope: Scope) -> ApprovalRequested {
        ApprovalRequested {
            call: call.clone(),
            owner,
            scope,
            constraints: Vec::new(),
            request: None,
            needs: self.needs,
            ttl: self.ttl,
            max_uses: self.max_uses,
            expires_at: Time(0),
            policies: self.policies,
            policy_hash: draft.state.policy_hash(),
            shown: Digest([0; 32]),
        }
    }
}

impl Awaited {
    /// The approval as a denial names it.
    #[must_use]
    pub const fn of(id: ApprovalId, approval: &Approval) -> Self {
        Self { id, expires_at: approval.asked.expires_at, shown: approval.asked.shown }
    }
}

/// Why people cannot be asked.
pub(super) struct Unasked {
    pub(super) code: DenialCode,
    pub(super) why: String,
}

/// Puts a call to people, unless the same question waits for them already.
pub(super) fn ask(
    draft: &mut Draft<'_>,
    call: &Call,
    wanted: Proposal,
) -> Result<Awaited, Unasked> {
    let Some(owner) = call.owner.clone() else {
        let why = "nobody is its owner".to_owned();
        return Err(Unasked { code: DenialCode::OwnerDisabled, why });
    };
    let asked = wanted.of(draft, call, owner, Scope::Exact(call.resource.clone()));
    let state = draft.state;
    let stale = state.approvals().asking(&question_digest(&asked));
    if let Some((id, waiting)) = stale {
        if state.check_approval(id, waiting, draft.now).is_ok() {
            return Ok(Awaited::of(id, waiting));
        }
        expired(draft, id, waiting);
    }
    has_room(draft, &asked, usize::from(stale.is_some()))?;
    Ok(put(draft, asked, None))
}

/// A request for a grant that people have to approve, before it is recorded.
pub(super) struct Application(ApprovalRequested);

impl Application {
    /// Whether people can be asked: the same question does not wait, nobody denied it, and there is
    /// room for one more.
    pub(super) fn new(
        draft: &Draft<'_>,
        call: &Call,
        owner: OwnerId,
        (scope, constraints): (Scope, Vec<Constraint>),
        wanted: Proposal,
    ) -> Result<Self, Unasked> {
        let asked = wanted.of(draft, call, owner, scope);
        // In the place of the number that its request will have.
        let request = Some(GrantRequestId(0));
        let asked = ApprovalRequested { request, constraints, ..asked };
        let question = question_digest(&asked);
        let approvals = draft.state.approvals();
        let waiting = approvals.asking(&question);
        if let Some((id, waiting)) = waiting
            && draft.state.check_approval(id, waiting, draft.now).is_ok()
        {
            let why = format!("`{id}` asks for the same already");
            return Err(Unasked { code: DenialCode::ApprovalRequired, why });
        }
        if let Some((id, _)) = approvals.denial_of(&question, draft.now) {
            let why = format!("a human denied the same: `{id}`");
            return Err(Unasked { code: DenialCode::ApprovalDenied, why });
        }
        has_room(draft, &asked, usize::from(waiting.is_some()))?;
        Ok(Self(asked))
    }

    /// Puts it to people, after the event of its request.
    pub(super) fn put(self, draft: &mut Draft<'_>, request: GrantRequestId) {
        let asked = ApprovalRequested { request: Some(request), ..self.0 };
        let state = draft.state;
        if let Some((id, stale)) = state.approvals().asking(&question_digest(&asked)) {
            expired(draft, id, stale);
        }
        put(draft, asked, Some(request.0));
    }
}

/// Whether one more may wait, when so many of those that wait give way to it.
fn has_room(draft: &Draft<'_>, asked: &ApprovalRequested, gone: usize) -> Result<(), Unasked> {
    if asked.needs.len() > RULES_MAX {
        let why = format!("more than {RULES_MAX} rules ask for approval: nobody can be asked");
        return Err(Unasked { code: DenialCode::ApprovalRequired, why });
    }
    let approvals = draft.state.approvals();
    let holder = Approval::holder_of(asked);
    let (most, of) = if approvals.waiting() >= APPROVALS_MAX + gone {
        (APPROVALS_MAX, "")
    } else if approvals.waiting_of(&holder).count() >= APPROVALS_EACH_MAX + gone {
        (APPROVALS_EACH_MAX, " of it")
    } else {
        return Ok(());
    };
    let why = format!("{most} requests{of} wait for people already");
    Err(Unasked { code: DenialCode::RateLimited, why })
}

fn put(draft: &mut Draft<'_>, mut asked: ApprovalRequested, cause: Option<u64>) -> Awaited {
    asked.expires_at = draft.next_time().after(draft.state.config().approval_ttl);
    asked.shown = shown_digest(&asked);
    let (expires_at, shown) = (asked.expires_at, asked.shown);
    let fact = Fact::ApprovalRequested(asked);
    let index = match cause {
        Some(cause) => draft.record_because(cause, fact),
        None => draft.record(fact),
    };
    Awaited { id: ApprovalId(index), expires_at, shown }
}

/// Records that an approval is over, and so is the request for a grant that waits for it.
fn expired(draft: &mut Draft<'_>, id: ApprovalId, approval: &Approval) -> u64 {
    let fact = Fact::ApprovalExpired(ApprovalExpired { approval: id });
    let index = draft.record_by_system(Some(id.0), fact);
    turn_down(draft, index, approval, DenialCode::ApprovalExpired, &None);
    index
}

/// Turns down the request for a grant that waits for an approval. By the ledger itself, so that a
/// retry still finds the answer of the person.
fn turn_down(
    draft: &mut Draft<'_>,
    cause: u64,
    approval: &Approval,
    code: DenialCode,
    reason: &Option<Text>,
) {
    let state = draft.state;
    let waiting = |request: &GrantRequestId| state.requests().contains_key(request);
    if let Some(request) = approval.asked.request.filter(waiting) {
        let fact = GrantDenied { request, code, reason: reason.clone() };
        draft.record_by_system(Some(cause), Fact::GrantDenied(fact));
    }
}

pub(super) fn approve(
    draft: &mut Draft<'_>,
    id: ApprovalId,
    shown: Digest,
    reason: &Option<Text>,
) -> Answer {
    let (person, approval) = match answerer(draft, id) {
        Ok(both) => both,
        Err(answer) => return answer,
    };
    let state = draft.state;
    let asked = &approval.asked;
    let counts = |rule: &ApprovalRule| state.counts_for(person, rule, approval, draft.now);
    if !asked.needs.iter().any(counts) {
        let message = if *person == asked.owner {
            format!("`{id}` is for `{person}`'s own agent: nobody approves that for themselves")
        } else if state.is_own(person, approval, draft.now) {
            let own = "or might have through the agent: nobody approves that for themselves";
            format!("`{person}` asked for `{id}`, {own}")
        } else {
            format!("`{id}` is for others to approve than `{person}`")
        };
        return refuse(RefusalCode::NotPermitted, message);
    }
    if shown != asked.shown {
        let message = format!("`{id}` is for something else than what `shown` is the digest of");
        return refuse(RefusalCode::WrongState, message);
    }
    if approval.yes().any(|by| by == person) {
        return refuse(RefusalCode::WrongState, format!("`{person}` has approved `{id}` already"));
    }
    if state.check_approval(id, approval, draft.now).is_err() {
        let index =
            draft.record_because(id.0, Fact::ApprovalExpired(ApprovalExpired { approval: id }));
        turn_down(draft, index, approval, DenialCode::ApprovalExpired, &None);
        return Answer::Done(Done { kind: 103, index, grant: None, repeats: None });
    }
    let yes: BTreeSet<OwnerId> = approval.yes().chain([person]).cloned().collect();
    let complete = state.is_complete(approval, &yes, draft.now);
    let (by, reason) = (person.clone(), reason.clone());
    let fact = ApprovalGranted { approval: id, by, shown, complete, reason };
    let index = draft.record_because(id.0, Fact::ApprovalGranted(fact));
    let grant = complete.then(|| issue(draft, id, asked, index));
    Answer::Done(Done { kind: 101, index, grant: grant.map(grant_id), repeats: None })
}

/// Issues what people approved. Its time begins now.
fn issue(draft: &mut Draft<'_>, id: ApprovalId, asked: &ApprovalRequested, cause: u64) -> u64 {
    let not_before = draft.next_time();
    let fact = GrantIssued {
        agent: asked.call.agent.clone(),
        owner: asked.owner.clone(),
        task: asked.call.task,
        tool: asked.call.tool.clone(),
        action: asked.call.action.clone(),
        scope: asked.scope.clone(),
        not_before,
        expires_at: not_before.after(asked.ttl),
        max_uses: asked.max_uses,
        issuance: Issuance::Approved,
        request: asked.request,
        policies: asked.policies.clone(),
        policy_hash: asked.policy_hash,
        justification: asked.call.justification.clone(),
        constraints: asked.constraints.clone(),
        parent: None,
        approval: Some(id),
        // Who asked for a grant showed its terms and no call: it is held to its terms.
        shown: asked.request.is_none().then(|| call_digest(&asked.call)),
    };
    draft.record_because(cause, Fact::GrantIssued(fact))
}

pub(super) fn deny(draft: &mut Draft<'_>, id: ApprovalId, reason: &Option<Text>) -> Answer {
    let (person, approval) = match answerer(draft, id) {
        Ok(both) => both,
        Err(answer) => return answer,
    };
    if !draft.state.may_turn_down(person, approval, draft.now) {
        let message = format!("`{id}` is for others to answer than `{person}`");
        return refuse(RefusalCode::NotPermitted, message);
    }
    let fact = ApprovalDenied { approval: id, by: person.clone(), reason: reason.clone() };
    let index = draft.record_because(id.0, Fact::ApprovalDenied(fact));
    turn_down(draft, index, approval, DenialCode::ApprovalDenied, reason);
    Answer::Done(Done { kind: 102, index, grant: None, repeats: None })
}

pub(super) fn withdraw(draft: &mut Draft<'_>, id: ApprovalId, reason: &Option<Text>) -> Answer {
    if let Err(answer) = waiting(draft, id) {
        return answer;
    }
    let fact = Fact::ApprovalWithdrawn(ApprovalWithdrawn { approval: id, reason: reason.clone() });
    let index = draft.record_because(id.0, fact);
    Answer::Done(Done { kind: 104, index, grant: None, repeats: None })
}

/// Records that what an agent waits for is over, because of the event `cause`. What it asked for with a
/// request is for the caller to turn down.
pub(super) fn void(draft: &mut Draft<'_>, agent: &AgentId, cause: u64) {
    let state = draft.state;
    for approval in state.approvals().waiting_of(&Holder::Agent(agent.clone())) {
        let over = Fact::ApprovalExpired(ApprovalExpired { approval });
        draft.record_by_system(Some(cause), over);
    }
}

/// Records approvals whose time is over, a bounded number at a time.
pub(super) fn expire(draft: &mut Draft<'_>) {
    let state = draft.state;
    for id in state.approvals().overdue(draft.now).take(EXPIRED_EACH) {
        if let Some(approval) = state.approvals().pending(id) {
            expired(draft, id, approval);
        }
    }
}

/// The person who answers, and what they answer to.
fn answerer<'a>(draft: &Draft<'a>, id: ApprovalId) -> Result<(&'a OwnerId, &'a Approval), Answer> {
    let person = draft.state.person(&draft.submission.actor);
    let Some(person) = person else {
        let message = "only a person answers an approval, and nobody holds this key: \
                       issue one with the `owner` who holds it";
        return Err(refuse(RefusalCode::NotPermitted, message));
    };
    if draft.state.owners().get(person).is_none_or(|owner| owner.disabled) {
        let message = format!("owner `{person}` is disabled");
        return Err(refuse(RefusalCode::NotPermitted, message));
    }
    Ok((person, waiting(draft, id)?))
}

/// An approval that may still be answered, as far as its own time goes.
fn waiting<'a>(draft: &Draft<'a>, id: ApprovalId) -> Result<&'a Approval, Answer> {
    let Some(approval) = draft.state.approvals().get(id) else {
        return Err(refuse(RefusalCode::NotFound, format!("`{id}` is not known")));
    };
    let over = draft.now >= approval.asked.expires_at;
    let status = match approval.status {
        ApprovalStatus::Pending if !over => return Ok(approval),
        ApprovalStatus::Pending => ApprovalStatus::Expired,
        ended @ (ApprovalStatus::Granted
        | ApprovalStatus::Denied
        | ApprovalStatus::Expired
        | ApprovalStatus::Withdrawn) => ended,
    };
    Err(refuse(RefusalCode::WrongState, format!("`{id}` is {} already", status.as_str())))
}
