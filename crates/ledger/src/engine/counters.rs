//! What the loop counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the append histogram's buckets, in seconds.
pub const APPEND_BUCKETS_SECONDS: [f64; 8] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.02, 0.1, 0.5];

/// Counts since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    /// Commands decided.
    pub commands: u64,
    /// Calls allowed and delivered.
    pub allowed: u64,
    /// Calls denied.
    pub denied: u64,
    /// Commands refused.
    pub refused: u64,
    /// Commands turned away because too many waited.
    pub overloaded: u64,
    /// Entries committed.
    pub entries: u64,
    /// Events committed.
    pub events: u64,
    /// Bytes committed.
    pub bytes: u64,
    /// Appends whose first attempt had an unknown outcome.
    pub unknown_outcomes: u64,
    /// Appends by duration, one count a bucket and one for what is longer.
    pub append_buckets: [u64; APPEND_BUCKETS_SECONDS.len() + 1],
    /// Time spent in appends, in seconds.
    pub append_seconds: f64,
    /// Time spent deciding and encoding, in seconds.
    pub decide_seconds: f64,
    /// Commands that wait now.
    pub queue: usize,
    /// Number of the last feed item.
    pub feed_number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) commands: AtomicU64,
    pub(super) allowed: AtomicU64,
    pub(super) denied: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) overloaded: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) unknown_outcomes: AtomicU64,
    append_buckets: [AtomicU64; APPEND_BUCKETS_SECONDS.len() + 1],
    append_nanos: AtomicU64,
    decide_nanos: AtomicU64,
}

impl Counts {
    pub(super) fn appended(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = APPEND_BUCKETS_SECONDS.iter().position(|bound| seconds <= *bound);
        let bucket = bucket.unwrap_or(APPEND_BUCKETS_SECONDS.len());
        self.append_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        add(&self.append_nanos, took);
    }

    pub(super) fn decided(&self, took: Duration) {
        add(&self.decide_nanos, took);
    }

    pub(super) fn read(&self, queue: usize, feed_number: u64) -> Counters {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let seconds = |count: &AtomicU64| Duration::from_nanos(get(count)).as_secs_f64();
        Counters {
            commands: get(&self.commands),
            allowed: get(&self.allowed),
            denied: get(&self.denied),
            refused: get(&self.refused),
            overloaded: get(&self.overloaded),
            entries: get(&self.entries),
            events: get(&self.events),
            bytes: get(&self.bytes),
            unknown_outcomes: get(&self.unknown_outcomes),
            append_buckets: std::array::from_fn(|i| get(&self.append_buckets[i])),
            append_seconds: seconds(&self.append_nanos),
            decide_seconds: seconds(&self.decide_nanos),
            queue,
            feed_number,
        }
    }
}

fn add(count: &AtomicU64, took: Duration) {
    count.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}
