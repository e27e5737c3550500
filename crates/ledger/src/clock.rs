//! The one clock. It never runs back, and it says when it cannot be trusted.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bailiwick_core::time::{Span, Time};

/// A difference between wall and monotonic time that makes the clock unsure.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(60);
/// How far the wall clock may be behind the ledger's last event at a start.
pub(crate) const BEHIND_MAX: Span = Span::seconds(5);

/// Reads `max(wall clock, last event + monotonic time since)`.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The latest reading handed out, with the monotonic moment of it.
    floor: Option<(Time, Instant)>,
    /// The last pair of readings, to see a step of one against the other.
    seen: (Time, Instant),
    unsure: Option<String>,
}

impl Clock {
    /// Starts at the ledger's last event.
    #[must_use]
    pub(crate) fn start(last_event: Option<Time>) -> Self {
        let seen = (wall(), Instant::now());
        let behind = last_event.map_or(Span(0), |last| last.since(seen.0));
        let unsure = (behind > BEHIND_MAX)
            .then(|| format!("the system's clock is {behind} behind the ledger's last event"));
        Self { floor: last_event.map(|time| (time, seen.1)), seen, unsure }
    }

    /// The time now; never before a reading given earlier.
    pub(crate) fn read(&mut self) -> Time {
        let now = (wall(), Instant::now());
        self.compare(now);
        let reading = self.floor.map_or(now.0, |floor| now.0.max(reached(floor, now.1)));
        self.floor = Some((reading, now.1));
        reading
    }

    /// Another writer has recorded an event at `last`: time goes on from there. The clock is unsure
    /// when that is far ahead of it, as at a start.
    pub(crate) fn follow(&mut self, last: Time) {
        let now = (wall(), Instant::now());
        let behind = last.since(now.0);
        if behind > BEHIND_MAX && self.unsure.is_none() {
            self.unsure =
                Some(format!("the system's clock is {behind} behind the ledger's last event"));
        }
        if self.floor.is_none_or(|floor| last > reached(floor, now.1)) {
            self.floor = Some((last, now.1));
        }
    }

    /// Why the clock cannot be trusted, until an operator confirms it.
    #[must_use]
    pub(crate) fn unsure(&self) -> Option<&str> {
        self.unsure.as_deref()
    }

    /// An operator says that the clock is right.
    pub(crate) fn confirm(&mut self) {
        self.unsure = None;
    }

    fn compare(&mut self, now: (Time, Instant)) {
        let (wall, monotonic) = self.seen;
        let passed = nanos(now.1.duration_since(monotonic));
        let step = now.0.0.abs_diff(wall.0.saturating_add(passed));
        if step > nanos(STEP_MAX) && self.unsure.is_none() {
            self.unsure = Some(format!("the system's clock stepped by {}", Span(step / 1_000_000)));
        }
        self.seen = now;
    }
}

/// What a clock that read `floor` shows at `now`.
fn reached(floor: (Time, Instant), now: Instant) -> Time {
    Time(floor.0.0 + nanos(now.duration_since(floor.1)))
}

/// The system's clock.
#[must_use]
pub(crate) fn wall() -> Time {
    // A clock before 1970 reads as 1970, which is behind any ledger and therefore unsure.
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_never_run_back_and_pass_the_last_event() {
        let future = wall().after(Span::seconds(2));
        let mut clock = Clock::start(Some(future));
        assert!(clock.unsure().is_none());
        let first = clock.read();
        assert!(first >= future);
        assert!(clock.read() >= first);
    }

    #[test]
    fn a_start_far_behind_the_ledger_is_unsure_until_confirmed() {
        let mut clock = Clock::start(Some(wall().after(Span::seconds(60))));
        assert!(clock.unsure().is_some());
        clock.confirm();
        assert!(clock.unsure().is_none());
    }

    #[test]
    fn time_goes_on_from_what_another_writer_recorded() {
        let mut clock = Clock::start(None);
        let ahead = wall().after(Span::seconds(3));
        clock.follow(ahead);
        assert!(clock.unsure().is_none());
        assert!(clock.read() >= ahead);
        clock.follow(Time(ahead.0 - 1));
        assert!(clock.read() >= ahead, "an earlier event does not take it back");
        clock.follow(wall().after(Span::seconds(60)));
        assert!(clock.unsure().is_some());
    }

    #[test]
    fn a_step_of_the_wall_clock_is_noticed() {
        let mut clock = Clock::start(None);
        clock.seen.0 = Time(clock.seen.0.0 - nanos(Duration::from_secs(120)));
        let _ = clock.read();
        assert!(clock.unsure().is_some_and(|why| why.contains("stepped")));
    }
}
