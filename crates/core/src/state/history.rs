//! How many calls were authorized and denied lately: by who acted, and of those by task and by tool.
//!
//! A window slides in steps of a sixtieth of its length: a second for the minute, a minute for the
//! hour, 24 minutes for the day. A count holds everything of the last minute, hour or day, and at
//! most one step more. Where it is not known it is not there at all: a policy that reads it has no
//! value then, and nothing is permitted. Ages are by event time alone.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};

use crate::event::Call;
use crate::id::{AgentId, OwnerId, TaskId};
use crate::policy::{Counts, History, Lately};
use crate::time::{Span, Time};

/// How many tasks, and how many tools, of one agent are told apart. Above it, the one that was idle
/// longest gives way; of those that are not told apart nothing is known of a window until it has
/// passed over all that gave way.
pub const KEPT_EACH: usize = 128;

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
        self.agents.get(agent).map_or(History::NONE, |of| of.history(task, tool, now))
    }

    pub(super) fn of_owner(
        &self,
        owner: &OwnerId,
        task: Option<TaskId>,
        tool: &str,
        now: Time,
    ) -> History {
        self.owners.get(owner).map_or(History::NONE, |of| of.history(task, tool, now))
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
            task: self.tasks.counts(&task, now),
            tool: self.tools.counts(tool, now),
        }
    }
}

/// Counts by a key, of which only so many are told apart.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
struct Kept<K: Ord + 'static> {
    of: BTreeMap<K, Recent>,
    /// When any key that gave way was counted last, in Unix nanoseconds.
    gone: Option<u64>,
}

impl<K: Ord> Default for Kept<K> {
    fn default() -> Self {
        Self { of: BTreeMap::new(), gone: None }
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
        let mut counted = self.unseen();
        counted.count(decided, now);
        self.of.insert(key.to_owned(), counted);
    }

    fn give_way(&mut self) {
        let idle = self.of.iter().min_by_key(|(_, recent)| recent.last).map(|(key, _)| key.clone());
        if let Some(recent) = idle.and_then(|key| self.of.remove(&key)) {
            self.gone = self.gone.max(recent.unknown_until).max(Some(recent.last));
        }
    }

    /// A key that is not told apart: it was never counted, or gave way.
    fn unseen(&self) -> Recent {
        Recent { unknown_until: self.gone, ..Recent::default() }
    }

    fn counts<Q: Ord + ?Sized>(&self, key: &Q, now: Time) -> Counts
    where
        K: Borrow<Q>,
    {
        self.of.get(key).map_or_else(|| self.unseen().counts(now), |known| known.counts(now))
    }
}

/// The three windows of one key.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
struct Recent {
    windows: [Window; 3],
    /// When it was counted last, in Unix nanoseconds.
    last: u64,
    /// Before this moment it may have been counted and forgotten, in Unix nanoseconds.
    unknown_until: Option<u64>,
}

impl Recent {
    fn count(&mut self, decided: Decided, now: Time) {
        self.last = now.0;
        for (window, step) in self.windows.iter_mut().zip(STEP) {
            window.count(decided, number(now, step));
        }
    }

    fn counts(&self, now: Time) -> Counts {
        let sums = [0, 1, 2].map(|n: usize| {
            let running = number(now, STEP[n]);
            let is_known = self
                .unknown_until
                .is_none_or(|until| number(Time(until), STEP[n]) + STEPS < running);
            is_known.then(|| self.windows[n].sum(running))
        });
        let [minute, hour, day] = sums.map(|sum| sum.map(|(calls, _)| calls));
        let calls = Lately { minute, hour, day };
        let [minute, hour, day] = sums.map(|sum| sum.map(|(_, denials)| denials));
        Counts { calls, denials: Lately { minute, hour, day } }
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

    fn numbers(counts: Counts) -> [(Decided, [Option<u32>; 3]); 2] {
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
                for (decided, counted) in numbers(kept.counts(&Some(TaskId(key)), at(now))) {
                    for ((counted, age), step) in counted.into_iter().zip(WINDOWS).zip(STEP) {
                        let counted = counted.expect("nothing gave way");
                        let least = naive.within(key, decided, now, age.0);
                        let most = naive.within(key, decided, now, age.0 + step.0);
                        prop_assert!((least..=most).contains(&counted), "{least} {counted} {most}");
                    }
                }
            }
        }

        #[test]
        fn what_is_known_is_true_however_much_gave_way(
            events in prop::collection::vec((pause(), 0..3 * KEPT_EACH as u64), 1..900),
            after in pause(),
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
            now += after;
            for key in 0..=3 * KEPT_EACH as u64 {
                let [_, (denied, counted)] = numbers(kept.counts(&Some(TaskId(key)), at(now)));
                for ((counted, age), step) in counted.into_iter().zip(WINDOWS).zip(STEP) {
                    let Some(counted) = counted else { continue };
                    let least = naive.within(key, denied, now, age.0);
                    let most = naive.within(key, denied, now, age.0 + step.0);
                    prop_assert!((least..=most).contains(&counted), "{least} {counted} {most}");
                }
            }
        }
    }

    #[test]
    fn what_gave_way_is_not_known_until_its_window_has_passed() {
        // Given: the first of very many keys was counted once and gave way.
        let mut kept = Kept::<Option<TaskId>>::default();
        for key in 0..=KEPT_EACH as u64 {
            kept.count(&Some(TaskId(key)), Decided::Authorized, at(1_000_000 + key));
        }
        let minute = |kept: &Kept<_>, seconds: u64| {
            let counts = kept.counts(&Some(TaskId(0)), at(1_000_000 + seconds * 1_000));
            counts.calls.minute
        };
        assert_eq!((minute(&kept, 0), minute(&kept, 59)), (None, None));
        assert_eq!(minute(&kept, 62), Some(0));
        // It is counted again: the hour is still in doubt, the minute is not.
        kept.count(&Some(TaskId(0)), Decided::Authorized, at(1_000_000 + 70_000));
        let counts = kept.counts(&Some(TaskId(0)), at(1_000_000 + 71_000)).calls;
        assert_eq!((counts.minute, counts.hour), (Some(1), None));
        // Those that are told apart are known throughout.
        let other = kept.counts(&Some(TaskId(9)), at(1_000_000 + 71_000)).calls;
        assert_eq!((other.minute, other.hour), (Some(0), Some(1)));
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
        assert_eq!((counted.minute, counted.hour), (Some(61), Some(3_600 + 20)));
        let later = recent.counts(at(u64::MAX / 1_000_000));
        assert_eq!(later, Counts::NONE);
    }
}
