//! The `bailiwick` binary, as people and scripts use it.

mod bailiwick;
mod flips;
mod offline;
mod server;
mod story;
mod usage;
