//! Kinds 130–139: what the detector saw.

use crate::id::{AgentId, TaskId, Text};

/// Which detector.
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
pub enum Detector {
    /// Several distinct tools denied in one task.
    Probing,
    /// A policy annotated `@breakglass` let something through.
    BreakGlass,
}

/// What the detector asks for.
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
pub enum Verdict {
    /// Write it down.
    Note,
    /// Ask the owner.
    Hold,
    /// Suspend and revoke.
    Revoke,
}

/// A detector saw something.
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
pub struct FindingRaised {
    /// Which detector.
    pub detector: Detector,
    /// What it asks for.
    pub verdict: Verdict,
    /// About whom.
    pub agent: AgentId,
    /// In which task.
    pub task: Option<TaskId>,
    /// Score in millionths; for a rule that fired, 1,000,000.
    pub score: u64,
    /// Indexes of the events it rests on.
    pub evidence: Vec<u64>,
    /// Words for people.
    pub summary: Text,
}

/// How much an agent is to be feared changed.
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
pub struct RiskChanged {
    /// About whom.
    pub agent: AgentId,
    /// From 0, nothing is known, to 100.
    pub from: u8,
    /// The same from now on.
    pub to: u8,
    /// Why.
    pub reason: Option<Text>,
}
