//! From a command to events: plain functions of the state, the command and the time. Nothing here
//! can fail; what is not to be done comes back as a refusal or a denial.

use crate::command::{Answer, Command, Done, Refusal, RefusalCode, Submission};
use crate::event::{About, Actor, Event, Fact, Role};
use crate::id::{AgentId, GrantId};
use crate::record::frame::BODY_BYTES_MAX;
use crate::state::State;
use crate::time::{Span, Time};

mod approval;
mod call;
mod config;
mod delegate;
mod disclosed;
mod entity;
mod grant;
mod ownership;
mod policy;
mod recorded;
mod registry;
mod review;
mod revoke;
mod task;
mod tool;

pub use approval::{APPROVALS_EACH_MAX, APPROVALS_MAX};
pub use call::{JIT_TTL, JIT_USES, POLICIES_NAMED_MAX, would_allow};
pub use delegate::{DELEGATIONS_MAX, DEPTH_MAX};
pub use disclosed::{DISCLOSED_BYTES_MAX, DISCLOSED_MAX, is_recordable};
pub use entity::ENTITIES_MAX;
pub use grant::{REQUESTS_EACH_MAX, TTL_MAX, USES_MAX};
pub use ownership::{DELEGATES_MAX, TASKS_CLOSED_EACH};
pub use policy::SCHEMAS_MAX;
pub use recorded::CHECKPOINT_AGE_MAX;
pub use registry::{RISK_MAX, ROTATION_OVERLAP_MAX};
pub use task::{TARGETS_MAX, TASKS_EACH_MAX};
pub use tool::{LABELS_MAX, TARGET_POINTERS_MAX};

/// How long an allowed call may be repeated to a caller that did not hear the answer.
pub const ALLOW_REPEATED: Span = Span::minutes(1);
/// How many `grant.expired` one [`Command::Expire`] records: they are low priority, and everything
/// that asks about expiry compares times.
pub const EXPIRED_EACH: usize = 256;

/// What came of a command: events to record, in this order, and the answer to give once they are
/// durable. Without events there is nothing to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// To be recorded; event `i` gets index `state.next_index() + i` and time `now + i` ns.
    pub events: Vec<Event>,
    /// To be given when they are durable.
    pub answer: Answer,
}

/// Decides one command at `now`, which must be later than the last event.
#[must_use]
pub fn decide(state: &State, submission: &Submission, now: Time) -> Decided {
    debug_assert!(state.last_time().is_none_or(|last| now > last), "time strictly increases");
    let mut draft = Draft { state, submission, now, events: Vec::new() };
    let answer = match answer(&mut draft) {
        Err(refusal) => Answer::Refused(refusal),
        Ok(answer) => within_limits(&mut draft, answer),
    };
    debug_assert!(
        !matches!(answer, Answer::Refused(_)) || draft.events.is_empty(),
        "a refusal records nothing"
    );
    Decided { events: draft.events, answer }
}

/// Who asks is checked first, then whether it was asked before: the answer to a retry does not
/// depend on what the first time changed. Then whether the role allows it, and then the command.
fn answer(draft: &mut Draft<'_>) -> Result<Answer, Refusal> {
    let caller = authenticated(draft.state, draft.submission, draft.now)?;
    if let Some(answer) = repeated(draft.state, draft.submission, draft.now) {
        return Ok(answer);
    }
    permitted(draft.state, caller, draft.submission, draft.now)?;
    Ok(carry_out(draft))
}

/// What does not fit a frame is refused. A call always fits, by the limits on its own parts, since
/// it has to be recorded whatever comes of it.
fn within_limits(draft: &mut Draft<'_>, answer: Answer) -> Answer {
    if matches!(draft.submission.command, Command::Authorize(_)) {
        return answer;
    }
    let largest = draft.events.iter().map(Event::body_bytes).max().unwrap_or(0);
    if largest <= BODY_BYTES_MAX {
        return answer;
    }
    draft.events.clear();
    let message = format!("its record would have {largest} bytes, at most {BODY_BYTES_MAX} fit");
    refuse(RefusalCode::OutOfRange, message)
}

/// Events being drafted for one command.
struct Draft<'a> {
    state: &'a State,
    submission: &'a Submission,
    now: Time,
    events: Vec<Event>,
}

