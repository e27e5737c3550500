//! Commands: what anyone may ask of the ledger, in the imperative. One door for all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::arguments::Arguments;
use crate::event::{
    Actor, AgentSettings, CheckpointSigned, ConfigChanged, Constraint, DenialsAggregated, Effect,
    Enforcer, Entity, Outcome, QueryRun, RequestKey, Review, Role, Scope, ScramVerifier,
    SegmentSealed, Selector, TraceId,
};
use crate::id::{
    Action, AgentId, ApprovalId, CallId, CredentialId, GrantId, GrantRequestId, GroupId, OwnerId,
    PolicyId, Resource, SessionId, TaskId, Text, ToolId,
};

use crate::properties::Properties;
use crate::record::hash::{Digest, LedgerId, PublicKey};
use crate::state::Verdicts;
use crate::time::{Span, Time};

mod answer;

pub use answer::{Allowed, Answer, Awaited, Decision, Denied, Done, Refusal, RefusalCode};

/// A command with who submits it.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Who asks.
    pub actor: Actor,
    /// The caller's own id with the digest of what was sent, which makes a retry safe.
    pub request: Option<RequestKey>,
    /// W3C trace id.
    pub trace: Option<TraceId>,
    /// What is asked.
    pub command: Command,
}

/// What may be asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// Begin a ledger. Its first command, by the system only.
    CreateLedger(CreateLedger),
    /// Take up the ledger as its writer. By the system only.
    StartWriter {
        /// The epoch, one more than the writer before.
        epoch: u64,
    },
    /// Register an owner.
    RegisterOwner(WriteOwner),
    /// Replace an owner's record.
    UpdateOwner(WriteOwner),
    /// End everything under an owner.
    DisableOwner {
        /// Who.
        owner: OwnerId,
        /// Why.
        reason: Option<Text>,
    },
    /// Let a disabled owner act again.
    EnableOwner {
        /// Who.
        owner: OwnerId,
    },
    /// Register an agent under an owner.
    RegisterAgent(WriteAgent),
    /// Replace an agent's settings; its owner stays.
    UpdateAgent(WriteAgent),
    /// Stop an agent until it is reinstated.
    SuspendAgent {
        /// Who.
        agent: AgentId,
        /// Why.
        reason: Option<Text>,
    },
    /// Let a suspended agent act again.
    ReinstateAgent {
        /// Who.
        agent: AgentId,
        /// Why.
        reason: Option<Text>,
    },
    /// End an agent's life.
    RetireAgent {
        /// Who.
        agent: AgentId,
        /// Why.
        reason: Option<Text>,
    },
    /// Let a human act through an owner's agents.
    AddDelegate {
        /// Whose agents.
        owner: OwnerId,
        /// Who may.
        delegate: OwnerId,
        /// Until when, if not until it is taken back.
        expires_at: Option<Time>,
    },
    /// Take that back.
    RemoveDelegate {
        /// Whose agents.
        owner: OwnerId,
        /// Who no longer may.
        delegate: OwnerId,
        /// Why.
        reason: Option<Text>,
    },
    /// Give an agent to another owner.
    ReassignAgent(ReassignAgent),
    /// Hold a tool to a definition.
    PinTool(PinTool),
    /// Hold a tool to no definition any more.
    UnpinTool {
        /// Which.
        tool: ToolId,
        /// Why.
        reason: Option<Text>,
    },
    /// Write how the ledger decides, where that is a matter of choice.
    Configure(ConfigChanged),
    /// Write what is known of an owner, an agent or a resource.
    PutEntity {
        /// Of what.
        entity: Entity,
        /// All of it.
        properties: Properties,
    },
    /// Forget what is known of one.
    RemoveEntity {
        /// Of what.
        entity: Entity,
    },
    /// Record a new API key.
    IssueCredential(IssueCredential),
    /// Put another API key in the place of one.
    RotateCredential(RotateCredential),
    /// End an API key.
    RevokeCredential {
        /// Its public name.
        credential: CredentialId,
        /// Why.
        reason: Option<Text>,
    },
    /// Open a task; the ledger gives its id.
    OpenTask(OpenTask),
    /// Close a task.
    CloseTask {
        /// Which.
        task: TaskId,
        /// Why.
        reason: Option<Text>,
    },
    /// Put a policy on the stage.
    PutPolicy {
        /// Its name.
        policy: PolicyId,
        /// Its Cedar text.
        text: String,
        /// Why.
        reason: Option<Text>,
    },
    /// Take a policy off the stage.
    RemovePolicy {
        /// Its name.
        policy: PolicyId,
    },
    /// Put the input schema of an action on the stage.
    PutSchema {
        /// Of which action.
        action: Action,
        /// JSON Schema of the arguments.
        schema: String,
    },
    /// Make the stage take effect.
    ActivatePolicies,
    /// Say how far an agent is distrusted.
    ChangeRisk {
        /// Who.
        agent: AgentId,
        /// From 0 to 100.
        to: u8,
        /// Why.
        reason: Option<Text>,
    },
    /// Ask for a grant.
    RequestGrant(RequestGrant),
    /// Issue a grant as an operator.
    IssueGrant(IssueGrant),
    /// Turn a request down.
    DenyGrant {
        /// Which request.
        request: GrantRequestId,
        /// Why.
        reason: Option<Text>,
    },
    /// Hand a grant back early.
    ReturnGrant {
        /// Which.
        grant: GrantId,
    },
    /// Give a part of a grant to another agent of the same owner.
    DelegateGrant(DelegateGrant),
    /// Say of a grant whether it is still needed.
    ReviewGrant {
        /// Which.
        grant: GrantId,
        /// What it comes to.
        review: Review,
        /// Why.
        reason: Option<Text>,
    },
    /// Say yes to what was shown.
    Approve {
        /// To which request.
        approval: ApprovalId,
        /// Digest of what the approver was shown.
        shown: Digest,
        /// Why.
        reason: Option<Text>,
    },
    /// Say no, which ends it.
    DenyApproval {
        /// To which request.
        approval: ApprovalId,
        /// Why.
        reason: Option<Text>,
    },
    /// Ask no more.
    WithdrawApproval {
        /// Which request.
        approval: ApprovalId,
        /// Why.
        reason: Option<Text>,
    },
    /// Decide one call.
    Authorize(Box<Authorize>),
    /// Report how an authorized call ended.
    Finish(Finish),
    /// Take back.
    Revoke(Revoke),
    /// Lift a suspension that a revocation left.
    Lift {
        /// What is free again.
        selector: Selector,
        /// Why.
        reason: Option<Text>,
    },
    /// Record that a feed item is enforced everywhere. By the system only.
    RecordEnforced(RecordEnforced),
    /// Record what doors turned away. By the system only.
    RecordRefused(DenialsAggregated),
    /// Record that the record was asked. By the system only, which knows who asked.
    RecordQuery {
        /// Who asked: the event's actor.
        by: Actor,
        /// What, and what came of it.
        query: QueryRun,
    },
    /// Record that a range of events was put away. By the system only.
    RecordSegment(SegmentSealed),
    /// Record that the ledger's tree was signed. By the system only.
    RecordCheckpoint(CheckpointSigned),
    /// Record grants and approvals that have run out. By the system only.
    Expire,
}

