//! One clock for all processes of a run.
//!
//! It is the machine's wall clock, the only one that a process can read and compare with another's
//! without code that the compiler does not check. A wall clock can be set, so a run watches it
//! against its own monotonic clock and is void if the two part.

use std::time::{Duration, Instant, SystemTime};

use anyhow::bail;

/// How far the clocks may part by steps.
const STEP_MAX: Duration = Duration::from_millis(1);
/// How much faster or slower one may run than the other, in parts of a million: what time daemons do.
const DRIFT_PPM: u32 = 1_000;

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// From one reading to another; nothing where the other is not later.
pub(super) const fn between(from: u64, to: u64) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}

/// Both clocks when a run began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    wall: u64,
    monotonic: Instant,
}

impl Watch {
    pub(super) fn start() -> Self {
        Self { wall: now(), monotonic: Instant::now() }
    }

    /// # Errors
    /// When the wall clock was set since the start.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let (wall, monotonic) = (now(), self.monotonic.elapsed());
        let apart = i128::from(wall) - i128::from(self.wall) - monotonic.as_nanos() as i128;
        let apart = Duration::from_nanos(u64::try_from(apart.abs()).unwrap_or(u64::MAX));
        if apart > STEP_MAX + monotonic * DRIFT_PPM / 1_000_000 {
            bail!("the machine's clock was set by {apart:?} during the run, which is void");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_voids_the_run() {
        Watch::start().check().unwrap();
        for seconds in [-1_i64, 1] {
            let wall = now().checked_add_signed(seconds * 1_000_000_000).unwrap();
            Watch { wall, monotonic: Instant::now() }.check().unwrap_err();
        }
    }
}
