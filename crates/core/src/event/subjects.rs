//! Kinds 20–39: owners and their agents.

use std::collections::BTreeSet;

use crate::id::{ActionPattern, AgentId, GroupId, OwnerId, Text};
use crate::time::Time;

/// An owner as registered or updated: the whole record, not a difference.
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
pub struct OwnerWritten {
    /// Who.
    pub owner: OwnerId,
    /// Groups the owner belongs to.
    pub groups: BTreeSet<GroupId>,
}

/// An owner was disabled, and everything under the owner with it.
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
pub struct OwnerDisabled {
    /// Who.
    pub owner: OwnerId,
    /// Why.
    pub reason: Option<Text>,
}

/// A disabled owner may act again; grants from before stay ended.
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
pub struct OwnerEnabled {
    /// Who.
    pub owner: OwnerId,
}

/// One entry of an agent's allowlist.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub struct Allow {
    /// Which actions.
    pub pattern: ActionPattern,
    /// Until when, if not for the agent's whole life.
    pub expires_at: Option<Time>,
}

/// What may change about an agent during its life.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub struct AgentSettings {
    /// What it is for.
    pub purpose: Text,
    /// Groups it belongs to.
    #[serde(default)]
    pub groups: BTreeSet<GroupId>,
    /// Which actions it may ask for at all.
    #[serde(default)]
    pub allowlist: Vec<Allow>,
    /// When its life ends.
    #[serde(default)]
    pub expires_at: Option<Time>,
}

/// An agent as registered or updated: the whole record, not a difference.
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
pub struct AgentWritten {
    /// Who.
    pub agent: AgentId,
    /// The human it acts for.
    pub owner: OwnerId,
    /// The rest.
    pub settings: AgentSettings,
}

/// An agent may not act until it is reinstated.
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
pub struct AgentSuspended {
    /// Who.
    pub agent: AgentId,
    /// Why.
    pub reason: Option<Text>,
}

/// A suspended agent may act again; grants from before stay ended.
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
pub struct AgentReinstated {
    /// Who.
    pub agent: AgentId,
}

/// An agent's life is over; its id is never given again.
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
pub struct AgentRetired {
    /// Who.
    pub agent: AgentId,
    /// Why.
    pub reason: Option<Text>,
}

/// A human may act through an owner's agents as the owner could, until then.
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
pub struct DelegateAdded {
    /// Whose agents.
    pub owner: OwnerId,
    /// Who may.
    pub delegate: OwnerId,
    /// Until when, if not until it is taken back.
    pub expires_at: Option<Time>,
}

/// A human may no longer act through an owner's agents.
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
pub struct DelegateRemoved {
    /// Whose agents.
    pub owner: OwnerId,
    /// Who no longer may.
    pub delegate: OwnerId,
    /// Why.
    pub reason: Option<Text>,
}

/// An agent acts for another owner; its grants from before have ended.
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
pub struct AgentReassigned {
    /// Who.
    pub agent: AgentId,
    /// For whom it acted.
    pub from: OwnerId,
    /// For whom it acts now.
    pub to: OwnerId,
    /// Why.
    pub reason: Option<Text>,
}
