//! What a caller is told of a denial.

use crate::event::{Call, DenialCode};
use crate::id::Text;

/// Words for the caller: what was refused and what could be done, nothing of policy but the reason
/// that a policy itself gives.
pub(super) fn message(code: DenialCode, call: &Call, reason: Option<&Text>) -> String {
    let (action, resource) = (&call.action, &call.resource);
    let why = match code {
        DenialCode::AgentUnknown => "the agent is not registered",
        DenialCode::AgentSuspended => "the agent is suspended",
        DenialCode::AgentExpired => "the agent's registration has expired",
        DenialCode::AgentRetired => "the agent is retired",
        DenialCode::OwnerDisabled => "the owner is disabled or not registered",
        DenialCode::NotOwner => "the human on whose behalf this comes is not the agent's owner",
        DenialCode::TaskClosed => "the task is not open for this agent",
        DenialCode::Suspended => "it was revoked and stays suspended until an operator lifts that",
        DenialCode::ToolChanged => "the tool is not the one that was approved",
        DenialCode::ToolUnpinned => "the tool waits for an operator's approval",
        DenialCode::ToolNotAllowed => "the agent's allowlist does not name this action",
        DenialCode::Drift => "the call does not fit the task",
        DenialCode::Held => "the call waits for a human",
        DenialCode::Forbidden => "policy does not permit it for this agent and its owner",
        DenialCode::NoGrant => "no grant covers it; ask for one",
        DenialCode::GrantRevoked => "the grant was revoked",
        DenialCode::GrantExpired => "the grant has expired; ask for a new one",
        DenialCode::GrantExhausted => "the grant is used up; ask for a new one",
        DenialCode::NotYetValid => "the grant is not valid yet",
        DenialCode::ApprovalRequired => "a human has to approve it first",
        DenialCode::ApprovalDenied => "a human denied it",
        DenialCode::ApprovalExpired => "nobody approved it in time",
        DenialCode::ApprovalMismatch => "what was approved is something else",
        DenialCode::Unavailable => "it cannot be recorded now",
        DenialCode::Overloaded => "too many commands wait; try again",
        DenialCode::ClockUnsure => "the clock cannot be trusted now",
        DenialCode::IdReused => "its id was used before",
        DenialCode::RateLimited => "too many calls; try again later",
        DenialCode::InvalidArguments => "the arguments are not acceptable",
        DenialCode::ResourceUnmapped => "the call names no resource that can be decided about",
    };
    match reason {
        Some(reason) => format!("`{action}` on `{resource}` is denied: {why} ({reason})"),
        None => format!("`{action}` on `{resource}` is denied: {why}"),
    }
}
