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
    /// Number of the last feed item when that round trip ended.
    number: AtomicU64,
}

impl Standing {
    /// A writer since now, whose first append began at `began`; the feed stands at `number`.
    pub(super) fn writer(began: Instant, number: u64) -> Self {
        let [since, round_trip, last] = [NEVER, NEVER, 0].map(AtomicU64::new);
        let standing = Self { base: began, since, round_trip, number: last };
        standing.round_trip(began, number);
        standing.take_up();
        standing
    }

    /// The process is the writer from now on.
    pub(super) fn take_up(&self) {
        self.since.store(self.stored(Instant::now()), Ordering::Release);
    }

    /// A round trip to the log that began at `began` has shown that nobody else writes, and that the
    /// feed stands at `number`.
    pub(super) fn round_trip(&self, began: Instant, number: u64) {
        // First the number: whoever sees the round trip sees no older one.
        self.number.store(number, Ordering::Release);
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

    /// The last round trip, and a feed number that is no older.
    pub(super) fn vouched(&self) -> Option<(Instant, u64)> {
        let began = self.last_round_trip()?;
        Some((began, self.number.load(Ordering::Acquire)))
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
        let standing = Standing::writer(began, 2);
        assert!(standing.since().is_some_and(|since| since >= began));
        assert_eq!(standing.vouched(), Some((began, 2)));
        let later = began + Duration::from_millis(7);
        standing.round_trip(later, 3);
        assert_eq!(standing.vouched(), Some((later, 3)));
        standing.doubt();
        assert!(standing.since().is_some() && standing.last_round_trip().is_none());
        standing.lose();
        assert_eq!((standing.since(), standing.last_round_trip()), (None, None));
        standing.take_up();
        assert!(standing.since().is_some() && standing.last_round_trip().is_none());
    }
}
