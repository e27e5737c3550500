//! Kinds 80–99: grants, from request to end.

use std::fmt;

use super::DenialCode;
use crate::id::{
    Action, AgentId, ApprovalId, GrantId, GrantRequestId, IdError, OwnerId, PolicyId, Resource,
    TaskId, Text, ToolId,
};
use crate::record::hash::Digest;
use crate::time::{Span, Time};

/// What a grant covers: one resource, or everything below a prefix by whole segments.
///
/// Written `crm://case/1234` or `crm://case/**`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub enum Scope {
    /// This resource only.
    Exact(Resource),
    /// The prefix and everything below it.
    Within(Resource),
}

impl Scope {
    /// Whether the scope holds `resource`.
    #[must_use]
    pub fn covers(&self, resource: &Resource) -> bool {
        match self {
            Self::Exact(exact) => exact == resource,
            Self::Within(prefix) => resource.is_within(prefix),
        }
    }

    /// The resource or the prefix.
    #[must_use]
    pub const fn root(&self) -> &Resource {
        match self {
            Self::Exact(resource) | Self::Within(resource) => resource,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(resource) => write!(f, "{resource}"),
            Self::Within(prefix) => write!(f, "{prefix}/**"),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.strip_suffix("/**") {
            Some(prefix) => Ok(Self::Within(Resource::new(prefix)?)),
            None => Ok(Self::Exact(Resource::new(text)?)),
        }
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Scope {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scope".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "examples": ["crm://case/1234", "crm://case/**"]})
    }
}

/// A grant was asked for; the request's id is this event's index.
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
pub struct GrantRequested {
    /// Who is to hold it.
    pub agent: AgentId,
    /// Whose authority.
    pub owner: OwnerId,
    /// For which task.
    pub task: Option<TaskId>,
    /// To do what.
    pub action: Action,
    /// To what.
    pub scope: Scope,
    /// How long it would be good for.
    pub ttl: Span,
    /// How often.
    pub max_uses: u32,
    /// Why.
    pub justification: Option<Text>,
    /// What the arguments have to be.
    pub constraints: Vec<Constraint>,
}

/// How a grant came to be.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Issuance {
    /// At a call, by a policy annotated `@jit`.
    JustInTime,
    /// Asked for, and a policy annotated `@jit` permitted it.
    Policy,
    /// By an operator.
    Operator,
    /// By people who approved it.
    Approved,
    /// By the holder of a wider grant, to another agent.
    Delegated,
    /// At a call, by a policy annotated `@breakglass` alone.
    BreakGlass,
}

/// A grant; its id is this event's index.
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
pub struct GrantIssued {
    /// Who holds it; none when its owner acts in person.
    pub agent: Option<AgentId>,
    /// Whose authority.
    pub owner: OwnerId,
    /// For which task.
    pub task: Option<TaskId>,
    /// Through which tool, when it was issued at a call.
    pub tool: Option<ToolId>,
    /// To do what.
    pub action: Action,
    /// To what.
    pub scope: Scope,
    /// From when.
    pub not_before: Time,
    /// Until when.
    pub expires_at: Time,
    /// How often.
    pub max_uses: u32,
    /// How it came to be.
    pub issuance: Issuance,
    /// The request it answers.
    pub request: Option<GrantRequestId>,
    /// The policies that permitted it.
    pub policies: Vec<PolicyId>,
    /// The policy set in force.
    pub policy_hash: Digest,
    /// Why.
    pub justification: Option<Text>,
    /// What the arguments have to be.
    pub constraints: Vec<Constraint>,
    /// The grant that it was delegated from, and dies with.
    pub parent: Option<GrantId>,
    /// The approval it came of.
    pub approval: Option<ApprovalId>,
    /// Digest of what the approvers were shown: it covers that and nothing else.
    pub shown: Option<Digest>,
}

/// A request was turned down.
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
pub struct GrantDenied {
    /// Which request.
    pub request: GrantRequestId,
    /// Why.
    pub code: DenialCode,
    /// Words for people.
    pub reason: Option<Text>,
}

/// A holder handed a grant back early.
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
pub struct GrantReturned {
    /// Which.
    pub grant: GrantId,
}

/// A grant ran out: of time, or of uses.
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
pub struct GrantEnded {
    /// Which.
    pub grant: GrantId,
}

/// What an argument has to be, for a grant to cover the call.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub struct Constraint {
    /// Where the argument stands: a JSON pointer (RFC 6901) into the arguments.
    pub at: Text,
    /// What it has to be.
    pub must: Must,
}

/// What an argument may be. One that is not there meets nothing.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Must {
    /// Exactly this.
    Equal(Plain),
    /// One of these.
    OneOf(Vec<Plain>),
    /// A text that begins so.
    Prefix(Text),
    /// A whole number of at most this much.
    Max(i64),
}

/// A value that has no parts.
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
#[serde(untagged)]
pub enum Plain {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(Text),
}

/// What a review came to.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    /// The grant stays.
    Keep,
    /// It was taken back: the revocation stands next to this.
    Revoke,
}

/// Somebody looked at a grant and said whether it is still needed.
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
pub struct AccessReviewed {
    /// Whose agents' grants were looked at.
    pub owner: OwnerId,
    /// Which grant.
    pub grant: GrantId,
    /// What it came to.
    pub review: Review,
    /// Why.
    pub reason: Option<Text>,
}

/// A policy annotated `@breakglass` alone let a grant be issued.
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
pub struct BreakglassUsed {
    /// Who; none when its owner acts in person.
    pub agent: Option<AgentId>,
    /// Whose authority.
    pub owner: OwnerId,
    /// The grant that was issued.
    pub grant: GrantId,
    /// To do what.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// The policies that let it.
    pub policies: Vec<PolicyId>,
    /// Why, in the caller's words: without any nothing is let.
    pub justification: Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back_as_they_are_written() {
        for root in ["crm://case", "crm://case/", "crm:/", "a", "file:///srv"] {
            let root = Resource::new(root).unwrap();
            for scope in [Scope::Exact(root.clone()), Scope::Within(root.clone())] {
                assert_eq!(scope.to_string().parse::<Scope>().as_ref(), Ok(&scope), "{scope}");
            }
        }
        assert!("crm://case".parse::<Scope>().unwrap() != "crm://case/**".parse().unwrap());
        for bad in ["", "/**", "**", "crm://*/x", "crm://case/*", "crm://a/../**"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scope_covers_whole_segments_below_its_root() {
        let covers = |scope: &str, resource: &str| {
            scope.parse::<Scope>().unwrap().covers(&Resource::new(resource).unwrap())
        };
        assert!(covers("crm://case/1", "crm://case/1"));
        assert!(!covers("crm://case/1", "crm://case/1/notes"));
        assert!(covers("crm://case/**", "crm://case/1/notes"));
        assert!(covers("crm://case/**", "crm://case"));
        assert!(!covers("crm://case/**", "crm://casework/1"));
        assert!(covers("crm://**", "crm://case"));
    }
}
