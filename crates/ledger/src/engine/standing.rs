//! Whether this process is the ledger's writer, and when it last had proof of it: written by the
//! loop, read by everyone without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Stands for no moment at all; every moment is stored one nanosecond later.
const NEVER: u64 = 0;

/// Moments as nanoseconds since `base`.
#[derive(Debug)]
pub(super) struct Standing {
    base: Instant,
    since: AtomicU64,
    round_trip: AtomicU64,
}

impl Standing {
    /// A writer since now, whose first append began at `began`.
    pub(super) fn writer(began: Instant) -> Self {
        let (since, round_trip) = (AtomicU64::new(NEVER), AtomicU64::new(NEVER));
        let standing = Self { base: began, since, round_trip };
        standing.take_up(began);
        standing
    }

    /// The process is the writer from now on: the append that made it so began at `began`.
    pub(super) fn take_up(&self, began: Instant) {
        self.round_trip(began);
        self.since.store(self.stored(Instant::now()), Ordering::Release);
    }

    /// A round trip to the log that began at `began` has shown that nobody else writes.
    pub(super) fn round_trip(&self, began: Instant) {
        self.round_trip.store(self.stored(began), Ordering::Release);
    }

    /// What is known of the log no longer says everything that is in force.
    pub(super) fn doubt(&self) {
        self.round_trip.store(NEVER, Ordering::Release);
    }

    /// The process is not the writer any more.
    pub(super) fn lose(&self) {
        self.since.store(NEVER, Ordering::Release);
        self.round_trip.store(NEVER, Ordering::Release);
    }

    pub(super) fn since(&self) -> Option<Instant> {
        self.moment(&self.since)
    }

    pub(super) fn last_round_trip(&self) -> Option<Instant> {
        self.moment(&self.round_trip)
    }

    fn stored(&self, moment: Instant) -> u64 {
        let nanos = moment.saturating_duration_since(self.base).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn moment(&self, stored: &AtomicU64) -> Option<Instant> {
        match stored.load(Ordering::Acquire) {
            NEVER => None,
            nanos => Some(self.base + Duration::from_nanos(nanos - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_has_both_moments_and_who_lost_has_neither() {
        let began = Instant::now();
        let standing = Standing::writer(began);
        assert_eq!(standing.last_round_trip(), Some(began));
        assert!(standing.since().is_some_and(|since| since >= began));
        let later = began + Duration::from_millis(7);
        standing.round_trip(later);
        assert_eq!(standing.last_round_trip(), Some(later));
        standing.doubt();
        assert!(standing.since().is_some() && standing.last_round_trip().is_none());
        standing.lose();
        assert_eq!((standing.since(), standing.last_round_trip()), (None, None));
        standing.take_up(later);
        assert_eq!(standing.last_round_trip(), Some(later));
        assert!(standing.since().is_some());
    }
}
