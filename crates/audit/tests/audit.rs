//! Tests that need the query engine, in one binary: each link of it costs seconds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects and no more")]

#[path = "audit/story.rs"]
mod story;
#[path = "audit/year.rs"]
mod year;

#[path = "audit/answers.rs"]
mod answers;
#[path = "audit/approvals.rs"]
mod approvals;
#[path = "audit/archived.rs"]
mod archived;
#[path = "audit/budget.rs"]
mod budget;
#[path = "audit/functions.rs"]
mod functions;
#[path = "audit/grown.rs"]
mod grown;
#[path = "audit/guarded.rs"]
mod guarded;
#[path = "audit/intervals.rs"]
mod intervals;
#[path = "audit/materialized.rs"]
mod materialized;
#[path = "audit/page.rs"]
mod page;
#[path = "audit/questions.rs"]
mod questions;
#[path = "audit/scans.rs"]
mod scans;
#[path = "audit/served.rs"]
mod served;
#[path = "audit/snapshots.rs"]
mod snapshots;
#[path = "audit/verify.rs"]
mod verify;
#[path = "audit/wire.rs"]
mod wire;