/// Fields of [`Command::CreateLedger`].
#[derive(Debug, Clone)]
pub struct CreateLedger {
    /// Random id.
    pub ledger: LedgerId,
    /// Name, also the stream's.
    pub name: Text,
    /// Origin line of its checkpoints.
    pub origin: Text,
    /// Ed25519 public key of the first writer.
    pub genesis_key: PublicKey,
}

/// Fields of [`Command::RegisterOwner`] and [`Command::UpdateOwner`].
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteOwner {
    /// Who.
    pub owner: OwnerId,
    /// Groups the owner belongs to.
    #[serde(default)]
    pub groups: BTreeSet<GroupId>,
}

/// Fields of [`Command::RegisterAgent`] and [`Command::UpdateAgent`].
#[derive(Debug, Clone)]
pub struct WriteAgent {
    /// Who.
    pub agent: AgentId,
    /// The human it acts for.
    pub owner: OwnerId,
    /// The rest.
    pub settings: AgentSettings,
}

/// Fields of [`Command::ReassignAgent`].
#[derive(Debug, Clone)]
pub struct ReassignAgent {
    /// Who.
    pub agent: AgentId,
    /// For whom it is to act.
    pub to: OwnerId,
    /// Why.
    pub reason: Option<Text>,
}

/// Fields of [`Command::PinTool`].
#[derive(Debug, Clone)]
pub struct PinTool {
    /// Which.
    pub tool: ToolId,
    /// Hash of its definition.
    pub hash: Digest,
    /// What it does to the world: calls count as this where they claim less.
    pub effect: Option<Effect>,
    /// Arguments that name what it acts on: JSON pointers (RFC 6901).
    pub targets: Vec<Text>,
    /// What is known of its data flow, such as `reads:private`.
    pub labels: BTreeSet<Text>,
}

