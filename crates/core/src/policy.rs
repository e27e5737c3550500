//! What the policies say about one action: Cedar, compiled once, asked for every call.
//!
//! A [`PolicySet`] holds the active policies. [`PolicySet::evaluate`] answers one [`Question`] (may
//! this principal do this action to this resource, here and now?) with a [`Verdict`]. A call by an
//! agent is two questions, one for the agent and one for its owner, and both must be permitted; this
//! module answers each by itself, so an owner's verdict can never widen an agent's.
//!
//! Stricter than Cedar in two ways. A policy that errors denies, a `forbid` that errors too. And a
//! policy that can never apply, or that looks into something that is not there at a decision, is
//! refused when it is put, with line and column, instead of silently never matching.
//!
//! ```
//! use std::collections::BTreeSet;
//! use bailiwick_core::id::{Action, AgentId, OwnerId, PolicyId, Resource};
//! use bailiwick_core::policy::{Context, Decision, PolicySet, Principal, Question};
//! use bailiwick_core::time::Time;
//!
//! let id = PolicyId::new("read-cases")?;
//! let text = r#"@ttl("5m") @jit("true")
//!     permit (principal is Agent, action == Action::"crm/read_case",
//!             resource in Resource::"crm://case");"#;
//! let policies = PolicySet::compile([(&id, text)])?;
//!
//! let alice = OwnerId::new("alice")?;
//! let owner = Principal::owner(&alice, &BTreeSet::new());
//! let agent = Principal::agent(&AgentId::new("helper")?, &alice, "support", &BTreeSet::new());
//! let context = Context {
//!     task: None, session: None, justification: None, agent: Some(&agent), owner: &owner,
//!     of_resource: None, of_action: None, tool: None, effect: "read", time: Time(0),
//!     args: None, environment: None, live: None,
//! };
//! let verdict = policies.evaluate(&Question {
//!     principal: &agent,
//!     action: &Action::new("crm/read_case")?,
//!     resource: &Resource::new("crm://case/1234")?,
//!     context: &context,
//! });
//! assert_eq!(verdict.decision, Decision::Permit);
//! assert!(verdict.restrictions.jit);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod annotation;
mod circumstances;
mod evaluate;
mod inputs;
mod nesting;
mod resource;
mod schema;
mod set;
mod slice;
#[cfg(test)]
mod tests;

use crate::arguments::Arguments;
use crate::id::{Action, PolicyId, Resource, SessionId, TaskId, Text, ToolId};
use crate::properties::Properties;
use crate::time::{Span, Time};

pub use crate::event::{APPROVERS_MAX, ApprovalRule, ApprovalRuleError};
pub use annotation::Restrictions;
pub use circumstances::{Counts, History, Lately, Live, UsableGrant};
pub use evaluate::Principal;
pub use inputs::{Inputs, InputsError, LeftOut, SCHEMA_BYTES_MAX};
pub use schema::{InputSchemas, schema_text};
pub use set::{PolicySet, check_one, check_one_with};

/// The most bytes of one policy's text, so that it fits into one event.
pub const POLICY_BYTES_MAX: usize = 48_000;
/// The most policies of a set.
pub const POLICIES_MAX: usize = 20_000;
/// The most actions that one policy may name.
pub const ACTIONS_MAX: usize = 100;
/// The deepest nesting of brackets in a policy, every `if` counting as one more.
pub const NESTING_MAX: usize = 50;
/// The most operators (`&&`, `==`, `.`, `in`, `if` …) in a policy.
pub const OPERATORS_MAX: usize = 1_000;
/// The deepest tree of operators in a policy's conditions: a chain such as `a || b || c` counts as
/// long as it is.
pub const DEPTH_MAX: usize = 100;
/// The most path segments of a resource that policies look at; a resource with more is denied.
pub const SEGMENTS_MAX: usize = 100;
/// The longest life of a grant that a policy may allow.
pub const TTL_MAX: Span = Span::days(30);
/// The longest life of a grant that a policy annotated `@breakglass` may allow.
pub const BREAKGLASS_TTL_MAX: Span = Span::hours(1);
/// The most uses of such a grant.
pub const BREAKGLASS_USES_MAX: u32 = 10;
/// The most faults that are listed when policies are refused.
pub const FAULTS_MAX: usize = 100;

/// What is asked of the policies: may the principal do the action to the resource?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who wants to act: the agent, or the owner.
    pub principal: &'a Principal,
    /// What it wants to do.
    pub action: &'a Action,
    /// What it wants to do it to.
    pub resource: &'a Resource,
    /// Everything else that a policy may ask about; the same for the agent's question and the owner's.
    pub context: &'a Context<'a>,
}

