//! Parts that many worlds share, each kept once: two worlds are compared by where their parts lie.

use std::collections::BTreeMap;
use std::rc::Rc;

/// Where a part lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

#[derive(Debug)]
pub(super) struct Shelf<T> {
    slots: BTreeMap<Rc<T>, Slot>,
    parts: Vec<Rc<T>>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), parts: Vec::new() }
    }
}

impl<T: Ord + Clone> Shelf<T> {
    pub(super) fn get(&self, slot: Slot) -> &T {
        &self.parts[slot.0]
    }

    pub(super) fn put(&mut self, part: T) -> Slot {
        if let Some(slot) = self.slots.get(&part) {
            return *slot;
        }
        let (slot, part) = (Slot(self.parts.len()), Rc::new(part));
        self.parts.push(Rc::clone(&part));
        self.slots.insert(part, slot);
        slot
    }

    /// The part that comes of a change to another.
    pub(super) fn change(&mut self, slot: Slot, change: impl FnOnce(&mut T)) -> Slot {
        let mut part = self.get(slot).clone();
        change(&mut part);
        self.put(part)
    }
}
