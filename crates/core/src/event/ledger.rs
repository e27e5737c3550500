//! Kinds 1–19: the ledger itself.

use crate::id::Text;
use crate::record::hash::{LedgerId, Link, PublicKey, Root};
use crate::time::Span;

/// The ledger's first event.
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
pub struct LedgerCreated {
    /// Its random id.
    pub ledger: LedgerId,
    /// Its name, which is also the name of its stream.
    pub name: Text,
    /// Its origin line in checkpoints (C2SP).
    pub origin: Text,
    /// Ed25519 public key of the first writer.
    pub genesis_key: PublicKey,
    /// The chapter that this ledger continues.
    pub continues: Option<Continues>,
}

/// The end of an earlier ledger that this one carries on.
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
pub struct Continues {
    /// Id of the earlier ledger.
    pub ledger: LedgerId,
    /// How many events it had.
    pub size: u64,
    /// Its tree's root at that size.
    pub root: Root,
    /// The link of its last event.
    pub link: Link,
}

/// A writer took up the ledger.
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
pub struct WriterStarted {
    /// Its epoch, one more than the writer before.
    pub epoch: u64,
}

/// A further key may sign entries, from the next entry on.
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
pub struct KeyRotated {
    /// Ed25519 public key.
    pub key: PublicKey,
}

/// The ledger's tree was signed at one size.
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
pub struct CheckpointSigned {
    /// How many events it has: those with an index below this.
    pub size: u64,
    /// Its root (RFC 6962).
    pub root: Root,
    /// The checkpoint as it is given to others: a C2SP signed note with this size and root.
    pub note: Text,
}

/// Who says which definition of a tool is the right one.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Pinning {
    /// The first definition that is seen.
    #[default]
    FirstUse,
    /// An operator: until then nothing is called.
    Operator,
}

/// How the ledger decides, where that is a matter of choice: the whole of it, not a difference.
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
pub struct ConfigChanged {
    /// Who says which definition of a tool is the right one.
    pub pinning: Pinning,
    /// How long people may take to answer.
    pub approval_ttl: Span,
}

/// Until somebody says otherwise.
impl Default for ConfigChanged {
    fn default() -> Self {
        Self { pinning: Pinning::default(), approval_ttl: Span::minutes(10) }
    }
}
