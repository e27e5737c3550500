//! `events`: one wide row an event, in the order of the chain.
//!
//! Columns that no kind of this version fills are present and null, so that a question written
//! today still runs when they are filled.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use bailiwick_core::event::{About, Actor, Fact, Recorded};
use bailiwick_core::id::GrantId;

use super::grown::{Grown, Part, Reach, Still};
use super::scan::Snapshot;
use super::sheet::{self, Sheet, columns};

mod calls;
mod choices;
mod detail;
mod grants;
mod others;

pub(crate) use detail::canonical;
pub(crate) use others::millionths;

columns! {
    /// The columns of `events`.
    EventColumn {
        Seq "seq" Int always; Ts "ts" Time always; Kind "kind" Name always; SchemaVer "schema_ver" Small always;
        Ledger "ledger" Name; Entry "entry" Int always;
        ActorId "actor_id" Name; ActorKind "actor_kind" Name always;
        AgentId "agent_id" Name; OwnerId "owner_id" Name; OnBehalfOf "on_behalf_of" Name;
        ApproverId "approver_id" Name; TaskId "task_id" Name; SessionId "session_id" Name;
        RequestId "request_id" Name; TraceId "trace_id" Bytes16; PepId "pep_id" Name;
        GrantId "grant_id" Name; ParentGrantId "parent_grant_id" Name;
        RootGrantId "root_grant_id" Name; Depth "depth" Tiny; ApprovalId "approval_id" Name;
        RevocationId "revocation_id" Name; CauseSeq "cause_seq" Int;
        Server "server" Name; Tool "tool" Name; Action "action" Name; Resource "resource" Name;
        Decision "decision" Name; Reason "reason" Name; PolicyHash "policy_hash" Name;
        RuleIds "rule_ids" Name; Purpose "purpose" Name; Ticket "ticket" Name;
        Justification "justification" Name; ValidFrom "valid_from" Time; ValidTo "valid_to" Time;
        MaxUses "max_uses" Int; Risk "risk" Float; Score "score" Float;
        Outcome "outcome" Name; LatencyUs "latency_us" Int; BytesIn "bytes_in" Int;
        BytesOut "bytes_out" Int; ArgsCommitment "args_commitment" Bytes32;
        ResultDigest "result_digest" Bytes32; Detail "detail" Long always; Link "link" Bytes32 always;
    }
}

/// What a kind of event writes into its row.
pub(super) trait Cells: serde::Serialize {
    /// Writes the cells of the event with this index.
    fn write(&self, index: u64, row: &mut Sheet<EventColumn>);
}

/// What the ledger knows about a row beside the event itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    /// The ledger's name.
    pub(crate) ledger: Option<&'a str>,
    /// The entry that holds the event.
    pub(crate) entry: u64,
    /// The agent that the event is about, if it does not name one itself.
    pub(crate) agent: Option<&'a str>,
    /// That agent's owner at that time.
    pub(crate) owner: Option<&'a str>,
    /// With a grant that was delegated: the root, and how many delegations it is away.
    pub(crate) family: Option<(GrantId, u8)>,
}

/// All events.
pub(crate) type Events = Grown<EventColumn, Still>;

pub(crate) fn push(events: &mut Events, recorded: &Recorded, around: Around<'_>) {
    use EventColumn as C;
    let (place, event) = (recorded.place, &recorded.event);
    events.push(place, Still, |row| {
        row.set(C::Seq, place.index);
        row.set(C::Ts, place.time);
        row.set(C::Kind, event.fact.name());
        row.set(C::SchemaVer, event.fact.schema());
        row.set_some(C::Ledger, around.ledger);
        row.set(C::Entry, around.entry);
        row.set(C::Link, place.link.0.as_slice());
        about(row, &event.about);
        fact(row, place.index, &event.fact);
        row.set_some(C::AgentId, around.agent);
        row.set_some(C::OwnerId, around.owner);
        row.set_some(C::RootGrantId, around.family.map(|(root, _)| root));
        row.set_some(C::Depth, around.family.map(|(_, depth)| depth));
    });
}

fn about(row: &mut Sheet<EventColumn>, about: &About) {
    use EventColumn as C;
    row.set_some(C::ActorId, actor_id(&about.actor));
    row.set(C::ActorKind, actor_kind(&about.actor));
    row.set_some(C::OnBehalfOf, about.on_behalf_of.as_ref());
    row.set_some(C::CauseSeq, about.cause);
    row.set_some(C::RequestId, about.request.as_ref().map(|request| &request.id));
    row.set_some(C::TraceId, about.trace.as_ref().map(|trace| trace.0.as_slice()));
}

/// Who did something, as an id; the ledger itself has none.
pub(crate) fn actor_id(actor: &Actor) -> Option<&str> {
    match actor {
        Actor::System => None,
        Actor::Credential { id, .. } => Some(id.as_str()),
        Actor::Token { owner, agent: None, .. } => Some(owner.as_str()),
        Actor::Token { agent: Some(agent), .. } => Some(agent.as_str()),
    }
}

/// What sort of actor: `system`, or the role of the credential or token.
pub(crate) fn actor_kind(actor: &Actor) -> String {
    match actor {
        Actor::System => "system".to_owned(),
        Actor::Credential { role, .. } | Actor::Token { role, .. } => role.to_string(),
    }
}

fn fact(row: &mut Sheet<EventColumn>, index: u64, fact: &Fact) {
    macro_rules! cells {
        ($($kind:ident)+) => {
            match fact {
                $(Fact::$kind(data) => {
                    data.write(index, row);
                    row.set(EventColumn::Detail, canonical(data));
                })+
            }
        };
    }
    cells! {
        LedgerCreated WriterStarted KeyRotated OwnerRegistered OwnerUpdated OwnerDisabled
        OwnerEnabled EntityPut EntityRemoved AgentRegistered AgentUpdated AgentSuspended AgentReinstated AgentRetired
        PolicyPut PolicyRemoved PoliciesActivated CredentialIssued CredentialRevoked CredentialLimited TaskOpened
        TaskClosed GrantRequested GrantIssued GrantDenied GrantReturned GrantExpired
        GrantExhausted CallAuthorized CallDenied CallFinished RevocationIssued SuspensionLifted
        RevocationEnforced FindingRaised ConfigChanged DelegateAdded DelegateRemoved AgentReassigned
        ToolPinned ToolUnpinned ToolChanged SchemaPut AccessReviewed BreakglassUsed
        ApprovalRequested ApprovalGranted ApprovalDenied ApprovalExpired ApprovalWithdrawn
        RiskChanged DenialsAggregated QueryRun SegmentSealed CheckpointSigned
    }
}

/// Policy ids in one cell. An id holds no space.
pub(crate) fn joined(policies: &[bailiwick_core::id::PolicyId]) -> Option<String> {
    let ids: Vec<&str> = policies.iter().map(|policy| policy.as_str()).collect();
    (!ids.is_empty()).then(|| ids.join(" "))
}

/// `events` as it stood at one moment.
#[derive(Debug)]
pub(crate) struct EventsSnapshot(pub(crate) Vec<Part<Still>>);

impl Snapshot for EventsSnapshot {
    fn schema(&self) -> SchemaRef {
        sheet::schema::<EventColumn>()
    }

    fn parts(&self) -> Vec<Reach> {
        self.0.iter().map(|part| part.reach).collect()
    }

    fn rows(&self, part: usize) -> usize {
        self.0[part].fixed.num_rows()
    }

    fn column(&self, part: usize, column: usize) -> ArrayRef {
        Arc::clone(self.0[part].fixed.column(column))
    }
}
