//! Whole-system tests: the `bailiwick` binary with real clients, real servers and real faults.
//!
//! One binary with a module a subject, because linking is what takes long. Tools that a test needs
//! (nats-server, MCP servers and clients) are fetched by `tests/run`; without one the test says
//! `skipped:`, unless `BAILIWICK_TEST_REQUIRE_TOOLS=1`.
#![expect(clippy::unwrap_used, reason = "a test may stop at what cannot happen")]

#[path = "system/tidy.rs"]
mod tidy;

#[path = "system/archive.rs"]
mod archive;
#[path = "system/bad_input.rs"]
mod bad_input;
#[path = "system/crash.rs"]
mod crash;
#[path = "system/feed.rs"]
mod feed;
#[path = "system/founding.rs"]
mod founding;
#[path = "system/mcp.rs"]
mod mcp;
#[path = "system/permissions.rs"]
mod permissions;
#[path = "system/pg.rs"]
mod pg;
#[path = "system/readme.rs"]
mod readme;

#[path = "system/support.rs"]
mod support;

#[expect(dead_code, reason = "the ledger's own tests use the rest of it")]
#[path = "../crates/ledger/tests/support/nats.rs"]
mod nats;
