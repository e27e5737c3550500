//! The `bailiwick` binary, as people and scripts use it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod approvals;
mod bailiwick;
mod bench;
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
mod story;
mod usage;
