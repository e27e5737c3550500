//! How many calls were authorized and denied lately: by who acted, and of those by task and by tool.
//!
//! A window slides in steps of a sixtieth of its length: a second for the minute, a minute for the
//! hour, 24 minutes for the day. A count holds everything of the last minute, hour or day, and at
//! most one step more. It is never less than the truth; so a policy that forbids above a number never
//! misses. Ages are by event time alone.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};

use crate::event::Call;
use crate::id::{AgentId, OwnerId, TaskId};
use crate::policy::{Counts, History, Lately};
use crate::time::{Span, Time};

/// How many tasks, and how many tools, of one agent are told apart. Above it, the one that was idle
/// longest gives way, and from then on one that is not told apart is taken for the busiest of those.
pub const KEPT_EACH: usize = 64;

/// Steps that make a window; the one that is running comes on top.
const STEPS: u64 = 60;
/// How long a step takes, for the minute, the hour and the day.
const STEP: [Span; 3] = [Span::seconds(1), Span::minutes(1), Span::minutes(24)];

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decided {
    Authorized,
    Denied,
}

/// All counts.
///
/// INVARIANT: one record for each agent and owner that is registered and acted, of at most
/// [`KEPT_EACH`] tasks and tools each.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub(super) struct Histories {
    agents: BTreeMap<AgentId, OfActor>,
    owners: BTreeMap<OwnerId, OfActor>,
}

impl Histories {
    /// Counts a call of a registered agent, or of a registered owner in person.
    pub(super) fn count(&mut self, call: &Call, decided: Decided, now: Time) {
        let of_actor = match (&call.agent, &call.owner) {
            (Some(agent), _) => self.agents.entry(agent.clone()).or_default(),
            (None, Some(owner)) => self.owners.entry(owner.clone()).or_default(),
            (None, None) => return,
        };
        let tool = call.tool.as_ref().map_or(call.action.as_str(), |tool| tool.as_str());
        of_actor.all.count(decided, now);
        of_actor.tasks.count(&call.task, decided, now);
        of_actor.tools.count(tool, decided, now);
    }

    pub(super) fn of_agent(
        &self,
        agent: &AgentId,
        task: Option<TaskId>,
        tool: &str,
        now: Time,
    ) -> History {
        self.agents.get(agent).map_or_else(History::default, |of| of.history(task, tool, now))
    }

    pub(super) fn of_owner(
        &self,
        owner: &OwnerId,
        task: Option<TaskId>,
        tool: &str,
        now: Time,
    ) -> History {
        self.owners.get(owner).map_or_else(History::default, |of| of.history(task, tool, now))
    }

    /// Nothing is asked about a task that is closed.
    pub(super) fn task_closed(&mut self, agent: &AgentId, task: TaskId) {
        if let Some(of_agent) = self.agents.get_mut(agent) {
            of_agent.tasks.of.remove(&Some(task));
        }
    }
}

#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
struct OfActor {
    all: Recent,
    tasks: Kept<Option<TaskId>>,
    tools: Kept<String>,
}

impl OfActor {
    fn history(&self, task: Option<TaskId>, tool: &str, now: Time) -> History {
        History {
            agent: self.all.counts(now),
            task: self.tasks.get(&task).counts(now),
            tool: self.tools.get(tool).counts(now),
        }
    }
}

/// Counts by a key, of which only so many are told apart.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
struct Kept<K: Ord + 'static> {
    of: BTreeMap<K, Recent>,
    /// Step by step, the most that any key had that gave way.
    others: Recent,
}

impl<K: Ord> Default for Kept<K> {
    fn default() -> Self {
        Self { of: BTreeMap::new(), others: Recent::default() }
    }
}

