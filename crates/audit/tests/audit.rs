//! Tests that need the query engine, in one binary: each link of it costs seconds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects and no more")]

#[path = "audit/story.rs"]
mod story;
#[path = "audit/year.rs"]
mod year;

#[path = "audit/answers.rs"]
mod answers;
#[path = "audit/guarded.rs"]
mod guarded;
#[path = "audit/intervals.rs"]
mod intervals;
#[path = "audit/questions.rs"]
mod questions;
#[path = "audit/scans.rs"]
mod scans;
#[path = "audit/snapshots.rs"]
mod snapshots;