impl Draft<'_> {
    /// Index that the next event will have.
    fn next_index(&self) -> u64 {
        self.state.next_index() + self.events.len() as u64
    }

    /// Time that the next event will have.
    fn next_time(&self) -> Time {
        Time(self.now.0 + self.events.len() as u64)
    }

    /// Records something that the submitter did.
    fn record(&mut self, fact: Fact) -> u64 {
        let about = self.about(None);
        self.push(about, fact)
    }

    /// Records something that the submitter did because of an earlier event.
    fn record_because(&mut self, cause: u64, fact: Fact) -> u64 {
        let about = self.about(Some(cause));
        self.push(about, fact)
    }

    /// Records something that the ledger itself did.
    fn record_by_system(&mut self, cause: Option<u64>, fact: Fact) -> u64 {
        let about = About {
            actor: Actor::System,
            on_behalf_of: None,
            cause,
            request: None,
            trace: self.submission.trace,
        };
        self.push(about, fact)
    }

    fn about(&self, cause: Option<u64>) -> About {
        let on_behalf_of = if let Command::Authorize(call) = &self.submission.command {
            call::human_of(&self.submission.actor).or(call.on_behalf_of.as_ref()).cloned()
        } else {
            self.state.human(&self.submission.actor).cloned()
        };
        About {
            actor: self.submission.actor.clone(),
            on_behalf_of,
            cause,
            request: self.submission.request.clone(),
            trace: self.submission.trace,
        }
    }

    fn push(&mut self, about: About, fact: Fact) -> u64 {
        let index = self.next_index();
        self.events.push(Event { about, fact });
        index
    }

    /// Records one event and answers with it.
    fn done(&mut self, fact: Fact) -> Answer {
        let kind = fact.kind();
        let index = self.record(fact);
        Answer::Done(Done { kind, index, grant: None, repeats: None })
    }
}

fn refuse(code: RefusalCode, message: impl Into<String>) -> Answer {
    Answer::Refused(Refusal::new(code, message))
}

fn carry_out(draft: &mut Draft<'_>) -> Answer {
    let submission = draft.submission;
    match &submission.command {
        Command::CreateLedger(create) => registry::create_ledger(draft, create),
        Command::StartWriter { epoch } => registry::start_writer(draft, *epoch),
        Command::RegisterOwner(owner) => registry::register_owner(draft, owner),
        Command::UpdateOwner(owner) => registry::update_owner(draft, owner),
        Command::DisableOwner { owner, reason } => registry::disable_owner(draft, owner, reason),
        Command::EnableOwner { owner } => registry::enable_owner(draft, owner),
        Command::RegisterAgent(agent) => registry::register_agent(draft, agent),
        Command::UpdateAgent(agent) => registry::update_agent(draft, agent),
        Command::SuspendAgent { agent, reason } => registry::suspend_agent(draft, agent, reason),
        Command::ReinstateAgent { agent, reason } => {
            registry::reinstate_agent(draft, agent, reason)
        }
        Command::RetireAgent { agent, reason } => registry::retire_agent(draft, agent, reason),
        Command::AddDelegate { owner, delegate, expires_at } => {
            ownership::add_delegate(draft, owner, delegate, *expires_at)
        }
        Command::RemoveDelegate { owner, delegate, reason } => {
            ownership::remove_delegate(draft, owner, delegate, reason)
        }
        Command::ReassignAgent(reassign) => ownership::reassign(draft, reassign),
        Command::PinTool(pin) => tool::pin(draft, pin),
        Command::UnpinTool { tool, reason } => tool::unpin(draft, tool, reason),
        Command::Configure(config) => config::configure(draft, config),
        Command::PutEntity { entity, properties } => entity::put(draft, entity, properties),
        Command::RemoveEntity { entity } => entity::remove(draft, entity),
        Command::IssueCredential(issue) => registry::issue_credential(draft, issue),
        Command::RotateCredential(rotate) => registry::rotate_credential(draft, rotate),
        Command::RevokeCredential { credential, reason } => {
            registry::revoke_credential(draft, credential, reason)
        }
        Command::OpenTask(open) => task::open(draft, open),
        Command::CloseTask { task, reason } => task::close(draft, *task, reason),
        Command::PutPolicy { policy, text, reason } => policy::put(draft, policy, text, reason),
        Command::RemovePolicy { policy } => policy::remove(draft, policy),
        Command::PutSchema { action, schema } => policy::put_schema(draft, action, schema),
        Command::ActivatePolicies => policy::activate(draft),
        Command::ChangeRisk { agent, to, reason } => {
            registry::change_risk(draft, agent, *to, reason)
        }
        Command::RequestGrant(terms) => grant::request(draft, terms),
        Command::IssueGrant(issue) => grant::issue(draft, issue),
        Command::DenyGrant { request, reason } => grant::deny(draft, *request, reason),
        Command::ReturnGrant { grant } => grant::give_back(draft, *grant),
        Command::DelegateGrant(delegate) => delegate::delegate(draft, delegate),
        Command::ReviewGrant { grant, review, reason } => {
            review::review(draft, *grant, *review, reason)
        }
        Command::Approve { approval, shown, reason } => {
            approval::approve(draft, *approval, *shown, reason)
        }
        Command::DenyApproval { approval, reason } => approval::deny(draft, *approval, reason),
        Command::WithdrawApproval { approval, reason } => {
            approval::withdraw(draft, *approval, reason)
        }
        Command::Authorize(call) => call::authorize(draft, call),
        Command::Finish(finish) => call::finish(draft, finish),
        Command::Revoke(revoke) => revoke::revoke(draft, revoke),
        Command::Lift { selector, reason } => revoke::lift(draft, selector, reason),
        Command::RecordEnforced(record) => revoke::record_enforced(draft, record),
        Command::RecordRefused(refused) => recorded::refused(draft, refused),
        Command::RecordQuery { by, query } => recorded::query(draft, by, query),
        Command::RecordSegment(sealed) => recorded::segment(draft, sealed),
        Command::RecordCheckpoint(signed) => recorded::checkpoint(draft, signed),
        Command::Expire => grant::expire(draft),
    }
}

