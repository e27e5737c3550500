//! What is wrong with a record, and where.

use crate::record::entry::{COUNT_MAX, ENTRY_BYTES_MAX};
use crate::record::frame::FrameError;
use crate::record::hash::{KeyId, LedgerId, Link};
use crate::time::Time;

/// The first thing that is wrong. Nothing after it has been looked at. Its code is
/// `record_broken`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry}, event {index}: {what}")]
pub struct Fault {
    /// The number of the entry, as it must be at this place.
    pub entry: u64,
    /// The index of the event; the first of the entry where the fault is not in one frame.
    pub index: u64,
    /// What is wrong.
    pub what: FaultKind,
}

/// The ways in which a record can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Not the beginning of an entry.
    #[error("the entry does not begin with `BWK1`")]
    Magic,
    /// An entry of another ledger.
    #[error("the entry belongs to ledger {found}, not {expected}")]
    Ledger {
        /// The ledger that is read.
        expected: LedgerId,
        /// The ledger that the entry names.
        found: LedgerId,
    },
    /// A gap, a repetition or another order of entries.
    #[error("the entry is numbered {found}")]
    Number {
        /// The number in the entry.
        found: u64,
    },
    /// An entry of a writer that had already been replaced.
    #[error("the writer epoch falls from {before} to {found}")]
    Epoch {
        /// The epoch of the entry before.
        before: u64,
        /// The epoch in the entry.
        found: u64,
    },
    /// No frames, or more than an entry may hold.
    #[error("the entry says that it holds {0} events, 1 to {COUNT_MAX} are allowed")]
    Count(u32),
    /// The length of the entry and what it says about its length differ.
    #[error("the entry has {found} bytes, its size field makes it {expected}")]
    Size {
        /// Bytes by the entry's own account.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// Fewer bytes than the smallest entry, or more than the largest.
    #[error("the entry has {0} bytes, which no entry has (at most {ENTRY_BYTES_MAX})")]
    EntryLength(u64),
    /// The frames do not fill the entry exactly.
    #[error("the events do not add up to the size of the entry")]
    Frames,
    /// A frame that does not decode.
    #[error("{0}")]
    Frame(FrameError),
    /// A gap, a repetition or another order of events.
    #[error("the event is numbered {found}")]
    Index {
        /// The index in the header.
        found: u64,
    },
    /// A time that is not later than that of the event before.
    #[error("the event's time {} is not later than {}, the event before", found.0, before.0)]
    Time {
        /// The time of the event before, Unix nanoseconds.
        before: Time,
        /// The time in the header, Unix nanoseconds.
        found: Time,
    },
    /// The chain is broken: this event or the one before is not the original.
    #[error("the event follows link {found}, the event before has link {expected}")]
    Prev {
        /// The link of the event before, from its stored bytes.
        expected: Link,
        /// The link in the header.
        found: Link,
    },
    /// The body is not the original.
    #[error("the body does not match its digest")]
    Body,
    /// Signed by a key that nothing on this ledger vouches for.
    #[error("the entry is signed by key {0}, which is not trusted")]
    KeyUnknown(KeyId),
    /// Signed by a key that a later entry adds.
    #[error("the entry is signed by key {key}, which is trusted only from entry {from}")]
    KeyEarly {
        /// The key.
        key: KeyId,
        /// The first entry that it may sign.
        from: u64,
    },
    /// The bytes that were signed are not these.
    #[error("the signature does not match the entry")]
    Signature,
    /// A rotation to something that is not a key.
    #[error("the event adds a key that is not a usable Ed25519 public key")]
    KeyInvalid,
    /// A body that its kind and schema cannot have.
    #[error("the event's body does not read as one of its kind")]
    Unreadable,
    /// A checkpoint of another tree, or of another ledger.
    #[error("the checkpoint of {size} events is not of the tree that the ledger had then")]
    CheckpointRoot {
        /// The size that it names.
        size: u64,
    },
    /// A checkpoint that no key of the ledger signed.
    #[error("the checkpoint of {size} events is not signed by a key of the ledger")]
    CheckpointSignature {
        /// The size that it names.
        size: u64,
    },
    /// The bytes end inside an entry.
    #[error("the record ends inside an entry")]
    Truncated,
    /// There is no entry at all, where every ledger has one.
    #[error("the record holds no entry")]
    Empty,
}
