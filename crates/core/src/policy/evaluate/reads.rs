//! What conditions read, so that no more than that is built for a question.

use crate::policy::History;

/// What conditions read, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reads(u64);

/// The first of the bits for the single counts of the history, in the order of [`History::numbers`].
const FIRST_COUNT: u32 = 32;
const COUNTS: u64 = ((1 << History::NUMBERS) - 1) << FIRST_COUNT;

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
    pub(super) const ENVIRONMENT: Self = Self(1 << 9);
    pub(super) const ARGS: Self = Self(1 << 10);
    pub(super) const HISTORY: Self = Self(1 << 11);
    pub(super) const RISK: Self = Self(1 << 12);
    pub(super) const GRANT: Self = Self(1 << 13);
    /// What only the state of the ledger has.
    pub(super) const LIVE: Self = Self(Self::HISTORY.0 | Self::RISK.0 | Self::GRANT.0);
    /// What changes from moment to moment.
    pub(super) const VOLATILE: Self = Self(Self::TIME.0 | Self::LIVE.0);
    /// All of the context.
    pub(super) const CONTEXT: Self = Self(((1 << 14) - 1) | COUNTS);
    /// What is known of the principal, beyond who it is; and so on.
    pub(super) const OF_PRINCIPAL: Self = Self(1 << 14);
    pub(super) const OF_AGENT: Self = Self(1 << 15);
    pub(super) const OF_OWNER: Self = Self(1 << 16);
    pub(super) const OF_RESOURCE: Self = Self(1 << 17);
    pub(super) const OF_ACTION: Self = Self(1 << 18);

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
            "environment" => Self::ENVIRONMENT,
            "args" => Self::ARGS,
            "history" => Self(Self::HISTORY.0 | COUNTS),
            "risk" => Self::RISK,
            "grant" => Self::GRANT,
            _ => Self::CONTEXT,
        }
    }

    /// The history, as far as it stands below a path such as `history.agent.calls`.
    pub(super) fn of_history(path: &str) -> Self {
        let numbers = History::NONE.numbers();
        let below = numbers.iter().enumerate().filter(|(_, (name, _))| {
            name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        let bits = below.map(|(n, _)| 1 << (FIRST_COUNT as usize + n)).sum::<u64>();
        Self(Self::HISTORY.0 | bits)
    }

    /// Whether the history's number at this place is read.
    pub(super) fn has_number(self, at: usize) -> bool {
        self.0 & (1 << (FIRST_COUNT as usize + at)) != 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_into_the_history_reads_what_is_below_it() {
        let read = |path: &str| -> Vec<&str> {
            let reads = Reads::of_history(path);
            assert!(reads.has(Reads::HISTORY) && reads.has(Reads::VOLATILE));
            let numbers = History::NONE.numbers();
            let read = numbers.iter().enumerate().filter(|(n, _)| reads.has_number(*n));
            read.map(|(_, (name, _))| *name).collect()
        };
        assert_eq!(read("history.task.calls.hour"), ["history.task.calls.hour"]);
        let denials = ["minute", "hour", "day"].map(|of| format!("history.tool.denials.{of}"));
        assert_eq!(read("history.tool.denials"), denials);
        assert_eq!(read("history").len(), History::NUMBERS);
        assert_eq!(read("history.task.calls.ho").len(), 0);
        assert!(!Reads::of_context("args").has(Reads::VOLATILE));
        assert!(Reads::CONTEXT.has_number(0) && Reads::CONTEXT.has_number(17));
    }
}
