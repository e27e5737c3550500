//! The enforcement points of this process, for all its threads: who pings, what each has
//! acknowledged, and whether anybody can still act on what was taken back. The rules are those of
//! `bailiwick_core::enforce`; this adds the lock, the clock and who may speak for a point.
//!
//! Nothing of it is recorded. When this process becomes the writer anew it begins anew: points that
//! a writer before it answered are unknown to it for as long as they may act.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_core::enforce::{Enforced, LEASE, Monotonic, POINTS_MAX, Points, SKEW};
use bailiwick_core::event::Actor;
use bailiwick_core::id::PointId;
use bailiwick_ledger::Ledger;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::watch;

use crate::problem::{POINT_TAKEN, POINTS_EXHAUSTED, Problem, UNAVAILABLE};

mod wait;

pub(crate) use wait::{Awaited, Narrowed};

/// How many points an agent's own key may speak for: it must not take the places of others.
pub(crate) const POINTS_OF_AGENT_MAX: usize = 64;
/// Upper bounds of the histogram of the time until something is enforced, in seconds.
const ENFORCED_BUCKETS_SECONDS: [f64; 9] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.05, 2.05];

/// The enforcement points that this process answers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Roster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    /// Where [`Monotonic`] counts from.
    base: Instant,
    kept: Mutex<Kept>,
    /// Moves whenever a wait may have come to its end: a point has acknowledged more or is gone.
    moved: watch::Sender<()>,
    /// Seconds until something was enforced everywhere, for metrics.
    took: Histogram,
}

#[derive(Debug)]
struct Kept {
    points: Points,
    /// When this process became the writer that `points` belong to.
    since: Option<Instant>,
    /// INVARIANT: every point of `points` is here.
    known: BTreeMap<PointId, Known>,
    /// The highest number that anybody has asked about: no answer after that tells of less, so that
    /// nobody is given a lease without it who was not there to be waited for.
    asked_about: u64,
}

/// What is known of a point besides the rules.
#[derive(Debug)]
struct Known {
    /// Who speaks for it.
    by: Actor,
    applied: Option<u64>,
}

/// A ping of a point, by who speaks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ping<'a> {
    pub(crate) point: &'a PointId,
    pub(crate) by: &'a Actor,
    /// Whether that is an agent itself.
    pub(crate) is_agent: bool,
    /// Every item up to this number is enforced there.
    pub(crate) applied: Option<u64>,
    /// Where the feed stands.
    pub(crate) number: u64,
}

/// One point, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) point: PointId,
    pub(crate) applied: Option<u64>,
    pub(crate) answered_ago: Duration,
    pub(crate) is_live: bool,
}

