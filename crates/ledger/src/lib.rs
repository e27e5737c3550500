//! The record: appends to one chain, follows it, snapshots.
//!
//! [`Ledger`] is a ledger open for writing: one engine thread drains commands into a batch, decides
//! them with `bailiwick_core::decide`, seals one entry, appends it, and answers when it is durable.
//! [`log`] stores entries, on one machine's disk or on NATS JetStream; [`anchor`] is what a node
//! itself remembers of the ledger, so that no store can quietly give it another one. [`replay`] and
//! [`snapshot`] bring the state back; a [`Follower`] reads the chain in order at its own pace.
//! [`home`] has the node's secrets, [`scram`] what is sealed under them of an API key.
//!
//! This crate alone knows NATS and the embedded store, and no type of theirs crosses its API. It
//! knows nothing of HTTP, MCP and SQL, and decides nothing: the rules are `bailiwick_core`'s.

pub mod anchor;
pub mod home;
pub mod log;
pub mod replay;
pub mod scram;
pub mod snapshot;

mod clock;
mod engine;
mod error;
mod feed;
mod lock;
mod projector;
mod tail;

pub use engine::{
    ANSWER_MAX, APPEND_BUCKETS_SECONDS, Config, Counters, Health, Info, Ledger, QUEUE_MAX, Receipt,
    Reply, Store,
};
pub use error::Error;
pub use tail::{Committed, Follower, Head};
