//! Kinds 50–59: policies, staged one by one and activated as a set.

use crate::id::{Action, PolicyId, Text};
use crate::record::hash::Digest;

/// A policy was written to the stage. It decides nothing until a set is activated.
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
pub struct PolicyPut {
    /// Its name.
    pub policy: PolicyId,
    /// Its Cedar text, one policy.
    pub text: String,
    /// Why it was written.
    pub reason: Option<Text>,
}

/// A policy was taken off the stage.
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
pub struct PolicyRemoved {
    /// Its name.
    pub policy: PolicyId,
}

/// Everything on the stage took effect together.
///
/// The event names the set by its hash over the ordered ids and texts and not by a list: ten
/// thousand ids and hashes would not fit a frame, and the stage at this index is known exactly.
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
pub struct PoliciesActivated {
    /// How many policies the set has.
    pub count: u32,
    /// Hash over the ordered ids and texts.
    pub hash: Digest,
}

/// What the arguments of an action look like, from its tool's input schema.
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
pub struct SchemaPut {
    /// Of which action.
    pub action: Action,
    /// The input schema: JSON Schema as text.
    pub schema: String,
}
