//! Waiting until nobody acts any more on what was taken back, and recording that it is so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bailiwick_core::command::{Answer, Command, RecordEnforced, Submission};
use bailiwick_core::enforce::Enforced;
use bailiwick_core::event::{Actor, Enforcer, TraceId};
use bailiwick_core::feed::Feed;
use bailiwick_core::id::PointId;
use bailiwick_core::time::Span;
use bailiwick_ledger::Reply;
use serde::Serialize;
use utoipa::ToSchema;

use crate::command::Receipt;
use crate::desk::Desk;

/// What came of waiting until a revocation is enforced everywhere.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Enforced)]
pub(crate) struct Awaited {
    /// Whether no enforcement point acts any more on what was taken back.
    done: bool,
    /// The revocation's number on the feed, which points acknowledge; none while it is not on the
    /// ledger, or when the feed no longer keeps it.
    number: Option<u64>,
    /// From when the request was taken until it was done, or until the wait ended.
    milliseconds: u32,
    /// Points that could act when the request was taken and no longer act on what was taken back, by
    /// name.
    points: Vec<Enforcing>,
    /// Points that may still act on it, by name.
    waiting: Vec<String>,
    /// Whether points may still act that this process does not know of: a writer before it may have
    /// answered them, or one after it.
    unknown: bool,
    /// Where `revocation.enforced` is recorded; none if it is not.
    receipt: Option<Receipt>,
}

/// One enforcement point that no longer acts on what was taken back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Enforcing {
    /// Its name.
    point: String,
    /// Whether it said that it enforces the revocation; if not, its lease ran out.
    acknowledged: bool,
    /// From when the request was taken until that was known.
    milliseconds: u32,
}

/// What points have to enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Narrowed {
    /// Its own number, if it has one and the feed still keeps it.
    number: Option<u64>,
    /// Whoever has applied this number enforces it; without one only the ends of leases count.
    applied: Option<u64>,
}

impl Narrowed {
    /// Something in force that is not on the ledger yet.
    pub(crate) const UNRECORDED: Self = Self { number: None, applied: None };

    /// The event at `index`, which is on the ledger.
    pub(crate) fn of(feed: &Feed, next_index: u64, index: u64) -> Self {
        let number = feed.of_event(index).map(|item| item.number);
        // Whoever has applied all items has applied one that is no longer kept. A state that has
        // not come that far yet says nothing.
        let applied = number.or_else(|| (index < next_index).then_some(feed.last()));
        Self { number, applied }
    }
}

impl Desk {
    /// Waits from `asked` on, at most `timeout`, until nobody acts on `narrowed` any more, and
    /// records that nobody does.
    pub(crate) async fn wait_enforced(
        &self,
        narrowed: Narrowed,
        asked: Instant,
        timeout: Duration,
        trace: Option<TraceId>,
    ) -> Awaited {
        let mut seen = Seen { asked, points: BTreeMap::new() };
        let enforced = self.watch_points(narrowed.applied, timeout, &mut seen).await;
        let took = asked.elapsed();
        let receipt = match narrowed.number.filter(|_| enforced.is_done()) {
            Some(number) => {
                self.points.inner.took.observe(took.as_secs_f64());
                self.record_enforced(number, &seen, took, trace).await
            }
            None => None,
        };
        let points = seen.points.into_iter().map(|(point, (acknowledged, milliseconds))| {
            Enforcing { point: point.to_string(), acknowledged, milliseconds }
        });
        Awaited {
            done: enforced.is_done(),
            number: narrowed.number,
            milliseconds: milliseconds(took),
            points: points.collect(),
            waiting: enforced.waiting.iter().map(ToString::to_string).collect(),
            unknown: enforced.unknown,
            receipt,
        }
    }