/// Who asks, as far as the ledger knows them.
struct Caller<'a> {
    role: Role,
    /// The agent it speaks for.
    agent: Option<&'a AgentId>,
}

/// The actor's credential, which is live and has the role that the actor comes in; or its token, which
/// the door has verified, of an owner who is registered. None for the system itself.
fn authenticated<'a>(
    state: &'a State,
    submission: &'a Submission,
    now: Time,
) -> Result<Option<Caller<'a>>, Refusal> {
    let invalid = |message: String| Err(Refusal::new(RefusalCode::CredentialInvalid, message));
    match &submission.actor {
        Actor::System => Ok(None),
        Actor::Credential { id, role } => {
            let known = state.credentials().get(id);
            match known.filter(|known| known.role == *role && known.is_live(now)) {
                Some(known) => Ok(Some(Caller { role: *role, agent: known.agent.as_ref() })),
                None => invalid(format!("credential `{id}` is unknown, revoked or expired")),
            }
        }
        Actor::Token { owner, agent, role, .. } => {
            if (*role == Role::Agent) != agent.is_some() {
                return invalid(
                    "a token speaks for an agent if and only if its role is `agent`".to_owned(),
                );
            }
            // That the human of an agent's call is disabled is for the decision to say, and to record.
            let is_agents_call =
                agent.is_some() && matches!(submission.command, Command::Authorize(_));
            match state.owners().get(owner).filter(|owner| is_agents_call || !owner.disabled) {
                Some(_) => Ok(Some(Caller { role: *role, agent: agent.as_ref() })),
                None => invalid(format!("owner `{owner}` is not registered or disabled")),
            }
        }
    }
}

/// Whether the actor may submit this command at all. Roles only narrow here: what an agent's own
/// credential may submit never creates or changes a policy, allowlist, owner or suspension.
fn permitted(
    state: &State,
    caller: Option<Caller<'_>>,
    submission: &Submission,
    now: Time,
) -> Result<(), Refusal> {
    let Some(caller) = caller else { return Ok(()) };
    let role = caller.role;
    let allowed = match role {
        Role::Admin => !is_systems_own(&submission.command),
        Role::Operator => operator_may(&submission.command),
        Role::Enforcer => enforcer_may(&submission.command),
        Role::Agent => {
            agent_may(state, caller.agent, &submission.command)
                && human_may(state, caller.agent, submission, now)
        }
        Role::Approver => {
            approver_may(&submission.command)
                || review::approver_may(state, &submission.actor, &submission.command)
        }
        Role::Auditor | Role::Subscriber => false,
    };
    if allowed {
        return Ok(());
    }
    let message = format!("role `{role}` of {} does not allow this", submission.actor);
    Err(Refusal::new(RefusalCode::NotPermitted, message))
}

const fn is_systems_own(command: &Command) -> bool {
    matches!(
        command,
        Command::CreateLedger(_)
            | Command::StartWriter { .. }
            | Command::RecordEnforced(_)
            | Command::RecordRefused(_)
            | Command::RecordQuery { .. }
            | Command::RecordSegment(_)
            | Command::RecordCheckpoint(_)
            | Command::Expire
    )
}

const fn operator_may(command: &Command) -> bool {
    let changes_rules = matches!(
        command,
        Command::PutPolicy { .. }
            | Command::RemovePolicy { .. }
            | Command::PutSchema { .. }
            | Command::ActivatePolicies
            | Command::Configure(_)
            | Command::IssueCredential(_)
            | Command::RotateCredential(_)
            | Command::RevokeCredential { .. }
    );
    !changes_rules && !is_systems_own(command)
}

const fn enforcer_may(command: &Command) -> bool {
    matches!(
        command,
        Command::Authorize(_)
            | Command::Finish(_)
            | Command::OpenTask(_)
            | Command::CloseTask { .. }
            | Command::RequestGrant(_)
            | Command::ReturnGrant { .. }
            | Command::DelegateGrant(_)
            | Command::WithdrawApproval { .. }
    )
}

