//! The `bailiwick` binary, as people and scripts use it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bailiwick;
mod flips;
mod offline;
mod server;
mod story;
mod usage;
