//! Kinds 140–149: that the record was asked, and how it was put away.

use crate::id::Text;
use crate::record::hash::{Digest, Link, Root};

/// By which door a question came in.
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
pub enum QueryDoor {
    /// Over HTTP.
    Http,
    /// Over the PostgreSQL wire protocol.
    Postgres,
}

impl QueryDoor {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Postgres => "postgres",
        }
    }
}

/// How a question ended.
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
pub enum QueryOutcome {
    /// The whole answer was handed over.
    Answered,
    /// Whoever asked went away first, or cancelled.
    Abandoned,
    /// It was not answered, or the answer broke off, for the reason that the code names.
    Refused,
}

impl QueryOutcome {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Abandoned => "abandoned",
            Self::Refused => "refused",
        }
    }
}

/// The record was asked a question. Who asked is the event's actor.
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
pub struct QueryRun {
    /// By which door it came.
    pub door: QueryDoor,
    /// Its name, if it is one of the named questions.
    pub name: Option<Text>,
    /// SHA-256 of its text. The text itself may hold anything and is not recorded.
    pub text: Digest,
    /// SHA-256 of the values for its placeholders as canonical JSON, if there were any.
    pub parameters: Option<Digest>,
    /// Index of the last event that the answer took into account, if it came to one.
    pub as_of: Option<u64>,
    /// Rows of the answer, as far as it was handed over.
    pub rows: u64,
    /// Bytes of the answer as it was written, as far as it was handed over.
    pub bytes: u64,
    /// From the question to the end of its answer, in milliseconds.
    pub milliseconds: u32,
    /// How it ended.
    pub outcome: QueryOutcome,
    /// Why it was refused: a stable code.
    pub code: Option<Text>,
    /// How many questions before this one were not recorded, since too many waited to be.
    pub unrecorded: u32,
}

/// A range of events was put away as a file of the archive.
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
pub struct SegmentSealed {
    /// Index of its first event.
    pub first: u64,
    /// Index of its last event.
    pub last: u64,
    /// How many rows the file has.
    pub rows: u64,
    /// How many bytes the file has.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub file: Digest,
    /// Link of the event before the first; none where the first is the ledger's own.
    pub before: Option<Link>,
    /// Link of the last event.
    pub after: Link,
    /// Root of the Merkle tree (RFC 6962) over its events' links.
    pub root: Root,
    /// SHA-256 of the segment's row in the manifest.
    pub manifest: Digest,
}