impl<K: Ord + Clone> Kept<K> {
    fn count<Q>(&mut self, key: &Q, decided: Decided, now: Time)
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(known) = self.of.get_mut(key) {
            known.count(decided, now);
            return;
        }
        if self.of.len() >= KEPT_EACH {
            self.give_way();
        }
        let mut counted = self.others.clone();
        counted.count(decided, now);
        self.of.insert(key.to_owned(), counted);
    }

    fn give_way(&mut self) {
        let idle = self.of.iter().min_by_key(|(_, recent)| recent.last).map(|(key, _)| key.clone());
        if let Some(recent) = idle.and_then(|key| self.of.remove(&key)) {
            self.others.at_least(&recent);
        }
    }

    fn get<Q: Ord + ?Sized>(&self, key: &Q) -> &Recent
    where
        K: Borrow<Q>,
    {
        self.of.get(key).unwrap_or(&self.others)
    }
}

/// The three windows of one key.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
struct Recent {
    windows: [Window; 3],
    /// When it was counted last, in Unix nanoseconds.
    last: u64,
}

impl Recent {
    fn count(&mut self, decided: Decided, now: Time) {
        self.last = now.0;
        for (window, step) in self.windows.iter_mut().zip(STEP) {
            window.count(decided, number(now, step));
        }
    }

    fn counts(&self, now: Time) -> Counts {
        let [minute, hour, day] =
            [0, 1, 2].map(|n: usize| self.windows[n].sum(number(now, STEP[n])));
        Counts {
            calls: Lately { minute: minute.0, hour: hour.0, day: day.0 },
            denials: Lately { minute: minute.1, hour: hour.1, day: day.1 },
        }
    }

    /// Raises every step to what `other` has there.
    fn at_least(&mut self, other: &Self) {
        self.last = self.last.max(other.last);
        for (window, other) in self.windows.iter_mut().zip(&other.windows) {
            window.at_least(other);
        }
    }
}

/// Which step a moment lies in.
const fn number(now: Time, step: Span) -> u64 {
    now.0 / 1_000_000 / step.0
}

#[derive(Debug, Clone, Copy, bincode::Encode, bincode::Decode)]
struct Bucket {
    step: u64,
    calls: u32,
    denials: u32,
}

/// INVARIANT: ascending by step, within [`STEPS`] of the last one.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
struct Window(VecDeque<Bucket>);

impl Window {
    fn count(&mut self, decided: Decided, step: u64) {
        let (calls, denials) = match decided {
            Decided::Authorized => (1, 0),
            Decided::Denied => (0, 1),
        };
        match self.0.back_mut() {
            Some(last) if last.step >= step => {
                last.calls = last.calls.saturating_add(calls);
                last.denials = last.denials.saturating_add(denials);
            }
            Some(_) | None => {
                self.0.push_back(Bucket { step, calls, denials });
                self.trim();
            }
        }
    }

    fn trim(&mut self) {
        let Some(last) = self.0.back().map(|bucket| bucket.step) else { return };
        while self.0.front().is_some_and(|first| first.step + STEPS < last) {
            self.0.pop_front();
        }
    }

    /// Calls and denials of the running step and the [`STEPS`] before it.
    fn sum(&self, step: u64) -> (u32, u32) {
        let recent = self.0.iter().rev().take_while(|bucket| bucket.step + STEPS >= step);
        recent.fold((0, 0), |(calls, denials): (u32, u32), bucket| {
            (calls.saturating_add(bucket.calls), denials.saturating_add(bucket.denials))
        })
    }