    /// Looks at the points until they all enforce `applied`, the time is over, or the server closes.
    async fn watch_points(
        &self,
        applied: Option<u64>,
        timeout: Duration,
        seen: &mut Seen,
    ) -> Enforced {
        let ends = seen.asked + timeout;
        let mut moved = self.points.inner.moved.subscribe();
        let mut closing = self.closing.clone();
        loop {
            moved.mark_unchanged();
            let enforced = self.points.enforced(applied, seen.asked);
            seen.note(&enforced);
            // With nobody left to wait for, time tells no more of those that are not known.
            let is_settled = enforced.waiting.is_empty() && enforced.next.is_none();
            if is_settled || Instant::now() >= ends || *closing.borrow() {
                return enforced;
            }
            let next = enforced.next.map_or(ends, |next| self.points.when(next).min(ends));
            tokio::select! {
                // Neither sender goes before the desk does, or it is a shutdown, seen above.
                _ = moved.changed() => {}
                _ = closing.wait_for(|closing| *closing) => return enforced,
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    /// The wait has come to its end whether this is recorded or not: what cannot be has no receipt.
    async fn record_enforced(
        &self,
        number: u64,
        seen: &Seen,
        took: Duration,
        trace: Option<TraceId>,
    ) -> Option<Receipt> {
        let points = seen.points.iter().map(|(point, (acknowledged, milliseconds))| Enforcer {
            point: point.clone(),
            acknowledged: *acknowledged,
            milliseconds: *milliseconds,
        });
        let took = Span(milliseconds(took).into());
        let record = RecordEnforced { number, points: points.collect(), took };
        let command = Command::RecordEnforced(record);
        let submission = Submission { actor: Actor::System, request: None, trace, command };
        let Reply { answer, receipt, durable } = self.ledger.submit(submission).await;
        match answer {
            Answer::Done(_) if durable => {
                receipt.map(|receipt| Receipt { index: receipt.index, link: receipt.link })
            }
            Answer::Done(_) | Answer::Refused(_) | Answer::Decided(_) => {
                tracing::warn!(number, ?answer, "enforced everywhere, but that is not recorded");
                None
            }
        }
    }
}

/// What was seen of points since `asked`: whether each acknowledged, and after how many
/// milliseconds it no longer acted.
#[derive(Debug)]
struct Seen {
    asked: Instant,
    points: BTreeMap<PointId, (bool, u32)>,
}

impl Seen {
    fn note(&mut self, enforced: &Enforced) {
        let now = milliseconds(self.asked.elapsed());
        for point in &enforced.acknowledged {
            let known = self.points.entry(point.clone()).or_insert((true, now));
            // Its lease ran out first, and then it came back.
            if !known.0 {
                *known = (true, now);
            }
        }
        for point in &enforced.expired {
            self.points.entry(point.clone()).or_insert((false, now));
        }
        for point in &enforced.waiting {
            self.points.remove(point);
        }
    }
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point() -> PointId {
        PointId::new("p").unwrap()
    }

    #[test]
    fn what_was_seen_of_a_point_is_what_it_did_last() {
        let mut seen = Seen { asked: Instant::now(), points: BTreeMap::new() };
        let expired = Enforced { expired: vec![point()], ..Enforced::default() };
        let waiting = Enforced { waiting: vec![point()], ..Enforced::default() };
        let acknowledged = Enforced { acknowledged: vec![point()], ..Enforced::default() };
        let mut after = |enforced: &Enforced| {
            seen.note(enforced);
            seen.points.get(&point()).map(|(acknowledged, _)| *acknowledged)
        };
        assert_eq!(after(&waiting), None);
        assert_eq!(after(&expired), Some(false));
        // The log is back before the revocation is on it: a new lease.
        assert_eq!(after(&waiting), None);
        assert_eq!(after(&expired), Some(false));
        assert_eq!(after(&acknowledged), Some(true));
        // Gone, or not known to a writer that began anew: it said so all the same.
        assert_eq!(after(&Enforced::default()), Some(true));
        assert_eq!(after(&expired), Some(true));
    }

    #[test]
    fn when_it_was_seen_first_is_when_it_was() {
        let mut seen = Seen { asked: Instant::now(), points: BTreeMap::new() };
        seen.points.insert(point(), (true, 3));
        seen.asked = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
        seen.note(&Enforced { acknowledged: vec![point()], ..Enforced::default() });
        assert_eq!(seen.points[&point()], (true, 3));
    }

    #[test]
    fn an_event_that_the_feed_does_not_keep_is_applied_by_who_has_applied_all() {
        let feed = Feed::default();
        assert_eq!(Narrowed::of(&feed, 8, 7), Narrowed { number: None, applied: Some(0) });
        // The state has not come that far: nothing is known.
        assert_eq!(Narrowed::of(&feed, 7, 7), Narrowed::UNRECORDED);
    }
}
