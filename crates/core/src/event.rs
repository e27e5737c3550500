//! Events: facts in the past tense, each with who did it, for whom and because of what.
//!
//! A kind's number and a released `(kind, schema)` type are forever: no field is added, removed,
//! reordered or retyped. A change is a new schema number and a pure function that lifts the old
//! one. Bodies are `salt ‖ bincode(About) ‖ bincode(fact)`; golden bytes of every kind are tested.

use std::fmt;

use crate::id::{AgentId, CredentialId, OwnerId, RequestId, Text};
use crate::record::frame::BODY_BYTES_MAX;
use crate::record::hash::{Digest, Link};
use crate::time::Time;
use bincode::enc::write::{SizeWriter, Writer};
use bincode::error::EncodeError;

mod approvals;
mod audit;
mod calls;
mod credentials;
mod entities;
mod findings;
mod first;
mod grants;
mod ledger;
mod policies;
mod refused;
mod registry;
mod revocations;
mod second;
mod subjects;
mod tasks;
mod tools;

pub use approvals::{
    APPROVERS_MAX, ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested,
    ApprovalRule, ApprovalRuleError, ApprovalWithdrawn,
};
pub use audit::{QueryDoor, QueryOutcome, QueryRun, SegmentSealed};
pub use calls::{Call, CallAuthorized, CallDenied, CallFinished, DenialCode, Effect, Outcome};
pub use credentials::{
    CredentialIssued, CredentialLimited, CredentialRevoked, Role, SCRAM_SALT_BYTES,
    SCRAM_SEALED_BYTES, ScramVerifier,
};
pub use entities::{Entity, EntityPut, EntityRemoved};
pub use findings::{Detector, FindingRaised, RiskChanged, Verdict};
pub use grants::{
    AccessReviewed, BreakglassUsed, Constraint, GrantDenied, GrantEnded, GrantIssued,
    GrantRequested, GrantReturned, Issuance, Must, Plain, Review, Scope,
};
pub use ledger::{
    CheckpointSigned, ConfigChanged, Continues, KeyRotated, LedgerCreated, Pinning, WriterStarted,
};
pub use policies::{PoliciesActivated, PolicyPut, PolicyRemoved, SchemaPut};
pub use refused::{DenialsAggregated, REFUSED_MAX, Refused};
pub use registry::{KINDS, name_of};
pub use revocations::{
    ENFORCERS_NAMED_MAX, Enforcer, RevocationEnforced, RevocationIssued, Selector, SuspensionLifted,
};
pub use subjects::{
    AgentReassigned, AgentReinstated, AgentRetired, AgentSettings, AgentSuspended, AgentWritten,
    Allow, DelegateAdded, DelegateRemoved, OwnerDisabled, OwnerEnabled, OwnerWritten,
};
pub use tasks::{TaskClosed, TaskOpened};
pub use tools::{ToolChanged, ToolPinned, ToolUnpinned};

/// Bytes of random salt in front of every body, so that small bodies cannot be guessed.
pub const SALT_BYTES: usize = 16;

/// Who did something.
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
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The ledger itself: its start, its detector, its expiry timer.
    System,
    /// The holder of an API key, in that key's role.
    Credential {
        /// The key's public name.
        id: CredentialId,
        /// Its role at that time.
        role: Role,
    },
    /// The bearer of an access token (RFC 9068) of a trusted issuer.
    Token {
        /// The issuer.
        issuer: Text,
        /// Whose authority it carries: the token's `sub`.
        owner: OwnerId,
        /// The agent that acts: the token's `act.sub`.
        agent: Option<AgentId>,
        /// The role that the issuer's tokens were given for it.
        role: Role,
    },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system"),
            Self::Credential { id, .. } => write!(f, "credential `{id}`"),
            Self::Token { issuer, owner, agent: None, .. } => {
                write!(f, "`{owner}` with a token of {issuer}")
            }
            Self::Token { issuer, owner, agent: Some(agent), .. } => {
                write!(f, "agent `{agent}` for `{owner}` with a token of {issuer}")
            }
        }
    }
}

