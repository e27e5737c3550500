//! What a guard has heard of selectors, to be found fast: a call has a name for each prefix of its
//! resource, and all of them are looked up before it starts and while it runs.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::event::Selector;

/// How many slots there are at first.
const SLOTS_MIN: usize = 4;

/// Stands for a selector. Selectors that share one count as one, which ends more than was named and
/// never less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn of(selector: &Selector) -> Self {
        // It is keyed with nothing, so that it is the same in every guard.
        let mut hasher = DefaultHasher::new();
        selector.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The latest item on a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Narrowed {
    pub(super) index: u64,
    pub(super) suspend: bool,
}

/// The latest item of each selector.
///
/// INVARIANT: no slots, or a power of two of them of which at least half are free, so that a search
/// soon comes to a free one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Narrowings {
    slots: Vec<Option<(Key, Narrowed)>>,
    taken: usize,
}

impl Narrowings {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), taken: 0 }
    }

    /// Of how many selectors something was heard.
    pub(super) const fn len(&self) -> usize {
        self.taken
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(super) fn get(&self, key: Key) -> Option<Narrowed> {
        if self.slots.is_empty() {
            return None;
        }
        self.slots[self.place(key)].map(|(_, latest)| latest)
    }

    /// Takes in an item on a selector; an earlier one than the latest changes nothing.
    pub(super) fn hear(&mut self, key: Key, item: Narrowed) {
        if 2 * (self.taken + 1) > self.slots.len() {
            self.grow();
        }
        let at = self.place(key);
        let known = self.slots[at].map(|(_, latest)| latest);
        self.taken += usize::from(known.is_none());
        self.slots[at] = Some((key, known.map_or(item, |known| known.max(item))));
    }

    /// Where the key is, or the free slot where it belongs.
    fn place(&self, key: Key) -> usize {
        let last = self.slots.len() - 1;
        let mut at = key.0 as usize & last;
        while self.slots[at].is_some_and(|(other, _)| other != key) {
            at = (at + 1) & last;
        }
        at
    }

    fn grow(&mut self) {
        let slots = vec![None; (2 * self.slots.len()).max(SLOTS_MIN)];
        for taken in std::mem::replace(&mut self.slots, slots).into_iter().flatten() {
            let at = self.place(taken.0);
            self.slots[at] = Some(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::GrantId;

    fn heard(index: u64) -> Narrowed {
        Narrowed { index, suspend: false }
    }

    #[test]
    fn everything_that_was_heard_is_found_and_nothing_else() {
        let mut narrowings = Narrowings::new();
        assert_eq!(narrowings.get(Key(0)), None);
        for n in 1..=1_000 {
            narrowings.hear(Key::of(&Selector::Grant(GrantId(n))), heard(n));
        }
        assert_eq!(narrowings.len(), 1_000);
        assert!(2 * narrowings.len() <= narrowings.slots.len());
        for n in 1..=2_000 {
            let found = narrowings.get(Key::of(&Selector::Grant(GrantId(n))));
            assert_eq!(found, (n <= 1_000).then(|| heard(n)));
        }
        narrowings.clear();
        assert_eq!((narrowings.len(), narrowings.get(Key::of(&Selector::All))), (0, None));
    }

    #[test]
    fn keys_that_want_the_same_slot_are_told_apart() {
        let mut narrowings = Narrowings::new();
        let keys: Vec<Key> = (0..40).map(|n| Key(n << 32 | 3)).collect();
        keys.iter().zip(0..).for_each(|(key, index)| narrowings.hear(*key, heard(index)));
        assert_eq!(narrowings.len(), keys.len());
        for (key, index) in keys.iter().zip(0..) {
            assert_eq!(narrowings.get(*key), Some(heard(index)));
        }
        assert_eq!(narrowings.get(Key(99 << 32 | 3)), None);
    }

    #[test]
    fn latest_item_of_a_selector_counts_whichever_comes_first() {
        let mut narrowings = Narrowings::new();
        let early = Narrowed { index: 4, suspend: true };
        for item in [heard(9), early, heard(7)] {
            narrowings.hear(Key(1), item);
        }
        assert_eq!((narrowings.get(Key(1)), narrowings.len()), (Some(heard(9)), 1));
    }
}
