//! Kinds 60–69: API keys.

use std::fmt;

use crate::id::{AgentId, CredentialId, OwnerId, Text};
use crate::record::hash::Digest;
use crate::time::Time;

/// What the holder of a credential may do.
#[derive(
    Debug,
    Clone,
    Copy,
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
pub enum Role {
    /// Everything.
    Admin,
    /// Runs the system: registers, issues, revokes; no policies, no credentials.
    Operator,
    /// Answers approval requests.
    Approver,
    /// An enforcement point: asks for decisions about any agent and reports outcomes.
    Enforcer,
    /// One agent: asks for itself only.
    Agent,
    /// Reads everything, changes nothing.
    Auditor,
    /// Hears revocations.
    Subscriber,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Enforcer => "enforcer",
            Self::Agent => "agent",
            Self::Auditor => "auditor",
            Self::Subscriber => "subscriber",
        })
    }
}

/// An API key was made. The key itself is shown once and never recorded.
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
pub struct CredentialIssued {
    /// Its public name.
    pub credential: CredentialId,
    /// What its holder may do.
    pub role: Role,
    /// The agent it speaks for, when the role is `agent`.
    pub agent: Option<AgentId>,
    /// Keyed hash of the key.
    pub key_hash: Digest,
    /// When it stops working.
    pub expires_at: Option<Time>,
    /// The human who holds it, for roles that people act in.
    pub owner: Option<OwnerId>,
    /// The credential whose place it takes.
    pub rotates: Option<CredentialId>,
    /// By what its holder is known to a server that never sees the key; none for keys from before
    /// there were any.
    pub scram: Option<ScramVerifier>,
}

/// Bytes of a verifier's salt.
pub const SCRAM_SALT_BYTES: usize = 16;
/// Bytes of a verifier's sealed keys: `StoredKey` and `ServerKey`, and 16 bytes that vouch for them.
pub const SCRAM_SEALED_BYTES: usize = 80;

/// What a server keeps of a key to know its holder by SCRAM-SHA-256 (RFC 5802, RFC 7677). Its two
/// keys are sealed under the ledger's secret: who reads the ledger can neither pose as the server
/// nor try keys. In JSON it says no more than that it is there.
#[derive(Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ScramVerifier {
    /// The salt.
    pub salt: [u8; SCRAM_SALT_BYTES],
    /// How often the key is hashed.
    pub iterations: u32,
    /// `StoredKey` and `ServerKey`, sealed.
    pub sealed: [u8; SCRAM_SEALED_BYTES],
}

/// The mechanism's registered name.
const SCRAM: &str = "SCRAM-SHA-256";

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(SCRAM).field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl serde::Serialize for ScramVerifier {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(SCRAM)
    }
}

impl schemars::JsonSchema for ScramVerifier {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ScramVerifier".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "const": SCRAM})
    }
}

/// An API key stops working sooner than it would have: another takes its place.
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
pub struct CredentialLimited {
    /// Its public name.
    pub credential: CredentialId,
    /// When it stops working.
    pub expires_at: Time,
}

/// An API key stopped working.
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
pub struct CredentialRevoked {
    /// Its public name.
    pub credential: CredentialId,
    /// Why.
    pub reason: Option<Text>,
}
