//! Types of schema 1 whose kinds have a schema 2, frozen as they were written, and what each means in
//! today's terms: what was not there yet is empty.

use std::collections::BTreeMap;

use super::{DenialCode, Effect, Issuance, Role, Scope};
use crate::id::{
    Action, AgentId, CredentialId, GrantId, GrantRequestId, OwnerId, PolicyId, Resource, SessionId,
    TaskId, Text, ToolId,
};
use crate::record::hash::Digest;
use crate::time::{Span, Time};

#[derive(Debug, bincode::Encode, bincode::Decode)]
pub(super) struct GrantRequested {
    agent: AgentId,
    owner: OwnerId,
    task: Option<TaskId>,
    action: Action,
    scope: Scope,
    ttl: Span,
    max_uses: u32,
    justification: Option<Text>,
}

impl From<GrantRequested> for super::GrantRequested {
    fn from(old: GrantRequested) -> Self {
        Self {
            agent: old.agent,
            owner: old.owner,
            task: old.task,
            action: old.action,
            scope: old.scope,
            ttl: old.ttl,
            max_uses: old.max_uses,
            justification: old.justification,
            constraints: Vec::new(),
        }
    }
}

#[derive(Debug, bincode::Encode, bincode::Decode)]
pub(super) struct GrantIssued {
    agent: Option<AgentId>,
    owner: OwnerId,
    task: Option<TaskId>,
    tool: Option<ToolId>,
    action: Action,
    scope: Scope,
    not_before: Time,
    expires_at: Time,
    max_uses: u32,
    issuance: Issuance,
    request: Option<GrantRequestId>,
    policies: Vec<PolicyId>,
    policy_hash: Digest,
    justification: Option<Text>,
}

impl From<GrantIssued> for super::GrantIssued {
    fn from(old: GrantIssued) -> Self {
        Self {
            agent: old.agent,
            owner: old.owner,
            task: old.task,
            tool: old.tool,
            action: old.action,
            scope: old.scope,
            not_before: old.not_before,
            expires_at: old.expires_at,
            max_uses: old.max_uses,
            issuance: old.issuance,
            request: old.request,
            policies: old.policies,
            policy_hash: old.policy_hash,
            justification: old.justification,
            constraints: Vec::new(),
            parent: None,
            approval: None,
            shown: None,
        }
    }
}

#[derive(Debug, bincode::Encode, bincode::Decode)]
pub(super) struct CredentialIssued {
    credential: CredentialId,
    role: Role,
    agent: Option<AgentId>,
    key_hash: Digest,
    expires_at: Option<Time>,
}

impl From<CredentialIssued> for super::CredentialIssued {
    fn from(old: CredentialIssued) -> Self {
        Self {
            credential: old.credential,
            role: old.role,
            agent: old.agent,
            key_hash: old.key_hash,
            expires_at: old.expires_at,
            owner: None,
            rotates: None,
            scram: None,
        }
    }
}

#[derive(Debug, bincode::Encode, bincode::Decode)]
pub(super) struct Call {
    agent: Option<AgentId>,
    owner: Option<OwnerId>,
    task: Option<TaskId>,
    session: Option<SessionId>,
    tool: Option<ToolId>,
    tool_hash: Option<Digest>,
    action: Action,
    resource: Resource,
    effect: Effect,
    arguments: Option<Digest>,
    disclosed: BTreeMap<Text, Text>,
    justification: Option<Text>,
}

impl From<Call> for super::Call {
    fn from(old: Call) -> Self {
        Self {
            agent: old.agent,
            owner: old.owner,
            task: old.task,
            session: old.session,
            tool: old.tool,
            tool_hash: old.tool_hash,
            action: old.action,
            resource: old.resource,
            effect: old.effect,
            arguments: old.arguments,
            disclosed: old.disclosed,
            justification: old.justification,
            environment: None,
            correlation: None,
            actors: Vec::new(),
        }
    }
}

#[derive(Debug, bincode::Encode, bincode::Decode)]
pub(super) struct CallAuthorized {
    call: Call,
    grant: GrantId,
    expires_at: Time,
    uses_left: u32,
    policies: Vec<PolicyId>,
    policy_hash: Digest,
    finishes: bool,
}

impl From<CallAuthorized> for super::CallAuthorized {
    fn from(old: CallAuthorized) -> Self {
        Self {
            call: old.call.into(),
            grant: old.grant,
            expires_at: old.expires_at,
            uses_left: old.uses_left,
            policies: old.policies,
            policy_hash: old.policy_hash,
            finishes: old.finishes,
            read: BTreeMap::new(),
            shadow: Vec::new(),
        }
    }
}

#[derive(Debug, bincode::Encode, bincode::Decode)]
pub(super) struct CallDenied {
    call: Call,
    code: DenialCode,
    grant: Option<GrantId>,
    policies: Vec<PolicyId>,
    policy_hash: Digest,
}

impl From<CallDenied> for super::CallDenied {
    fn from(old: CallDenied) -> Self {
        Self {
            call: old.call.into(),
            code: old.code,
            grant: old.grant,
            policies: old.policies,
            policy_hash: old.policy_hash,
            read: BTreeMap::new(),
            shadow: Vec::new(),
            approval: None,
        }
    }
}
