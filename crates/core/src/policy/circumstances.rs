//! What the ledger itself knows of a call at the moment of its decision, for policies to read: what
//! came before, how far the agent is trusted, which grant would be used.

use std::fmt;

/// How many, by how long ago. None is not zero: it is not known, and policies that read it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lately {
    /// In the last minute.
    pub minute: Option<u32>,
    /// In the last hour.
    pub hour: Option<u32>,
    /// In the last day.
    pub day: Option<u32>,
}

impl Lately {
    const NONE: Self = Self { minute: Some(0), hour: Some(0), day: Some(0) };
}

/// Calls that were authorized and calls that were denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Authorized.
    pub calls: Lately,
    /// Denied.
    pub denials: Lately,
}

impl Counts {
    /// Nothing at all, and that is known.
    pub const NONE: Self = Self { calls: Lately::NONE, denials: Lately::NONE };
}

/// What came before a call, from the ledger and never from the caller. The call itself is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Of whoever acts.
    pub agent: Counts,
    /// Of whoever acts, in this task; without a task, in none.
    pub task: Counts,
    /// Of whoever acts, with this tool; without a tool, of this action.
    pub tool: Counts,
}

/// The grant that a call would use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsableGrant {
    /// How often it was used.
    pub uses: u32,
    /// How often it may still be used.
    pub uses_left: u32,
    /// Whole seconds since it began.
    pub age_seconds: u64,
    /// Whole seconds until it ends.
    pub expires_in_seconds: u64,
}

/// The circumstances that only the state of the ledger has. Each is looked up when a policy at hand
/// reads it, and not otherwise.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    /// What came before.
    pub history: &'a dyn Fn() -> History,
    /// How far the agent is distrusted, from 0 to 100.
    pub risk: u8,
    /// The live grant that covers the call, the lowest if there are several.
    pub grant: &'a dyn Fn() -> Option<UsableGrant>,
}

impl fmt::Debug for Live<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("risk", &self.risk).finish_non_exhaustive()
    }
}

impl History {
    /// Nothing came before.
    pub const NONE: Self = Self { agent: Counts::NONE, task: Counts::NONE, tool: Counts::NONE };

    /// How many numbers it is.
    pub(super) const NUMBERS: usize = 18;

    /// Each number under the name that policies read it by, without `context.`.
    pub(super) const fn numbers(&self) -> [(&'static str, Option<u32>); Self::NUMBERS] {
        let (agent, task, tool) = (&self.agent, &self.task, &self.tool);
        [
            ("history.agent.calls.minute", agent.calls.minute),
            ("history.agent.calls.hour", agent.calls.hour),
            ("history.agent.calls.day", agent.calls.day),
            ("history.agent.denials.minute", agent.denials.minute),
            ("history.agent.denials.hour", agent.denials.hour),
            ("history.agent.denials.day", agent.denials.day),
            ("history.task.calls.minute", task.calls.minute),
            ("history.task.calls.hour", task.calls.hour),
            ("history.task.calls.day", task.calls.day),
            ("history.task.denials.minute", task.denials.minute),
            ("history.task.denials.hour", task.denials.hour),
            ("history.task.denials.day", task.denials.day),
            ("history.tool.calls.minute", tool.calls.minute),
            ("history.tool.calls.hour", tool.calls.hour),
            ("history.tool.calls.day", tool.calls.day),
            ("history.tool.denials.minute", tool.denials.minute),
            ("history.tool.denials.hour", tool.denials.hour),
            ("history.tool.denials.day", tool.denials.day),
        ]
    }
}
