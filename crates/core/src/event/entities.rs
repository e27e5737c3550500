//! Kinds 40 and 41: what is known of owners, agents and resources beyond their registration.

use crate::id::{AgentId, OwnerId, Resource};
use crate::properties::Properties;

/// Something that has properties.
#[derive(
    Debug,
    Clone,
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
pub enum Entity {
    /// An owner.
    Owner(OwnerId),
    /// An agent.
    Agent(AgentId),
    /// A resource, exactly this one.
    Resource(Resource),
}

impl std::fmt::Display for Entity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Owner(id) => write!(f, "owner {id}"),
            Self::Agent(id) => write!(f, "agent {id}"),
            Self::Resource(id) => write!(f, "resource {id}"),
        }
    }
}

/// An entity's properties as written: all of them, not a difference.
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
pub struct EntityPut {
    /// Of what.
    pub entity: Entity,
    /// What is known of it from now on.
    pub properties: Properties,
}

/// Nothing is known of an entity any more.
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
pub struct EntityRemoved {
    /// Of what.
    pub entity: Entity,
}
