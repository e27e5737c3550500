//! The decision point's side: which enforcement points there are, what they have acknowledged, and
//! until when they may act on what they were told.

use std::collections::{BTreeMap, VecDeque};

use super::Monotonic;
use crate::id::PointId;
use crate::time::Span;

/// How many enforcement points there may be at once.
pub const POINTS_MAX: usize = 4_096;
/// For how many leases a point is remembered that says nothing any more.
const REMEMBERED_LEASES: u64 = 60;

/// There are [`POINTS_MAX`] enforcement points already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{POINTS_MAX} enforcement points are connected, no more are taken")]
pub struct TooManyPoints;

/// One answer to a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Answer {
    /// Where the feed stood.
    number: u64,
    at: Monotonic,
}

/// INVARIANT: `answers` has at most one answer for each number, the newest last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Point {
    applied: Option<u64>,
    joined: Monotonic,
    answers: VecDeque<Answer>,
}

/// One enforcement point, to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointStanding<'a> {
    /// Its name.
    pub point: &'a PointId,
    /// Every item up to this number is enforced there.
    pub applied: Option<u64>,
    /// When its last ping was answered.
    pub answered: Monotonic,
    /// Whether it can still hold a lease.
    pub is_live: bool,
}

/// Who enforces a number, and who cannot act any more because its lease ran out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Enforced {
    /// They have said that they enforce it.
    pub acknowledged: Vec<PointId>,
    /// They have not, and their lease has run out.
    pub expired: Vec<PointId>,
    /// Neither yet.
    pub waiting: Vec<PointId>,
    /// Whether points may still act that this writer does not know of.
    pub unknown: bool,
    /// When the next of those who wait, or the unknown ones, run out at the latest.
    pub next: Option<Monotonic>,
}

impl Enforced {
    /// Whether no enforcement point can act against the number any more.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.waiting.is_empty() && !self.unknown
    }
}

/// The enforcement points that one writer has answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Points {
    lease: Span,
    skew: Span,
    since: Monotonic,
    points: BTreeMap<PointId, Point>,
}

impl Points {
    /// Nobody is known yet to the writer that began at `since`. Points that a writer before it has
    /// answered may act for two leases and the skew.
    #[must_use]
    pub const fn new(lease: Span, skew: Span, since: Monotonic) -> Self {
        Self { lease, skew, since, points: BTreeMap::new() }
    }

    /// A ping of `point`, which has applied every item up to `applied`, is to be answered while the
    /// feed stands at `number`. Gives the number to answer with, which never goes down. To be called
    /// before the answer leaves, with no less than any number that [`Points::enforced`] was asked
    /// about before: an answer that does not tell of it is a lease that nobody waited for.
    ///
    /// # Errors
    /// [`TooManyPoints`]: then there must be no answer.
    pub fn answer(
        &mut self,
        point: &PointId,
        applied: Option<u64>,
        number: u64,
        now: Monotonic,
    ) -> Result<u64, TooManyPoints> {
        if !self.points.contains_key(point) {
            self.forget(now);
            if self.points.len() >= POINTS_MAX {
                return Err(TooManyPoints);
            }
        }
        let reach = self.reach();
        let known = self.points.entry(point.clone()).or_insert_with(|| Point {
            applied: None,
            joined: now,
            answers: VecDeque::new(),
        });
        let number = known.answers.back().map_or(number, |last| last.number.max(number));
        // A number that has not been given yet was given by another ledger, or by this one before it
        // was set back: it says nothing about the item that will have it.
        known.applied = known.applied.max(applied.filter(|applied| *applied <= number));
        known.answers.retain(|answer| answer.number != number);
        known.answers.push_back(Answer { number, at: now });
        while known.answers.len() > 1 && known.answers[0].at.after(reach) <= now {
            known.answers.pop_front();
        }
        Ok(number)
    }

    /// A point says that it has stopped everything and is gone.
    pub fn leave(&mut self, point: &PointId) {
        self.points.remove(point);
    }

    /// For how long a point may act on an answer.
    const fn reach(&self) -> Span {
        Span(self.lease.0 + self.skew.0)
    }

    fn forget(&mut self, now: Monotonic) {
        let kept = Span(self.lease.0 * REMEMBERED_LEASES);
        self.points.retain(|_, point| point.last().is_some_and(|last| last.after(kept) > now));
    }

    /// Who enforces item `number` of those that could act at `asked` or later. Without a number, for
    /// a narrowing that is not on the ledger yet, only the end of a lease counts.
    #[must_use]
    pub fn enforced(&self, number: Option<u64>, asked: Monotonic, now: Monotonic) -> Enforced {
        let mut enforced = Enforced::default();
        let mut next = Vec::new();
        for (id, point) in &self.points {
            if let (Some(number), Some(applied)) = (number, point.applied)
                && applied >= number
            {
                enforced.acknowledged.push(id.clone());
                continue;
            }
            let Some(ends) = point.answered_before(number).map(|at| at.after(self.reach())) else {
                // Every answer that could still count was given with the number: it acts only once
                // it has applied it. Those from before have run out.
                if point.joined <= asked {
                    enforced.expired.push(id.clone());
                }
                continue;
            };
            if ends > now {
                enforced.waiting.push(id.clone());
                next.push(ends);
            } else if ends > asked {
                enforced.expired.push(id.clone());
            }
        }
        let known = self.since.after(Span(2 * self.lease.0 + self.skew.0));
        enforced.unknown = known > now;
        next.extend(enforced.unknown.then_some(known));
        enforced.next = next.into_iter().min();
        enforced
    }

    /// Everyone who is known, in the order of names.
    pub fn all(&self, now: Monotonic) -> impl Iterator<Item = PointStanding<'_>> {
        let reach = self.reach();
        self.points.iter().filter_map(move |(point, known)| {
            let answered = known.last()?;
            let is_live = answered.after(reach) > now;
            Some(PointStanding { point, applied: known.applied, answered, is_live })
        })
    }
}

impl Point {
    fn last(&self) -> Option<Monotonic> {
        self.answers.back().map(|answer| answer.at)
    }

    /// When the last answer was given that did not tell of `number`.
    fn answered_before(&self, number: Option<u64>) -> Option<Monotonic> {
        let told = |answer: &&Answer| number.is_none_or(|number| answer.number < number);
        self.answers.iter().rev().find(told).map(|answer| answer.at)
    }
}

#[cfg(test)]
mod tests;