/// Fields of [`Command::IssueCredential`].
#[derive(Debug, Clone)]
pub struct IssueCredential {
    /// Its public name.
    pub credential: CredentialId,
    /// What its holder may do.
    pub role: Role,
    /// The agent it speaks for; required for role `agent`, refused otherwise.
    pub agent: Option<AgentId>,
    /// Keyed hash of the key.
    pub key_hash: Digest,
    /// When it stops working.
    pub expires_at: Option<Time>,
    /// The human who holds it, for roles that people act in.
    pub owner: Option<OwnerId>,
    /// The credential whose place it takes.
    pub rotates: Option<CredentialId>,
    /// By what its holder is known to a server that never sees the key.
    pub scram: Option<ScramVerifier>,
}

/// Fields of [`Command::RotateCredential`]. The new key speaks for whom the old one does, in its role,
/// and lasts from now as long as the old one was made to last.
#[derive(Debug, Clone)]
pub struct RotateCredential {
    /// The key whose place is taken.
    pub rotates: CredentialId,
    /// Public name of the new one.
    pub credential: CredentialId,
    /// Keyed hash of the new key.
    pub key_hash: Digest,
    /// By what its holder is known to a server that never sees the key.
    pub scram: Option<ScramVerifier>,
    /// How long the old one still works, unless it ends sooner.
    pub overlap: Span,
}

/// Fields of [`Command::OpenTask`].
#[derive(Debug, Clone)]
pub struct OpenTask {
    /// Who is asked.
    pub agent: AgentId,
    /// What sort of task.
    pub sort: Option<Text>,
    /// Digest of the statement.
    pub statement: Option<Digest>,
    /// Resources the statement names.
    pub targets: Vec<Text>,
}

/// Fields of [`Command::RequestGrant`].
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestGrant {
    /// Who is to hold it.
    pub agent: AgentId,
    /// For which task.
    #[serde(default)]
    pub task: Option<TaskId>,
    /// To do what.
    pub action: Action,
    /// To what.
    pub scope: Scope,
    /// For how long.
    #[serde(default)]
    pub ttl: Option<Span>,
    /// How often.
    #[serde(default)]
    pub max_uses: Option<u32>,
    /// Why.
    #[serde(default)]
    pub justification: Option<Text>,
    /// What a call's arguments have to be.
    #[serde(default)]
    pub constraints: Vec<Constraint>,
}

/// Fields of [`Command::DelegateGrant`]. What is not given is as narrow as any new grant, and never
/// wider than the parent.
#[derive(Debug, Clone)]
pub struct DelegateGrant {
    /// The grant of which a part is given.
    pub parent: GrantId,
    /// Who is to hold the part.
    pub to: AgentId,
    /// For which of that agent's tasks; required where the parent is for one of its holder's.
    pub task: Option<TaskId>,
    /// To what; as the parent if not given.
    pub scope: Option<Scope>,
    /// For how long.
    pub ttl: Option<Span>,
    /// How often.
    pub max_uses: Option<u32>,
    /// What a call's arguments have to be, beside what the parent demands.
    pub constraints: Vec<Constraint>,
    /// Why.
    pub justification: Option<Text>,
}