/// A caller's own id for a command together with the digest of that command, so that the same id
/// with another command is refused and a retry gets its first answer.
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
pub struct RequestKey {
    /// The caller's id.
    pub id: RequestId,
    /// BLAKE3 of the command.
    pub digest: Digest,
}

/// A W3C trace id, 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct TraceId(pub [u8; 16]);

impl serde::Serialize for TraceId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(self.0))
    }
}

impl schemars::JsonSchema for TraceId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TraceId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9a-f]{32}$"})
    }
}

/// What every event carries beside its own fields.
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
pub struct About {
    /// Who did it.
    pub actor: Actor,
    /// The authenticated human for whom it was done, if the request carried one.
    pub on_behalf_of: Option<OwnerId>,
    /// Index of the event that led to this one.
    pub cause: Option<u64>,
    /// The caller's own id of the command.
    pub request: Option<RequestKey>,
    /// W3C trace id.
    pub trace: Option<TraceId>,
}

/// One event, not yet placed on a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who, for whom, why.
    pub about: About,
    /// What happened.
    pub fact: Fact,
}

/// Where an event stands on its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Place {
    /// 0-based position on the ledger.
    pub index: u64,
    /// Unix nanoseconds, strictly increasing.
    pub time: Time,
    /// Hash of its header.
    pub link: Link,
}

/// An event in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub event: Event,
}

/// Why stored bytes are not an event that this build understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A kind or schema number that this build does not know. A projection stops here.
    #[error("event kind {kind} schema {schema} is unknown to this version")]
    Unknown {
        /// Kind number.
        kind: u16,
        /// Schema number.
        schema: u8,
    },
    /// The body does not decode, or bytes are left over.
    #[error("body of kind {kind} does not decode: {why}")]
    Body {
        /// Kind number.
        kind: u16,
        /// What was wrong.
        why: String,
    },
}

/// Decoding claims memory before it reads, by the size that things have in memory and not by the
/// size that they have in a body: hence more than a body may have, and still bounded.
const CLAIM_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

const CODEC: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<CLAIM_BYTES_MAX>,
> = bincode::config::standard().with_limit::<CLAIM_BYTES_MAX>();

/// The newest schema of a kind: one more than there are earlier ones of another type.
macro_rules! newest {
    () => {
        1
    };
    ($first:ty) => {
        2
    };
    ($first:ty, $second:ty) => {
        3
    };
}

macro_rules! facts {
    ($($kind:literal $name:literal $variant:ident($type:ty) $(after $old:ty $(, $second:ty)?)?;)+) => {
        /// What happened: one variant a kind.
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
        #[serde(tag = "kind", content = "data")]
        pub enum Fact {$(
            #[doc = concat!("Kind ", $kind, ", `", $name, "`.")]
            #[serde(rename = $name)]
            $variant($type),
        )+}

        impl Fact {
            /// The kind's number in the registry.
            #[must_use]
            pub const fn kind(&self) -> u16 {
                match self {$(Self::$variant(_) => $kind,)+}
            }

            /// The kind's name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {$(Self::$variant(_) => $name,)+}
            }

            /// The schema number of the kind's type.
            #[must_use]
            pub const fn schema(&self) -> u8 {
                match self {$(Self::$variant(_) => newest!($($old $(, $second)?)?),)+}
            }

            fn encode_to(&self, out: &mut impl Writer) -> Result<(), EncodeError> {
                match self {$(
                    Self::$variant(fact) => bincode::encode_into_writer(fact, out, CODEC),
                )+}
            }

            fn decode_from(kind: u16, schema: u8, bytes: &[u8]) -> Option<Result<(Self, usize), bincode::error::DecodeError>> {
                match (kind, schema) {
                    $(($kind, newest!($($old $(, $second)?)?)) => Some(
                        bincode::borrow_decode_from_slice::<$type, _>(bytes, CODEC)
                            .map(|(fact, used)| (Self::$variant(fact), used)),
                    ),)+
                    $($(($kind, 1) => Some(
                        bincode::borrow_decode_from_slice::<$old, _>(bytes, CODEC)
                            .map(|(fact, used)| (Self::$variant(fact.into()), used)),
                    ),
                    $(($kind, 2) => Some(
                        bincode::borrow_decode_from_slice::<$second, _>(bytes, CODEC)
                            .map(|(fact, used)| (Self::$variant(fact.into()), used)),
                    ),)?)?)+
                    _ => None,
                }
            }
        }

        #[cfg(test)]
        pub(crate) const TYPED: &[(u16, &str)] = &[$(($kind, $name)),+];
    };
}

