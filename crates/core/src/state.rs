//! What the ledger's events add up to. `apply` is pure and total: replay gives the same state to
//! the byte, and everything that ages does so by event time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::command::{Authorize, Subject};
use crate::detect;
use crate::event::{
    Actor, Call, CheckpointSigned, ConfigChanged, DenialCode, Detector, Entity, Event, Fact,
    LedgerCreated, Place,
};
use crate::feed::Feed;
use crate::id::{AgentId, CredentialId, GrantId, GrantRequestId, OwnerId, PolicyId, TaskId};
use crate::policy::{History, InputSchemas};
use crate::properties::Properties;
use crate::record::hash::{Digest, Link};
use crate::time::Time;

mod approvals;
mod calls;
mod grants;
mod history;
mod marks;
mod memos;
mod registry;
mod tools;
mod view;

pub use approvals::{Approval, ApprovalStatus, Approvals, Said};
pub use calls::OpenCall;
pub use grants::{Bounds, End, Grant, Grants, Holder};
pub use history::KEPT_EACH;
pub use marks::{Covered, Marks};
pub(crate) use memos::CALL_AUTHORIZED;
pub use memos::Memo;
pub use registry::{Agent, AgentStatus, Credential, Owner, PendingRequest, Task};
pub use tools::{Change, TOOLS_MAX, Tool, Tools};
pub use view::{CredentialView, Verdicts, View};

/// The state of one ledger.
///
/// INVARIANT: a function of the events applied, in their order, and of nothing else.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub struct State {
    ledger: Option<LedgerCreated>,
    next_index: u64,
    last_time: Option<Time>,
    last_link: Option<Link>,
    epoch: u64,
    config: ConfigChanged,
    /// The last checkpoint, and the index of the event that says so.
    checkpoint: Option<(u64, CheckpointSigned)>,
    /// Index after the last event that is neither a checkpoint nor a sealed segment.
    news: u64,
    owners: BTreeMap<OwnerId, Owner>,
    agents: BTreeMap<AgentId, Agent>,
    entities: BTreeMap<Entity, Properties>,
    credentials: BTreeMap<CredentialId, Credential>,
    tasks: BTreeMap<TaskId, Task>,
    /// The same tasks by agent, to count them.
    tasks_of: BTreeSet<(AgentId, TaskId)>,
    requests: BTreeMap<GrantRequestId, PendingRequest>,
    tools: Tools,
    staged: BTreeMap<PolicyId, String>,
    active: BTreeMap<PolicyId, String>,
    staged_schemas: InputSchemas,
    schemas: InputSchemas,
    grants: Grants,
    approvals: Approvals,
    marks: Marks,
    calls: calls::OpenCalls,
    memos: memos::Memos,
    probing: detect::probing::Counts,
    history: history::Histories,
    risks: BTreeMap<AgentId, u8>,
    feed: Feed,
    view: view::Derived,
}

impl State {
    /// A ledger without events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event in. Never fails: what does not fit the state changes nothing of it.
    ///
    /// # Panics
    /// When events come out of order, which the chain rules out before.
    pub fn apply(&mut self, place: Place, event: &Event) {
        assert_eq!(place.index, self.next_index, "events are applied in the order of the chain");
        self.next_index = place.index + 1;
        self.last_time = Some(place.time);
        self.last_link = Some(place.link);
        if !matches!(event.fact, Fact::CheckpointSigned(_) | Fact::SegmentSealed(_)) {
            self.news = self.next_index;
        }
        self.memos.remember(place, event);
        self.feed.take(place, event);
        self.apply_fact(place, &event.fact);
        self.approvals.asked(place, event);
        let marks = &mut self.marks;
        self.grants.forget(place.time, |id| marks.forget_grant(id));
        self.approvals.forget(place.time);
    }