/// The circumstances of a call. A policy reads them as `context.task`, `context.time.hour` and so on
/// ([`schema_text`] has the types); Cedar values are built only of those that a policy reads.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The task that the call belongs to.
    pub task: Option<TaskId>,
    /// The enforcement point's session.
    pub session: Option<&'a SessionId>,
    /// Why, in the agent's words: a policy may demand it, it proves nothing.
    pub justification: Option<&'a Text>,
    /// The agent that acts; nothing when a person acts in person.
    pub agent: Option<&'a Principal>,
    /// The owner on whose behalf it acts.
    pub owner: &'a Principal,
    /// What is known of the resource.
    pub of_resource: Option<&'a Properties>,
    /// What the enforcement point says of the action.
    pub of_action: Option<&'a Properties>,
    /// The tool that is called.
    pub tool: Option<&'a ToolId>,
    /// The effect class of the tool, such as `read` or `write`.
    pub effect: &'a str,
    /// Now, from which `context.time` is computed in UTC.
    pub time: Time,
    /// The real arguments.
    pub args: Option<&'a Arguments>,
    /// What the enforcement point says of where it stands.
    pub environment: Option<&'a Text>,
    /// What the ledger knows at this moment; nothing when it is not at hand, and then a policy that
    /// reads it makes the verdict a forbid that holds for no moment.
    pub live: Option<Live<'a>>,
}

/// What the policies say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// At least one permit holds, no forbid does, and nothing failed.
    Permit,
    /// A forbid holds, or the question could not be answered in full.
    Forbid,
    /// No policy says anything, which denies.
    Silent,
}

/// A policy of a set, by its place in the order of ids. It means nothing in another set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyIndex(pub u32);

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What the policies say.
    pub decision: Decision,
    /// The policies that made it so, ascending: the permits that hold when permitted; the forbids
    /// that hold and the policies that failed when forbidden; none when silent.
    pub determining: Vec<PolicyIndex>,
    /// What the determining permits ask for. When forbidden, only `reason` may be there.
    pub restrictions: Restrictions,
    /// Whether a policy failed, or the resource is none that policies can judge.
    pub errors: bool,
    /// Whether a policy that was looked at reads what changes from moment to moment (`context.time`,
    /// `history`, `risk`, `grant`): then the verdict holds only for the context it was asked with.
    pub volatile: bool,
    /// The numbers of the ledger's that were read, by name, such as `history.agent.calls.minute`.
    pub read: Vec<(&'static str, i64)>,
    /// Policies annotated `@shadow("true")` that hold. They decide nothing.
    pub shadow: Shadow,
}

/// Shadow policies that hold, each list ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shadow {
    /// Those that would permit.
    pub permits: Vec<PolicyIndex>,
    /// Those that would forbid.
    pub forbids: Vec<PolicyIndex>,
}

/// One fault of one policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy `{policy}`, line {line}, column {column}: {message}")]
pub struct PolicyError {
    /// The policy.
    pub policy: PolicyId,
    /// The line of the fault, from 1.
    pub line: u32,
    /// The column of the fault in characters, from 1.
    pub column: u32,
    /// What is wrong, and where it helps, what to do.
    pub message: String,
}

/// Why policies were refused: one fault or more. Its code is `invalid_policy`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first}{}", more(.rest.len()))]
pub struct PolicyErrors {
    first: PolicyError,
    rest: Vec<PolicyError>,
}

impl PolicyErrors {
    fn one(fault: PolicyError) -> Self {
        Self { first: fault, rest: Vec::new() }
    }

    /// The faults, or nothing if there are none. At most [`FAULTS_MAX`] are kept.
    fn of(faults: Vec<PolicyError>) -> Option<Self> {
        let mut faults = faults.into_iter().take(FAULTS_MAX);
        let first = faults.next()?;
        Some(Self { first, rest: faults.collect() })
    }

    /// Every fault, in the order of the policies and then of their texts.
    pub fn iter(&self) -> impl Iterator<Item = &PolicyError> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

fn more(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (and one more fault)".to_owned(),
        _ => format!(" (and {count} more faults)"),
    }
}

/// A fault before it has a policy and a line: what is wrong, and at which byte of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    offset: usize,
    message: String,
}

impl Fault {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }

    fn of_policy(self, policy: &PolicyId, text: &str) -> PolicyError {
        let mut offset = self.offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        PolicyError {
            policy: policy.clone(),
            line: count(line),
            column: count(column),
            message: self.message,
        }
    }
}