impl Roster {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        let since = ledger.writer_since();
        // Nothing that matters happened before this process was the writer.
        let base = since.unwrap_or_else(Instant::now);
        let kept = Kept {
            points: Points::new(LEASE, SKEW, Monotonic::default()),
            since,
            known: BTreeMap::new(),
            asked_about: 0,
        };
        Self {
            inner: Arc::new(Inner {
                ledger: ledger.clone(),
                base,
                kept: Mutex::new(kept),
                moved: watch::Sender::new(()),
                took: Histogram::new(ENFORCED_BUCKETS_SECONDS),
            }),
        }
    }

    /// Takes a ping in and gives the number to answer with. The answer has to leave after this and
    /// only if this succeeds.
    ///
    /// A point holds its lease from when it *sent* the ping, at `sent`. That is before `taken`, and
    /// the round trip that vouches for this process began, as the writer, after `taken − lease`. So
    /// any writer that came after it began after `taken − lease` too, the point's lease ends by
    /// `sent + lease ≤ taken + lease`, and two leases after that writer's begin it has ended,
    /// however long the answer is on its way: the two moments have to be read after the ping has
    /// come in.
    ///
    /// The number is no older than the round trip, even where those who read the committed state for
    /// the streams have fallen behind: then points wait for the item, and their leases end.
    ///
    /// The number matters to this process's own waits. Whoever waits for a later number asks under
    /// the same lock: before this, then the answer tells of that number as well, and gives no lease
    /// without it; or after this, then it finds the answer here, and waits for its lease to end.
    pub(crate) fn answer(&self, ping: &Ping<'_>) -> Result<u64, Problem> {
        let taken = Instant::now();
        let vouched = self.inner.ledger.vouched();
        let fresh = |(began, _): &_| taken.saturating_duration_since(*began) < lease();
        let Some((_, vouched)) = vouched.filter(fresh) else {
            return Err(UNAVAILABLE.with("the ledger has not been reached for a lease"));
        };
        let Some(mut kept) = self.as_writer() else {
            return Err(UNAVAILABLE.with("another writer has the ledger"));
        };
        kept.owned(ping.point, ping.by)?;
        let is_new = !kept.known.contains_key(ping.point);
        if is_new && ping.is_agent && kept.of(ping.by) >= POINTS_OF_AGENT_MAX {
            let most = format!("an agent has {POINTS_OF_AGENT_MAX} enforcement points already");
            return Err(POINTS_EXHAUSTED.with(most));
        }
        let number = ping.number.max(vouched).max(kept.asked_about);
        let now = self.now();
        let answered = kept.points.answer(ping.point, ping.applied, number, now);
        let number = answered.map_err(|error| POINTS_EXHAUSTED.with(error.to_string()))?;
        if is_new {
            // Others may have been forgotten to make room.
            kept.forget_others(now);
        }
        let known = kept
            .known
            .entry(ping.point.clone())
            .or_insert_with(|| Known { by: ping.by.clone(), applied: None });
        let has_grown = ping.applied > known.applied;
        known.applied = known.applied.max(ping.applied);
        drop(kept);
        if has_grown {
            self.inner.moved.send_replace(());
        }
        Ok(number)
    }

    /// A point has stopped everything and is gone.
    pub(crate) fn leave(&self, point: &PointId, by: &Actor) -> Result<(), Problem> {
        let mut kept = self.kept();
        kept.owned(point, by)?;
        kept.points.leave(point);
        kept.known.remove(point);
        drop(kept);
        self.inner.moved.send_replace(());
        Ok(())
    }

    /// Points by name, those after `after`, at most one more than `limit`.
    pub(crate) fn after(&self, after: Option<&PointId>, limit: usize) -> Vec<Standing> {
        let kept = self.kept();
        let now = self.now();
        let all = kept.points.all(now).filter(|standing| Some(standing.point) > after);
        let shown = all.map(|standing| Standing {
            point: standing.point.clone(),
            applied: standing.applied,
            answered_ago: Duration::from_nanos(now.0.saturating_sub(standing.answered.0)),
            is_live: standing.is_live,
        });
        shown.take(limit.saturating_add(1)).collect()
    }

    /// How many points can still hold a lease.
    pub(crate) fn live(&self) -> usize {
        let kept = self.kept();
        kept.points.all(self.now()).filter(|standing| standing.is_live).count()
    }

    /// Seconds until something was enforced everywhere.
    pub(crate) fn took(&self) -> Histogram {
        self.inner.took.clone()
    }

    /// Who enforces `number` now of those that could act at `asked` or later.
    fn enforced(&self, number: Option<u64>, asked: Instant) -> Enforced {
        let kept = self.as_writer();
        let is_writer = kept.is_some();
        let mut kept = kept.unwrap_or_else(|| self.kept());
        kept.asked_about = kept.asked_about.max(number.unwrap_or(0));
        let mut enforced = kept.points.enforced(number, self.at(asked), self.now());
        drop(kept);
        // What is on the ledger, another writer tells of as well. What is not, it knows nothing of;
        // and who is cut off from the log cannot know whether there is one.
        enforced.unknown |=
            number.is_none() && (!is_writer || self.inner.ledger.can_be_overtaken());
        enforced
    }

    /// The points, begun anew if this process became the writer anew; none while it is not.
    fn as_writer(&self) -> Option<MutexGuard<'_, Kept>> {
        let mut kept = self.kept();
        let since = self.inner.ledger.writer_since()?;
        if kept.since != Some(since) {
            kept.since = Some(since);
            kept.points = Points::new(LEASE, SKEW, self.at(since));
            kept.known.clear();
            self.inner.moved.send_replace(());
        }
        Some(kept)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere leaves a point with less than it said, which only makes others wait.
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Monotonic {
        self.at(Instant::now())
    }

    /// A moment before the base counts as the base, which only makes others wait.
    fn at(&self, moment: Instant) -> Monotonic {
        let since = moment.saturating_duration_since(self.inner.base);
        Monotonic(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// When a reading comes.
    fn when(&self, reading: Monotonic) -> Instant {
        self.inner.base + Duration::from_nanos(reading.0)
    }
}

impl Kept {
    /// Refuses whoever does not speak for the point.
    fn owned(&self, point: &PointId, by: &Actor) -> Result<(), Problem> {
        match self.known.get(point) {
            Some(known) if known.by != *by => {
                Err(POINT_TAKEN.with(format!("`{point}` is another caller's")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How many points a caller speaks for.
    fn of(&self, by: &Actor) -> usize {
        self.known.values().filter(|known| known.by == *by).count()
    }

    fn forget_others(&mut self, now: Monotonic) {
        if self.known.len() < POINTS_MAX {
            return;
        }
        let left: BTreeSet<&PointId> =
            self.points.all(now).map(|standing| standing.point).collect();
        self.known.retain(|point, _| left.contains(point));
    }
}

const fn lease() -> Duration {
    Duration::from_millis(LEASE.0)
}

#[cfg(test)]
mod tests;
