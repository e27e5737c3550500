//! Kinds 110–119: calls, from decision to outcome.

use std::collections::BTreeMap;
use std::fmt;

use crate::id::{
    Action, AgentId, ApprovalId, CallId, GrantId, OwnerId, PolicyId, Resource, SessionId, TaskId,
    Text, ToolId,
};
use crate::record::hash::Digest;
use crate::time::Time;

/// What a call does to the world, from the tool catalog.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Looks only.
    Read,
    /// Fetches a URL.
    Open,
    /// Changes something.
    Write,
    /// Sends, pays, shares or publishes.
    External,
    /// Destroys something.
    Destructive,
}

impl Effect {
    /// The class's name as policies and the catalog write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Open => "open",
            Self::Write => "write",
            Self::External => "external",
            Self::Destructive => "destructive",
        }
    }
}

/// Why a call was denied: a closed list.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DenialCode {
    /// No such agent is registered.
    AgentUnknown,
    /// The agent is suspended.
    AgentSuspended,
    /// The agent's life is over by its registration.
    AgentExpired,
    /// The agent is retired.
    AgentRetired,
    /// The owner is disabled or not registered.
    OwnerDisabled,
    /// The human on whose behalf the call comes is not the agent's owner.
    NotOwner,
    /// The task is closed, unknown, or another agent's.
    TaskClosed,
    /// A suspension covers the call.
    Suspended,
    /// The tool is not what was pinned.
    ToolChanged,
    /// The tool waits for an operator's pin.
    ToolUnpinned,
    /// The agent's allowlist does not name the action.
    ToolNotAllowed,
    /// The detector tore down.
    Drift,
    /// The detector waits for a human.
    Held,
    /// Policy does not permit it for both agent and owner.
    Forbidden,
    /// No grant covers it.
    NoGrant,
    /// The covering grant was revoked.
    GrantRevoked,
    /// The covering grant has expired.
    GrantExpired,
    /// The covering grant is used up.
    GrantExhausted,
    /// The covering grant is not good yet.
    NotYetValid,
    /// A human has to approve first.
    ApprovalRequired,
    /// A human said no.
    ApprovalDenied,
    /// Nobody answered in time.
    ApprovalExpired,
    /// The approval was for something else.
    ApprovalMismatch,
    /// The decision cannot be recorded now.
    Unavailable,
    /// Too many commands wait.
    Overloaded,
    /// The clock cannot be trusted.
    ClockUnsure,
    /// The caller's id was used for another command.
    IdReused,
    /// Too many calls.
    RateLimited,
    /// The arguments are not acceptable.
    InvalidArguments,
    /// The call names no resource that can be decided about.
    ResourceUnmapped,
}

impl DenialCode {
    /// The code as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentUnknown => "agent_unknown",
            Self::AgentSuspended => "agent_suspended",
            Self::AgentExpired => "agent_expired",
            Self::AgentRetired => "agent_retired",
            Self::OwnerDisabled => "owner_disabled",
            Self::NotOwner => "not_owner",
            Self::TaskClosed => "task_closed",
            Self::Suspended => "suspended",
            Self::ToolChanged => "tool_changed",
            Self::ToolUnpinned => "tool_unpinned",
            Self::ToolNotAllowed => "tool_not_allowed",
            Self::Drift => "drift",
            Self::Held => "held",
            Self::Forbidden => "forbidden",
            Self::NoGrant => "no_grant",
            Self::GrantRevoked => "grant_revoked",
            Self::GrantExpired => "grant_expired",
            Self::GrantExhausted => "grant_exhausted",
            Self::NotYetValid => "not_yet_valid",
            Self::ApprovalRequired => "approval_required",
            Self::ApprovalDenied => "approval_denied",
            Self::ApprovalExpired => "approval_expired",
            Self::ApprovalMismatch => "approval_mismatch",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::ClockUnsure => "clock_unsure",
            Self::IdReused => "id_reused",
            Self::RateLimited => "rate_limited",
            Self::InvalidArguments => "invalid_arguments",
            Self::ResourceUnmapped => "resource_unmapped",
        }
    }
}

