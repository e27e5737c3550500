//! The record: one hash chain of events, stored as signed entries.
//!
//! Every event is a [`frame`]: a fixed header and a body. The header names the link of the event
//! before it and the digest of its own body, so the chain of headers alone proves order, kind,
//! time and count, and bodies can be withheld from a copy. An [`entry`] is one group commit of
//! frames under one signature; a [`dump`] is entries one after another. The same headers are the
//! leaves of a Merkle [`tree`], which gives short proofs; a signed [`note`] tells its size and root.
//!
//! Everything that proves something is computed over stored bytes: nothing is decoded and encoded
//! again to verify it. This module knows nothing of what a body means, of storage, of clocks and
//! of where keys are kept.

pub mod dump;
pub mod entry;
pub mod fault;
pub mod frame;
pub mod hash;
pub mod keys;
pub mod note;
pub mod tree;
pub mod verify;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod vectors;

pub use entry::{EntryBuilder, EntryRef, Sealed};
pub use fault::{Fault, FaultKind};
pub use frame::{FrameRef, Header};
pub use hash::{Digest, KeyId, LedgerId, Link, PublicKey, Root};
pub use keys::KeyRing;
pub use verify::{Position, Signatures};
