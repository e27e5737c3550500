//! What comes of a command.

use std::fmt;

use crate::event::{DenialCode, Selector};
use crate::id::{ApprovalId, CallId, GrantId, OwnerId};
use crate::record::hash::{Digest, Link};
use crate::time::Time;

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was done and is recorded.
    Done(Done),
    /// It was a call and has been decided.
    Decided(Decision),
    /// It was not done. Nothing is recorded.
    Refused(Refusal),
}

/// What was recorded for an administrative command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Kind number of the event that answers the command.
    pub kind: u16,
    /// Its index, which is the number of what it created.
    pub index: u64,
    /// Index of a grant that was issued in the same step as its request.
    pub grant: Option<GrantId>,
    /// Set when this repeats the answer to an earlier submission of the same id.
    pub repeats: Option<Link>,
}

/// A call's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Index of the call's event.
    pub call: CallId,
    /// Allowed, or why not.
    pub result: Result<Allowed, Denied>,
    /// Set when this repeats the answer to an earlier submission of the same id.
    pub repeats: Option<Link>,
}

/// An allowed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The grant that was used.
    pub grant: GrantId,
    /// On whose authority, so that a revocation of the owner finds the call.
    pub owner: OwnerId,
    /// Until when it lives.
    pub expires_at: Time,
    /// Uses left after this one.
    pub uses_left: u32,
    /// What else ends the call when it is taken back: all that the grant was delegated from, with
    /// its holders and their tasks.
    pub rests_on: Vec<Selector>,
}

/// A denied call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// From the closed list.
    pub code: DenialCode,
    /// Words for people; nothing of policy.
    pub message: String,
    /// The approval that is waited for, or that did not help.
    pub approval: Option<Box<Awaited>>,
}

/// An approval as a denial names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// Its id.
    pub id: ApprovalId,
    /// Until when it may be answered.
    pub expires_at: Time,
    /// Digest of what people are shown.
    pub shown: Digest,
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// From a closed list.
    pub code: RefusalCode,
    /// Words for people.
    pub message: String,
}

/// Why a command was not done: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The actor's role does not allow it.
    NotPermitted,
    /// The actor's credential is unknown, revoked or expired.
    CredentialInvalid,
    /// What is named is not known.
    NotFound,
    /// It exists already.
    AlreadyExists,
    /// It is not in the state that the command needs.
    WrongState,
    /// A field is out of its range.
    OutOfRange,
    /// The policy does not validate.
    PolicyInvalid,
    /// A limit of the ledger is reached.
    LimitReached,
    /// The caller's id was used for another command.
    IdReused,
    /// It cannot be recorded now.
    Unavailable,
    /// Too many commands wait.
    Overloaded,
    /// The clock cannot be trusted.
    ClockUnsure,
}

impl RefusalCode {
    /// The code as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotPermitted => "not_permitted",
            Self::CredentialInvalid => "credential_invalid",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::WrongState => "wrong_state",
            Self::OutOfRange => "out_of_range",
            Self::PolicyInvalid => "policy_invalid",
            Self::LimitReached => "limit_reached",
            Self::IdReused => "id_reused",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::ClockUnsure => "clock_unsure",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Refusal {
    /// A refusal with its words.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
