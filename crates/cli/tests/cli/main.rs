//! The `bailiwick` binary, as people and scripts use it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod approvals;
mod bad_questions;
mod bailiwick;
mod bench;
mod checkpoints;
mod flips;
mod grants;
#[expect(dead_code, reason = "other tests kill and restart it")]
#[path = "../../../ledger/tests/support/nats.rs"]
mod nats;
mod offline;
mod policy;
mod registry;
mod revoke;
mod server;
mod sql;
mod story;
mod usage;