    fn apply_fact(&mut self, place: Place, fact: &Fact) {
        match fact {
            Fact::LedgerCreated(fact) => self.ledger = Some(fact.clone()),
            Fact::WriterStarted(fact) => self.epoch = fact.epoch,
            Fact::KeyRotated(_) | Fact::GrantDenied(_) | Fact::GrantRequested(_) => {
                self.apply_request(place, fact);
            }
            Fact::OwnerRegistered(_)
            | Fact::OwnerUpdated(_)
            | Fact::OwnerDisabled(_)
            | Fact::OwnerEnabled(_)
            | Fact::AgentRegistered(_)
            | Fact::AgentUpdated(_)
            | Fact::AgentSuspended(_)
            | Fact::AgentReinstated(_)
            | Fact::AgentRetired(_)
            | Fact::EntityPut(_)
            | Fact::EntityRemoved(_)
            | Fact::CredentialIssued(_)
            | Fact::CredentialRevoked(_)
            | Fact::CredentialLimited(_)
            | Fact::TaskOpened(_)
            | Fact::TaskClosed(_)
            | Fact::DelegateAdded(_)
            | Fact::DelegateRemoved(_)
            | Fact::AgentReassigned(_) => self.apply_registry(place, fact),
            Fact::PolicyPut(fact) => {
                self.staged.insert(fact.policy.clone(), fact.text.clone());
            }
            Fact::PolicyRemoved(fact) => {
                self.staged.remove(&fact.policy);
            }
            Fact::PoliciesActivated(_) => {
                self.active.clone_from(&self.staged);
                self.schemas.clone_from(&self.staged_schemas);
                self.view.set_policies(self.next_index, &self.schemas, &self.active);
            }
            Fact::GrantIssued(fact) => {
                if let Some(request) = fact.request {
                    self.requests.remove(&request);
                }
                let met = self.apply_approved(place, fact);
                self.grants.issue(place.index, fact, met, &self.marks, place.time);
            }
            Fact::GrantReturned(fact) => self.end_grant(place, fact.grant, End::Returned),
            Fact::GrantExpired(fact) => self.end_grant(place, fact.grant, End::Expired),
            Fact::GrantExhausted(fact) => self.end_grant(place, fact.grant, End::Exhausted),
            Fact::CallAuthorized(fact) => {
                self.grants.used(fact.grant);
                self.calls.open(place, fact);
                self.count(&fact.call, history::Decided::Authorized, place.time);
            }
            Fact::CallDenied(fact) => {
                self.probing.denied(place, fact);
                self.count(&fact.call, history::Decided::Denied, place.time);
            }
            Fact::CallFinished(fact) => self.calls.close(fact.call),
            Fact::RevocationIssued(fact) => self.marks.revoke(place.index, fact),
            Fact::SuspensionLifted(fact) => self.marks.lift(&fact.selector),
            Fact::FindingRaised(fact) => match fact.detector {
                Detector::Probing => self.probing.raised(fact),
                Detector::BreakGlass => {}
            },
            Fact::CheckpointSigned(fact) => self.checkpoint = Some((place.index, fact.clone())),
            Fact::ConfigChanged(fact) => self.config = fact.clone(),
            Fact::ToolPinned(_) | Fact::ToolUnpinned(_) | Fact::ToolChanged(_) => {
                self.apply_tool(place, fact);
            }
            Fact::ApprovalRequested(_)
            | Fact::ApprovalGranted(_)
            | Fact::ApprovalDenied(_)
            | Fact::ApprovalExpired(_)
            | Fact::ApprovalWithdrawn(_) => self.apply_approval(place, fact),
            Fact::SchemaPut(fact) => {
                self.staged_schemas.insert(fact.action.clone(), fact.schema.clone());
            }
            Fact::RiskChanged(fact) => {
                self.risks.insert(fact.agent.clone(), fact.to);
            }
            // What follows from them stands in the events beside them.
            Fact::AccessReviewed(_) | Fact::BreakglassUsed(_) => {}
            // Told by the doors and the enforcement points; nothing is decided by it.
            Fact::RevocationEnforced(_)
            | Fact::DenialsAggregated(_)
            | Fact::QueryRun(_)
            | Fact::SegmentSealed(_) => {}
        }
    }

    fn end_grant(&mut self, place: Place, grant: GrantId, end: End) {
        self.grants.end(grant, end, &self.marks, place.time);
    }

    /// Counts a call for the history, if who made it is known: nobody else's is ever asked for.
    fn count(&mut self, call: &Call, decided: history::Decided, now: Time) {
        let known = match (&call.agent, &call.owner) {
            (Some(agent), _) => self.agents.contains_key(agent),
            (None, Some(owner)) => self.owners.contains_key(owner),
            (None, None) => false,
        };
        if known {
            self.history.count(call, decided, now);
        }
    }