/// What an agent asks for or gives on with a token, it does by a human who may act through it. That the
/// human of a call may not is for the decision to say, and to record; what only ends something is
/// nobody's loss.
fn human_may(state: &State, agent: Option<&AgentId>, submission: &Submission, now: Time) -> bool {
    let asks = matches!(
        submission.command,
        Command::RequestGrant(_) | Command::OpenTask(_) | Command::DelegateGrant(_)
    );
    let owner = agent.and_then(|agent| state.agents().get(agent)).map(|agent| &agent.owner);
    match (call::human_of(&submission.actor), owner) {
        (Some(human), Some(owner)) => !asks || state.speaks_for(human, owner, now),
        (Some(_), None) | (None, _) => true,
    }
}

/// Whom an approval asks for is decided by the person who holds the key, and not by its role.
const fn approver_may(command: &Command) -> bool {
    matches!(command, Command::Approve { .. } | Command::DenyApproval { .. })
}

/// An agent speaks for itself only.
fn agent_may(state: &State, itself: Option<&AgentId>, command: &Command) -> bool {
    use crate::command::{DelegateGrant, Subject};
    use crate::state::Holder;
    let Some(itself) = itself else { return false };
    match command {
        Command::Authorize(call) => call.subject == Subject::Agent(itself.clone()),
        Command::Finish(finish) => {
            state.open_call(finish.call).is_some_and(|call| call.agent.as_ref() == Some(itself))
        }
        Command::OpenTask(open) => open.agent == *itself,
        Command::CloseTask { task, .. } => {
            state.tasks().get(task).is_some_and(|task| task.opened.agent == *itself)
        }
        Command::RequestGrant(terms) => terms.agent == *itself,
        Command::ReturnGrant { grant }
        | Command::DelegateGrant(DelegateGrant { parent: grant, .. }) => {
            let holder = Holder::Agent(itself.clone());
            state.grants().get(*grant).is_some_and(|grant| grant.is_held_by(&holder))
        }
        Command::WithdrawApproval { approval, .. } => {
            let asked = state.approvals().get(*approval).map(|approval| &approval.asked);
            asked.is_some_and(|asked| asked.call.agent.as_ref() == Some(itself))
        }
        Command::CreateLedger(_)
        | Command::StartWriter { .. }
        | Command::RegisterOwner(_)
        | Command::UpdateOwner(_)
        | Command::DisableOwner { .. }
        | Command::EnableOwner { .. }
        | Command::RegisterAgent(_)
        | Command::UpdateAgent(_)
        | Command::SuspendAgent { .. }
        | Command::ReinstateAgent { .. }
        | Command::RetireAgent { .. }
        | Command::AddDelegate { .. }
        | Command::RemoveDelegate { .. }
        | Command::ReassignAgent(_)
        | Command::PinTool(_)
        | Command::UnpinTool { .. }
        | Command::Configure(_)
        | Command::PutEntity { .. }
        | Command::RemoveEntity { .. }
        | Command::IssueCredential(_)
        | Command::RotateCredential(_)
        | Command::RevokeCredential { .. }
        | Command::PutPolicy { .. }
        | Command::RemovePolicy { .. }
        | Command::PutSchema { .. }
        | Command::ActivatePolicies
        | Command::ChangeRisk { .. }
        | Command::IssueGrant(_)
        | Command::DenyGrant { .. }
        | Command::ReviewGrant { .. }
        | Command::Approve { .. }
        | Command::DenyApproval { .. }
        | Command::Revoke(_)
        | Command::Lift { .. }
        | Command::RecordEnforced(_)
        | Command::RecordRefused(_)
        | Command::RecordQuery { .. }
        | Command::RecordSegment(_)
        | Command::RecordCheckpoint(_)
        | Command::Expire => false,
    }
}

/// The first answer to a caller's id, where it may be given again.
fn repeated(state: &State, submission: &Submission, now: Time) -> Option<Answer> {
    let request = submission.request.as_ref()?;
    let memo = state.memo(&submission.actor, &request.id, now)?;
    let is_call = matches!(submission.command, Command::Authorize(_));
    if memo.digest != request.digest {
        let message = format!("id `{}` was used for another command", request.id);
        // A call's denial is a decision and has to be recorded: `authorize` does that.
        return (!is_call).then(|| refuse(RefusalCode::IdReused, message));
    }
    if is_call {
        return call::repeated(state, submission, memo, now);
    }
    let (kind, index, grant) = (memo.kind, memo.index, memo.grant);
    Some(Answer::Done(Done { kind, index, grant, repeats: Some(memo.link) }))
}

/// The number of a grant issued at `index`.
const fn grant_id(index: u64) -> GrantId {
    GrantId(index)
}
