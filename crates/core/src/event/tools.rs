//! Kinds 42–44: tools, and the definitions they are held to.

use std::collections::BTreeSet;

use super::Effect;
use crate::id::{Text, ToolId};
use crate::record::hash::Digest;

/// A tool is held to its definition from here on.
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
pub struct ToolPinned {
    /// Which.
    pub tool: ToolId,
    /// Hash of its definition.
    pub hash: Digest,
    /// What it does to the world, if that was said.
    pub effect: Option<Effect>,
    /// Arguments that name what it acts on: JSON pointers (RFC 6901).
    pub targets: Vec<Text>,
    /// What is known of its data flow, such as `reads:private`.
    pub labels: BTreeSet<Text>,
    /// Whether nobody said so: it was seen for the first time.
    pub first_use: bool,
}

/// A tool is not held to any definition: the next one that is seen counts as the first.
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
pub struct ToolUnpinned {
    /// Which.
    pub tool: ToolId,
    /// Why.
    pub reason: Option<Text>,
}

/// A tool came with another definition than it is held to.
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
pub struct ToolChanged {
    /// Which.
    pub tool: ToolId,
    /// Hash of the definition that it is held to.
    pub pinned: Digest,
    /// Hash of the one that was seen.
    pub seen: Digest,
}
