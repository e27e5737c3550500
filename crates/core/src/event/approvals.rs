//! Kinds 100–109: approvals, bound to exactly what people were shown.

use std::fmt;
use std::str::FromStr;

use super::{Call, Constraint, Scope};
use crate::id::{ApprovalId, GrantRequestId, GroupId, OwnerId, PolicyId, Text, canonical_number};
use crate::record::hash::Digest;
use crate::time::{Span, Time};

/// The most people whose approval one rule may ask for.
pub const APPROVERS_MAX: u32 = 100;

/// Who must say yes before a grant is issued: `owner`, `group:<name>` or `N of group:<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub enum ApprovalRule {
    /// The agent's owner.
    Owner,
    /// So many different members of a group.
    Group {
        /// The group.
        group: GroupId,
        /// How many of its members, from 1 to [`APPROVERS_MAX`].
        count: u32,
    },
}

impl fmt::Display for ApprovalRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("owner"),
            Self::Group { group, count: 1 } => write!(f, "group:{group}"),
            Self::Group { group, count } => write!(f, "{count} of group:{group}"),
        }
    }
}

/// A text that is no approval rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is none of `owner`, `group:<name>` and `2 of group:<name>` (at most {APPROVERS_MAX} people)"
)]
pub struct ApprovalRuleError;

impl FromStr for ApprovalRule {
    type Err = ApprovalRuleError;

    fn from_str(text: &str) -> Result<Self, ApprovalRuleError> {
        if text == "owner" {
            return Ok(Self::Owner);
        }
        let (count, group) = match text.split_once(" of ") {
            Some((count, group)) => (canonical_number(count).ok_or(ApprovalRuleError)?, group),
            None => (1, text),
        };
        let group = group.strip_prefix("group:").ok_or(ApprovalRuleError)?;
        let group = GroupId::new(group).map_err(|_| ApprovalRuleError)?;
        if count == 0 || count > APPROVERS_MAX {
            return Err(ApprovalRuleError);
        }
        Ok(Self::Group { group, count })
    }
}

impl serde::Serialize for ApprovalRule {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl schemars::JsonSchema for ApprovalRule {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ApprovalRule".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "examples": ["owner", "2 of group:security"]})
    }
}

/// People were asked; the approval's id is this event's index.
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
pub struct ApprovalRequested {
    /// What was attempted, or would be with the grant that was asked for.
    pub call: Call,
    /// The owner on whose behalf it would be.
    pub owner: OwnerId,
    /// To what; the call's resource unless a grant for a prefix was asked for.
    pub scope: Scope,
    /// What the arguments would have to be.
    pub constraints: Vec<Constraint>,
    /// The request for a grant that led to it.
    pub request: Option<GrantRequestId>,
    /// Who has to say yes: every rule has to be met.
    pub needs: Vec<ApprovalRule>,
    /// How long the grant would be good for, from the last yes on.
    pub ttl: Span,
    /// How often.
    pub max_uses: u32,
    /// Until when it may be answered.
    pub expires_at: Time,
    /// The policies that ask for it.
    pub policies: Vec<PolicyId>,
    /// The policy set in force.
    pub policy_hash: Digest,
    /// Digest of everything that people are shown.
    pub shown: Digest,
}

/// Somebody said yes. The grant, if that was the last one needed, comes right after.
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
pub struct ApprovalGranted {
    /// To what.
    pub approval: ApprovalId,
    /// Who.
    pub by: OwnerId,
    /// Digest of what that person was shown.
    pub shown: Digest,
    /// Whether nobody else has to say yes.
    pub complete: bool,
    /// In their words.
    pub reason: Option<Text>,
}

/// Somebody said no, which ends it.
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
pub struct ApprovalDenied {
    /// To what.
    pub approval: ApprovalId,
    /// Who.
    pub by: OwnerId,
    /// In their words.
    pub reason: Option<Text>,
}

/// Nobody answered in time, or what it stood on is gone.
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
pub struct ApprovalExpired {
    /// Which.
    pub approval: ApprovalId,
}

/// Whoever asked does not want it any more.
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
pub struct ApprovalWithdrawn {
    /// Which.
    pub approval: ApprovalId,
    /// In their words.
    pub reason: Option<Text>,
}