facts! {
    1 "ledger.created" LedgerCreated(LedgerCreated);
    2 "writer.started" WriterStarted(WriterStarted);
    3 "key.rotated" KeyRotated(KeyRotated);
    4 "checkpoint.signed" CheckpointSigned(CheckpointSigned);
    5 "config.changed" ConfigChanged(ConfigChanged);
    20 "owner.registered" OwnerRegistered(OwnerWritten);
    21 "owner.updated" OwnerUpdated(OwnerWritten);
    22 "owner.disabled" OwnerDisabled(OwnerDisabled);
    23 "owner.enabled" OwnerEnabled(OwnerEnabled);
    24 "delegate.added" DelegateAdded(DelegateAdded);
    25 "delegate.removed" DelegateRemoved(DelegateRemoved);
    30 "agent.registered" AgentRegistered(AgentWritten);
    31 "agent.updated" AgentUpdated(AgentWritten);
    32 "agent.suspended" AgentSuspended(AgentSuspended);
    33 "agent.reinstated" AgentReinstated(AgentReinstated);
    34 "agent.retired" AgentRetired(AgentRetired);
    35 "agent.reassigned" AgentReassigned(AgentReassigned);
    40 "entity.put" EntityPut(EntityPut);
    41 "entity.removed" EntityRemoved(EntityRemoved);
    42 "tool.pinned" ToolPinned(ToolPinned);
    43 "tool.unpinned" ToolUnpinned(ToolUnpinned);
    44 "tool.changed" ToolChanged(ToolChanged);
    50 "policy.put" PolicyPut(PolicyPut);
    51 "policy.removed" PolicyRemoved(PolicyRemoved);
    52 "schema.put" SchemaPut(SchemaPut);
    53 "policies.activated" PoliciesActivated(PoliciesActivated);
    60 "credential.issued" CredentialIssued(CredentialIssued) after first::CredentialIssued, second::CredentialIssued;
    61 "credential.revoked" CredentialRevoked(CredentialRevoked);
    62 "credential.limited" CredentialLimited(CredentialLimited);
    70 "task.opened" TaskOpened(TaskOpened);
    71 "task.closed" TaskClosed(TaskClosed);
    80 "grant.requested" GrantRequested(GrantRequested) after first::GrantRequested;
    81 "grant.issued" GrantIssued(GrantIssued) after first::GrantIssued;
    82 "grant.denied" GrantDenied(GrantDenied);
    83 "grant.returned" GrantReturned(GrantReturned);
    84 "grant.expired" GrantExpired(GrantEnded);
    85 "grant.exhausted" GrantExhausted(GrantEnded);
    86 "access.reviewed" AccessReviewed(AccessReviewed);
    87 "breakglass.used" BreakglassUsed(BreakglassUsed);
    100 "approval.requested" ApprovalRequested(ApprovalRequested);
    101 "approval.granted" ApprovalGranted(ApprovalGranted);
    102 "approval.denied" ApprovalDenied(ApprovalDenied);
    103 "approval.expired" ApprovalExpired(ApprovalExpired);
    104 "approval.withdrawn" ApprovalWithdrawn(ApprovalWithdrawn);
    110 "call.authorized" CallAuthorized(CallAuthorized) after first::CallAuthorized;
    111 "call.denied" CallDenied(CallDenied) after first::CallDenied;
    112 "call.finished" CallFinished(CallFinished);
    113 "denials.aggregated" DenialsAggregated(DenialsAggregated);
    120 "revocation.issued" RevocationIssued(RevocationIssued);
    121 "suspension.lifted" SuspensionLifted(SuspensionLifted);
    122 "revocation.enforced" RevocationEnforced(RevocationEnforced);
    130 "finding.raised" FindingRaised(FindingRaised);
    132 "risk.changed" RiskChanged(RiskChanged);
    140 "query.run" QueryRun(QueryRun);
    144 "segment.sealed" SegmentSealed(SegmentSealed);
}

