//! Kinds 120–129: revocations and the suspensions they leave.

use std::fmt;

use crate::id::{AgentId, GrantId, OwnerId, PointId, Resource, TaskId, Text, ToolId};

/// What a revocation covers. One event, however many grants it ends.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// One grant.
    Grant(GrantId),
    /// Every grant of an agent.
    Agent(AgentId),
    /// Every grant of an owner and of the owner's agents.
    Owner(OwnerId),
    /// Every grant of a task.
    Task(TaskId),
    /// Every grant on a tool.
    Tool(ToolId),
    /// Every grant on a resource and what lies below it, by whole segments.
    Resource(Resource),
    /// Everything.
    All,
}

impl Selector {
    /// The kind of thing selected, as it stands in feed subjects.
    #[must_use]
    pub const fn scope(&self) -> &'static str {
        match self {
            Self::Grant(_) => "grant",
            Self::Agent(_) => "agent",
            Self::Owner(_) => "owner",
            Self::Task(_) => "task",
            Self::Tool(_) => "tool",
            Self::Resource(_) => "resource",
            Self::All => "all",
        }
    }

    /// The id of what is selected; empty for everything.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Grant(id) => id.to_string(),
            Self::Agent(id) => id.to_string(),
            Self::Owner(id) => id.to_string(),
            Self::Task(id) => id.to_string(),
            Self::Tool(id) => id.to_string(),
            Self::Resource(id) => id.to_string(),
            Self::All => String::new(),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Grant(_)
            | Self::Agent(_)
            | Self::Owner(_)
            | Self::Task(_)
            | Self::Tool(_)
            | Self::Resource(_) => write!(f, "{} {}", self.scope(), self.id()),
        }
    }
}

/// Every grant that the selector matches and that was issued before this event has ended.
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
pub struct RevocationIssued {
    /// What is taken back.
    pub selector: Selector,
    /// Whether what is named also stays suspended until lifted.
    pub suspend: bool,
    /// A word for programs.
    pub reason_code: Text,
    /// Words for people.
    pub reason: Option<Text>,
}

/// What the selector names may be granted anew; old grants stay ended.
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
pub struct SuspensionLifted {
    /// What is free again.
    pub selector: Selector,
    /// Why.
    pub reason: Option<Text>,
}

/// How many enforcement points a [`RevocationEnforced`] names.
pub const ENFORCERS_NAMED_MAX: usize = 128;

/// One enforcement point's part in it.
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
pub struct Enforcer {
    /// Which.
    pub point: PointId,
    /// Whether it said so; if not, its lease ran out.
    pub acknowledged: bool,
    /// From the command to its word, or to the end of its lease.
    pub milliseconds: u32,
}

/// No enforcement point acts any more on what a feed item took back: each has said so, or its lease
/// ran out. The cause is the event behind the item.
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
pub struct RevocationEnforced {
    /// Number of the feed item.
    pub number: u64,
    /// How many points acknowledged it.
    pub acknowledged: u32,
    /// How many did not, and had a lease that ran out.
    pub expired: u32,
    /// Which they are, those that ran out first, at most [`ENFORCERS_NAMED_MAX`].
    pub points: Vec<Enforcer>,
    /// From the command to the last word or the last lease's end.
    pub milliseconds: u32,
}