    fn apply_request(&mut self, place: Place, fact: &Fact) {
        if let Fact::GrantRequested(fact) = fact {
            let pending = PendingRequest { asked: place.time, terms: fact.clone() };
            registry::remember_request(&mut self.requests, GrantRequestId(place.index), pending);
        } else if let Fact::GrantDenied(fact) = fact {
            self.requests.remove(&fact.request);
        }
    }

    /// Index that the next event will have.
    #[must_use]
    pub const fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Time of the last event.
    #[must_use]
    pub const fn last_time(&self) -> Option<Time> {
        self.last_time
    }

    /// Link of the last event.
    #[must_use]
    pub const fn last_link(&self) -> Option<Link> {
        self.last_link
    }

    /// The current writer's epoch; 0 before the first.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The last checkpoint that was signed, and the index of the event that says so.
    #[must_use]
    pub fn checkpoint(&self) -> Option<(u64, &CheckpointSigned)> {
        self.checkpoint.as_ref().map(|(index, signed)| (*index, signed))
    }

    /// Whether the last checkpoint has every event that is neither a checkpoint nor a sealed segment.
    #[must_use]
    pub fn has_no_news(&self) -> bool {
        self.checkpoint.as_ref().is_some_and(|(_, last)| last.size >= self.news)
    }

    /// How the ledger decides, where that is a matter of choice.
    #[must_use]
    pub const fn config(&self) -> &ConfigChanged {
        &self.config
    }

    /// What the ledger was created as.
    #[must_use]
    pub const fn ledger(&self) -> Option<&LedgerCreated> {
        self.ledger.as_ref()
    }

    /// All owners by id.
    #[must_use]
    pub const fn owners(&self) -> &BTreeMap<OwnerId, Owner> {
        &self.owners
    }

    /// All agents by id, retired ones included.
    #[must_use]
    pub const fn agents(&self) -> &BTreeMap<AgentId, Agent> {
        &self.agents
    }

    /// What is known of owners, agents and resources.
    #[must_use]
    pub const fn entities(&self) -> &BTreeMap<Entity, Properties> {
        &self.entities
    }

    /// All credentials by their public name, revoked ones included.
    #[must_use]
    pub const fn credentials(&self) -> &BTreeMap<CredentialId, Credential> {
        &self.credentials
    }

    /// Open tasks by id.
    #[must_use]
    pub const fn tasks(&self) -> &BTreeMap<TaskId, Task> {
        &self.tasks
    }

    /// Open tasks of one agent, the oldest first.
    pub fn tasks_of(&self, agent: &AgentId) -> impl Iterator<Item = TaskId> {
        let all = (agent.clone(), TaskId(0))..=(agent.clone(), TaskId(u64::MAX));
        self.tasks_of.range(all).map(|(_, task)| *task)
    }

    /// Requests for grants that nobody has answered.
    #[must_use]
    pub const fn requests(&self) -> &BTreeMap<GrantRequestId, PendingRequest> {
        &self.requests
    }

    /// Tools that are held to a definition.
    #[must_use]
    pub const fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Policies on the stage, by id.
    #[must_use]
    pub const fn staged(&self) -> &BTreeMap<PolicyId, String> {
        &self.staged
    }

    /// Policies in force, by id.
    #[must_use]
    pub const fn active(&self) -> &BTreeMap<PolicyId, String> {
        &self.active
    }

    /// Input schemas on the stage, by action.
    #[must_use]
    pub const fn staged_schemas(&self) -> &InputSchemas {
        &self.staged_schemas
    }

    /// Input schemas in force, by action.
    #[must_use]
    pub const fn schemas(&self) -> &InputSchemas {
        &self.schemas
    }

    /// How far an agent is distrusted, from 0 to 100.
    #[must_use]
    pub fn risk(&self, agent: &AgentId) -> u8 {
        self.risks.get(agent).copied().unwrap_or_default()
    }

    /// What came before a call at `now`: of who would make it, of that in its task, and of that with
    /// its tool.
    #[must_use]
    pub fn history(&self, call: &Authorize, now: Time) -> History {
        let tool = call.tool.as_ref().map_or(call.action.as_str(), |tool| tool.as_str());
        match &call.subject {
            Subject::Agent(agent) => self.history.of_agent(agent, call.task, tool, now),
            Subject::Person(owner) => self.history.of_owner(owner, call.task, tool, now),
        }
    }

