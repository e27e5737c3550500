//! Tests that need the query engine, in one binary: each link of it costs seconds.

#[path = "audit/story.rs"]
mod story;

#[path = "audit/answers.rs"]
mod answers;
#[path = "audit/guarded.rs"]
mod guarded;
#[path = "audit/intervals.rs"]
mod intervals;
#[path = "audit/questions.rs"]
mod questions;
#[path = "audit/snapshots.rs"]
mod snapshots;