impl fmt::Display for DenialCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was attempted.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    schemars::JsonSchema,
)]
pub struct Call {
    /// Who; none when the owner acts in person.
    pub agent: Option<AgentId>,
    /// The agent's owner at that time; none when the agent is not registered.
    pub owner: Option<OwnerId>,
    /// Under which task.
    pub task: Option<TaskId>,
    /// In which session of the enforcement point.
    pub session: Option<SessionId>,
    /// Through which tool.
    pub tool: Option<ToolId>,
    /// Hash of the tool's definition as the enforcement point saw it.
    pub tool_hash: Option<Digest>,
    /// To do what.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// What it does to the world.
    pub effect: Effect,
    /// Keyed commitment to the canonical arguments.
    pub arguments: Option<Digest>,
    /// Arguments that mapping or policy names as fit to be recorded.
    pub disclosed: BTreeMap<Text, Text>,
    /// Why, in the caller's words.
    pub justification: Option<Text>,
    /// What the enforcement point says of where it stands, such as `production`.
    pub environment: Option<Text>,
    /// The `X-Request-ID` that the question came with.
    pub correlation: Option<Text>,
    /// Who acted before, the latest first: the nested `act` of the token (RFC 8693, section 4.1).
    pub actors: Vec<Text>,
}

/// A call was allowed, and this was durable before anyone was told.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    schemars::JsonSchema,
)]
pub struct CallAuthorized {
    /// What was attempted.
    pub call: Call,
    /// The grant that was used.
    pub grant: GrantId,
    /// Until when the grant lives.
    pub expires_at: Time,
    /// Uses left after this one.
    pub uses_left: u32,
    /// The policies that permitted it, the agent's and the owner's.
    pub policies: Vec<PolicyId>,
    /// The policy set in force.
    pub policy_hash: Digest,
    /// Whether the enforcement point will report an outcome.
    pub finishes: bool,
    /// The counts and the risk that the policies read, such as `history.agent.calls.minute`.
    pub read: BTreeMap<Text, i64>,
    /// Policies annotated `@shadow` that would have changed the answer.
    pub shadow: Vec<PolicyId>,
}

/// A call was denied.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    schemars::JsonSchema,
)]
pub struct CallDenied {
    /// What was attempted.
    pub call: Call,
    /// Why not.
    pub code: DenialCode,
    /// The grant that would have covered it.
    pub grant: Option<GrantId>,
    /// The policies that forbade it, if some did.
    pub policies: Vec<PolicyId>,
    /// The policy set in force.
    pub policy_hash: Digest,
    /// The counts and the risk that the policies read, such as `history.agent.calls.minute`.
    pub read: BTreeMap<Text, i64>,
    /// Policies annotated `@shadow` that would have changed the answer.
    pub shadow: Vec<PolicyId>,
    /// The approval that is waited for, or that did not help.
    pub approval: Option<ApprovalId>,
}

/// How a call ended.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The tool answered.
    Ok,
    /// The tool failed.
    Error,
    /// It was cut off by a revocation or its caller.
    Cut,
    /// Nobody knows.
    Unknown,
    /// The permission was never delivered, so the call never ran.
    NotDelivered,
}

impl Outcome {
    /// The outcome as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cut => "cut",
            Self::Unknown => "unknown",
            Self::NotDelivered => "not_delivered",
        }
    }
}

/// A call ended.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    schemars::JsonSchema,
)]
pub struct CallFinished {
    /// Which.
    pub call: CallId,
    /// How.
    pub outcome: Outcome,
    /// From forwarding to the answer, in microseconds.
    pub latency_us: u64,
    /// Bytes sent to the tool.
    pub bytes_in: u64,
    /// Bytes the tool answered.
    pub bytes_out: u64,
    /// Digest of the answer.
    pub result: Option<Digest>,
}