    /// Grants that are live or ended a short while ago.
    #[must_use]
    pub const fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Watermarks and suspensions.
    #[must_use]
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The revocation feed.
    #[must_use]
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The detector's counts of denials.
    #[must_use]
    pub const fn probing(&self) -> &detect::probing::Counts {
        &self.probing
    }

    /// Whether a grant is good at `now`, and if not, why: its own standing, its task's, and those of
    /// all that it was delegated from. Nothing walks from a grant to what was delegated from it: that
    /// is found dead when it is looked at.
    ///
    /// # Errors
    /// The denial code that says why it is not.
    pub fn check_grant(&self, id: GrantId, grant: &Grant, now: Time) -> Result<(), DenialCode> {
        self.check_alone(id, grant, now)?;
        let ancestors = grant.parent().map(|parent| self.grants.lineage(parent));
        ancestors.into_iter().flatten().try_for_each(|(id, ancestor)| {
            // Only what was handed back is forgotten before what was delegated from it.
            let ancestor = ancestor.ok_or(DenialCode::GrantRevoked)?;
            match self.check_alone(id, ancestor, now) {
                // Its holder's task, and none of the caller's.
                Err(DenialCode::TaskClosed) => Err(DenialCode::GrantRevoked),
                Ok(()) if self.is_holder_expired(ancestor, now) => Err(DenialCode::GrantExpired),
                other => other,
            }
        })
    }

    /// Whether the life of the agent that holds a grant is over by its registration.
    fn is_holder_expired(&self, grant: &Grant, now: Time) -> bool {
        let Some(agent) = &grant.agent else { return false };
        let known = self.agents.get(agent);
        known.is_none_or(|known| known.settings.expires_at.is_some_and(|end| now >= end))
    }

    fn check_alone(&self, id: GrantId, grant: &Grant, now: Time) -> Result<(), DenialCode> {
        if grant.task().is_some_and(|task| !self.tasks.contains_key(&task)) {
            return Err(DenialCode::TaskClosed);
        }
        grant.check(id, &self.marks, now)
    }

    /// The human whom an actor's key or token belongs to, as far as the ledger knows.
    #[must_use]
    pub fn human<'a>(&'a self, actor: &'a Actor) -> Option<&'a OwnerId> {
        match actor {
            Actor::System | Actor::Credential { .. } => self.person(actor),
            // An agent's token names its human, in whose hand it is not.
            Actor::Token { owner, .. } => Some(owner),
        }
    }

    /// An authorized call whose outcome is awaited.
    #[must_use]
    pub fn open_call(&self, call: crate::id::CallId) -> Option<&OpenCall> {
        self.calls.get(call)
    }

    /// Authorized calls with an id above `after` whose outcome an enforcement point will report,
    /// in order.
    pub fn open_calls(
        &self,
        after: Option<crate::id::CallId>,
    ) -> impl Iterator<Item = (crate::id::CallId, &OpenCall)> {
        self.calls.after(after)
    }

    /// What was answered to a caller's id before.
    #[must_use]
    pub fn memo(
        &self,
        actor: &crate::event::Actor,
        request: &crate::id::RequestId,
        now: Time,
    ) -> Option<&Memo> {
        self.memos.get(actor, request, now)
    }

    /// What policy and authentication read, cheap to share with other threads.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.shared()
    }

    /// Hash of the policy set in force.
    #[must_use]
    pub fn policy_hash(&self) -> Digest {
        self.view.get().policy_hash()
    }

    /// The state as bytes, for a snapshot. Equal states have equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, bincode::config::standard())
            .expect("encoding into memory has nothing to fail on")
    }

    /// The state that [`State::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are not those of a state of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, bincode::error::DecodeError> {
        let (mut state, used): (Self, usize) =
            bincode::decode_from_slice(bytes, bincode::config::standard())?;
        if used != bytes.len() {
            return Err(bincode::error::DecodeError::Other("bytes are left over"));
        }
        state.view.rebuild(
            state.next_index,
            (&state.schemas, &state.active),
            &state.owners,
            &state.agents,
            &state.entities,
            &state.credentials,
        );
        for (id, tool) in state.tools.all() {
            state.view.set_tool(state.next_index, id, tool.pinned.effect);
        }
        Ok(state)
    }
}