    fn at_least(&mut self, other: &Self) {
        let both = self.0.iter().chain(&other.0);
        let mut most: BTreeMap<u64, Bucket> = BTreeMap::new();
        for bucket in both {
            let known = most.entry(bucket.step).or_insert(*bucket);
            known.calls = known.calls.max(bucket.calls);
            known.denials = known.denials.max(bucket.denials);
        }
        self.0 = most.into_values().collect();
        self.trim();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOWS: [Span; 3] = [Span::minutes(1), Span::hours(1), Span::days(1)];

    /// Every event of one key with the moment that it was counted, in milliseconds.
    #[derive(Default)]
    struct Naive(BTreeMap<u64, Vec<(Decided, u64)>>);

    impl Naive {
        fn within(&self, key: u64, of: Decided, now: u64, age: u64) -> u32 {
            let events = self.0.get(&key).into_iter().flatten();
            let young = events.filter(|(decided, time)| *decided == of && time + age > now);
            u32::try_from(young.count()).unwrap()
        }
    }

    fn numbers(counts: Counts) -> [(Decided, [u32; 3]); 2] {
        let of = |lately: Lately| [lately.minute, lately.hour, lately.day];
        [(Decided::Authorized, of(counts.calls)), (Decided::Denied, of(counts.denials))]
    }

    fn at(milliseconds: u64) -> Time {
        Time(milliseconds * 1_000_000)
    }

    /// Pauses of a moment, of seconds, of minutes and of hours.
    fn pause() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 0..900_u64, 2 => 0..20_000_u64, 1 => 0..900_000_u64, 1 => 0..30_000_000_u64]
    }

    fn event() -> impl Strategy<Value = (u64, u64, Decided)> {
        let decided = prop_oneof![Just(Decided::Authorized), Just(Decided::Denied)];
        (pause(), 0..3_u64, decided)
    }

    proptest! {
        #[test]
        fn a_count_is_never_less_than_the_truth_and_at_most_one_step_more(
            events in prop::collection::vec(event(), 1..200),
            after in pause(),
        ) {
            let mut kept = Kept::<Option<TaskId>>::default();
            let mut naive = Naive::default();
            let mut now = 1_795_441_020_123;
            for (pause, key, decided) in events {
                now += pause;
                kept.count(&Some(TaskId(key)), decided, at(now));
                naive.0.entry(key).or_default().push((decided, now));
            }
            now += after;
            for key in 0..4 {
                for (decided, counted) in numbers(kept.get(&Some(TaskId(key))).counts(at(now))) {
                    for ((counted, age), step) in counted.into_iter().zip(WINDOWS).zip(STEP) {
                        let least = naive.within(key, decided, now, age.0);
                        let most = naive.within(key, decided, now, age.0 + step.0);
                        prop_assert!((least..=most).contains(&counted), "{least} {counted} {most}");
                    }
                }
            }
        }

        #[test]
        fn whatever_gave_way_is_never_counted_less(
            events in prop::collection::vec((pause(), 0..3 * KEPT_EACH as u64), 1..600),
        ) {
            let mut kept = Kept::<Option<TaskId>>::default();
            let mut naive = Naive::default();
            let mut now = 1_795_441_020_123;
            for (pause, key) in events {
                now += pause / 100;
                kept.count(&Some(TaskId(key)), Decided::Denied, at(now));
                naive.0.entry(key).or_default().push((Decided::Denied, now));
                prop_assert!(kept.of.len() <= KEPT_EACH);
            }
            for key in 0..=3 * KEPT_EACH as u64 {
                let [_, (denied, counted)] = numbers(kept.get(&Some(TaskId(key))).counts(at(now)));
                for (counted, age) in counted.into_iter().zip(WINDOWS) {
                    prop_assert!(counted >= naive.within(key, denied, now, age.0));
                }
            }
        }
    }

    #[test]
    fn a_window_never_holds_more_than_its_steps() {
        let mut recent = Recent::default();
        for second in 0..200_000 {
            recent.count(Decided::Authorized, at(second * 1_000));
        }
        for window in &recent.windows {
            assert!(window.0.len() <= STEPS as usize + 1, "{}", window.0.len());
        }
        let counted = recent.counts(at(199_999_000)).calls;
        assert_eq!((counted.minute, counted.hour), (61, 3_600 + 20));
        assert_eq!(recent.counts(at(u64::MAX / 1_000_000)), Counts::default());
    }
}
