//! Kinds 70–79: tasks, the unit of intent.

use crate::id::{AgentId, OwnerId, TaskId, Text};
use crate::record::hash::Digest;

/// An agent was asked to do something. The task's id is this event's index.
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
pub struct TaskOpened {
    /// Who was asked.
    pub agent: AgentId,
    /// By whom.
    pub owner: OwnerId,
    /// What sort of task, for comparison with others of its sort.
    pub sort: Option<Text>,
    /// Digest of the statement; the words themselves stay outside.
    pub statement: Option<Digest>,
    /// Resources the statement names.
    pub targets: Vec<Text>,
}

/// A task is done; nothing more happens under it.
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
pub struct TaskClosed {
    /// Which.
    pub task: TaskId,
    /// Why.
    pub reason: Option<Text>,
}