impl Event {
    /// Writes the body, salt first, to the end of `out`, which is left as it was on an error.
    ///
    /// # Errors
    /// Only when the body would have more than [`BODY_BYTES_MAX`] bytes; `decide` keeps below that.
    pub fn encode_body(
        &self,
        salt: [u8; SALT_BYTES],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        out.extend_from_slice(&salt);
        let written = self.encode_to(&mut Appender(out));
        if let Err(error) = written {
            out.truncate(start);
            return Err(error);
        }
        if out.len() - start > BODY_BYTES_MAX {
            out.truncate(start);
            return Err(EncodeError::Other("an event body has at most 65,535 bytes"));
        }
        debug_assert_eq!(
            Self::decode_body(self.fact.kind(), self.fact.schema(), &out[start..]).as_ref(),
            Ok(self),
            "what is written must read back the same"
        );
        Ok(())
    }

    fn encode_to(&self, out: &mut impl Writer) -> Result<(), EncodeError> {
        bincode::encode_into_writer(&self.about, &mut *out, CODEC)?;
        self.fact.encode_to(out)
    }

    /// How many bytes the body has, salt included.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        let mut size = SizeWriter::default();
        match self.encode_to(&mut size) {
            Ok(()) => SALT_BYTES + size.bytes_written,
            Err(_) => usize::MAX,
        }
    }

    /// Reads a body, which must be used up to its last byte.
    ///
    /// # Errors
    /// [`DecodeError`] when the kind is unknown or the bytes are not a body of that kind.
    pub fn decode_body(kind: u16, schema: u8, body: &[u8]) -> Result<Self, DecodeError> {
        let bad = |why: String| DecodeError::Body { kind, why };
        if body.len() > BODY_BYTES_MAX {
            return Err(bad(format!("{} bytes are more than a body has", body.len())));
        }
        let after_salt = body.get(SALT_BYTES..).ok_or_else(|| bad("no salt".to_owned()))?;
        let (about, used) = bincode::borrow_decode_from_slice::<About, _>(after_salt, CODEC)
            .map_err(|e| bad(e.to_string()))?;
        let rest = &after_salt[used..];
        let (fact, used) = Fact::decode_from(kind, schema, rest)
            .ok_or(DecodeError::Unknown { kind, schema })?
            .map_err(|e| bad(e.to_string()))?;
        if used != rest.len() {
            return Err(bad(format!("{} bytes are left over", rest.len() - used)));
        }
        Ok(Self { about, fact })
    }
}

/// Appends to a buffer, which cannot fail.
struct Appender<'a>(&'a mut Vec<u8>);

impl Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The JSON form of an event in its place, as `schemas/event.schema.json` describes it.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
#[schemars(title = "Event")]
pub struct Json<'a> {
    /// 0-based position on the ledger.
    pub index: u64,
    /// Unix nanoseconds.
    pub time: Time,
    /// Hash of the event's header: with `index` the public receipt.
    pub link: Link,
    /// Schema number of the kind.
    pub schema: u8,
    /// Who, for whom, why.
    pub about: &'a About,
    /// Kind and data.
    #[serde(flatten)]
    pub fact: &'a Fact,
}

impl Recorded {
    /// The JSON form.
    #[must_use]
    pub fn json(&self) -> Json<'_> {
        Json {
            index: self.place.index,
            time: self.place.time,
            link: self.place.link,
            schema: self.event.fact.schema(),
            about: &self.event.about,
            fact: &self.event.fact,
        }
    }
}