/// Fields of [`Command::IssueGrant`].
#[derive(Debug, Clone)]
pub struct IssueGrant {
    /// What is granted.
    pub terms: RequestGrant,
    /// From when; from now if not given.
    pub not_before: Option<Time>,
    /// The request it answers.
    pub request: Option<GrantRequestId>,
}

/// Who wants to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A registered agent.
    Agent(AgentId),
    /// An owner in person.
    Person(OwnerId),
}

/// Fields of [`Command::Authorize`].
#[derive(Debug, Clone)]
pub struct Authorize {
    /// Who wants to act.
    pub subject: Subject,
    /// The authenticated human, if the request carries one.
    pub on_behalf_of: Option<OwnerId>,
    /// Under which task.
    pub task: Option<TaskId>,
    /// In which session of the enforcement point.
    pub session: Option<SessionId>,
    /// Through which tool.
    pub tool: Option<ToolId>,
    /// Hash of the tool's definition as the enforcement point sees it.
    pub tool_hash: Option<Digest>,
    /// To do what.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// What it does to the world.
    pub effect: Effect,
    /// Keyed commitment to the canonical arguments.
    pub arguments: Option<Digest>,
    /// Arguments fit to be recorded.
    pub disclosed: BTreeMap<Text, Text>,
    /// Why, in the caller's words.
    pub justification: Option<Text>,
    /// The arguments themselves, for policies and grants to read; never recorded.
    pub args: Option<Box<Arguments>>,
    /// What the enforcement point says of where it stands, such as `production`.
    pub environment: Option<Text>,
    /// The `X-Request-ID` that the question came with.
    pub correlation: Option<Text>,
    /// Who acted before, the latest first.
    pub actors: Vec<Text>,
    /// What the enforcement point says of subject, action and resource, where it may.
    pub told: Option<Box<Told>>,
    /// Whether the enforcement point will report an outcome.
    pub finishes: bool,
    /// What policy says, evaluated before the loop on the view of a known version.
    pub verdicts: Option<Verdicts>,
}

/// What an enforcement point itself knows of a call's parties. It wins over what is stored, name by
/// name; an agent cannot say such things of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Of the subject.
    pub subject: Properties,
    /// Of the action.
    pub action: Properties,
    /// Of the resource.
    pub resource: Properties,
}

impl Told {
    /// Each with the name under which it is recorded, such as `subject.role`.
    pub fn named(&self) -> impl Iterator<Item = (String, &BTreeSet<Text>)> {
        let parts =
            [("subject", &self.subject), ("action", &self.action), ("resource", &self.resource)];
        parts.into_iter().flat_map(|(part, properties)| {
            properties.iter().map(move |(name, values)| (format!("{part}.{name}"), values))
        })
    }
}

/// Fields of [`Command::Finish`].
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// Which call.
    pub call: CallId,
    /// How it ended.
    pub outcome: Outcome,
    /// From forwarding to the answer, in microseconds.
    #[serde(default)]
    pub latency_us: u64,
    /// Bytes sent to the tool.
    #[serde(default)]
    pub bytes_in: u64,
    /// Bytes the tool answered.
    #[serde(default)]
    pub bytes_out: u64,
    /// Digest of the answer.
    #[serde(default)]
    pub result: Option<Digest>,
}

/// Fields of [`Command::Revoke`].
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// What is taken back.
    pub selector: Selector,
    /// End the grants but leave what is named free to be granted anew.
    #[serde(default)]
    pub grants_only: bool,
    /// A word for programs; `operator` if not given.
    #[serde(default)]
    pub reason_code: Option<Text>,
    /// Words for people.
    #[serde(default)]
    pub reason: Option<Text>,
}

/// Fields of [`Command::RecordEnforced`].
#[derive(Debug, Clone)]
pub struct RecordEnforced {
    /// Number of the feed item.
    pub number: u64,
    /// Which points there were, and what became of each.
    pub points: Vec<Enforcer>,
    /// How long it took altogether.
    pub took: Span,
}
