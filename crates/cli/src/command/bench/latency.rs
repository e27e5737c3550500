//! Latencies as a bench reports them: exact values, sorted once at the end.

use std::time::Duration;

/// Latencies of one run, in nanoseconds.
#[derive(Debug, Default, Clone)]
pub(super) struct Latencies(Vec<u64>);

impl Latencies {
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The value below which this share of all lies, in microseconds.
    pub(super) fn quantile_us(&mut self, share: f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        let last = self.0.len() - 1;
        let at = ((self.0.len() as f64 * share) as usize).min(last);
        let (_, value, _) = self.0.select_nth_unstable(at);
        *value as f64 / 1_000.0
    }

    pub(super) fn max_us(&self) -> f64 {
        self.0.iter().max().copied().unwrap_or_default() as f64 / 1_000.0
    }
}
