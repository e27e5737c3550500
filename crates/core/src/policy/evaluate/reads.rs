//! What conditions read, so that no more than that is built for a question.

/// What conditions read, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reads(u16);

impl Reads {
    pub(super) const TASK: Self = Self(1);
    pub(super) const SESSION: Self = Self(1 << 1);
    pub(super) const JUSTIFICATION: Self = Self(1 << 2);
    pub(super) const AGENT: Self = Self(1 << 3);
    pub(super) const OWNER: Self = Self(1 << 4);
    pub(super) const TOOL: Self = Self(1 << 5);
    pub(super) const EFFECT: Self = Self(1 << 6);
    pub(super) const TIME: Self = Self(1 << 7);
    pub(super) const ACTION: Self = Self(1 << 8);
    /// All of the context.
    pub(super) const CONTEXT: Self = Self((1 << 9) - 1);
    /// What is known of the principal, beyond who it is; and so on.
    pub(super) const OF_PRINCIPAL: Self = Self(1 << 9);
    pub(super) const OF_AGENT: Self = Self(1 << 10);
    pub(super) const OF_OWNER: Self = Self(1 << 11);
    pub(super) const OF_RESOURCE: Self = Self(1 << 12);
    pub(super) const OF_ACTION: Self = Self(1 << 13);

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn of_context(attribute: &str) -> Self {
        match attribute {
            "task" => Self::TASK,
            "session" => Self::SESSION,
            "justification" => Self::JUSTIFICATION,
            "agent" => Self::AGENT,
            "owner" => Self::OWNER,
            "tool" => Self::TOOL,
            "effect" => Self::EFFECT,
            "action" => Self::ACTION,
            "time" => Self::TIME,
            _ => Self::CONTEXT,
        }
    }

    /// The entity that an attribute of this name holds, if it holds one.
    pub(super) fn of_entity(attribute: &str) -> Self {
        match attribute {
            "agent" => Self::OF_AGENT,
            "owner" => Self::OF_OWNER,
            "action" => Self::OF_ACTION,
            _ => Self::default(),
        }
    }
}
