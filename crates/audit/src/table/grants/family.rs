//! What grants have to do with each other: delegated ones rest on what they came from.
//!
//! What ends one grant alone, its return or its last use, ends what was delegated from it, which is
//! written where it happens: a family is small. What ends grants by naming something is found when
//! the table is read, as for any grant, by the keys of the whole line.

use bailiwick_core::id::GrantId;
use bincode::{Decode, Encode};

use super::super::grown::Grown;
use super::super::marks::Key;
use super::{Fixed, Grant};

/// Where a grant stands among those that it was delegated from and those that were from it.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Family {
    /// What it was delegated from.
    parent: Option<u64>,
    /// The one at the beginning that nobody delegated.
    pub(crate) root: u64,
    /// How many delegations away from the root.
    pub(crate) depth: u8,
    /// The holders of all that it was delegated from, and their tasks.
    pub(super) keys: Vec<Key>,
    /// What was delegated from it.
    children: Vec<u64>,
}

impl Family {
    fn of_root(seq: u64) -> Self {
        Self { parent: None, root: seq, depth: 0, keys: Vec::new(), children: Vec::new() }
    }
}

type Rows = Grown<Fixed, Grant>;

/// The place of a grant that is delegated from `parent`.
pub(super) fn below(rows: &Rows, parent: GrantId) -> Family {
    let parent = parent.0;
    let alone = || Family::of_root(parent);
    let Some(known) = rows.live(parent) else {
        return Family { parent: Some(parent), depth: 1, ..alone() };
    };
    let above = known.family.as_deref().cloned().unwrap_or_else(alone);
    let mut keys = above.keys;
    keys.extend(known.agent.map(Key::Agent));
    keys.extend(known.task.map(Key::Task));
    let (root, depth) = (above.root, above.depth.saturating_add(1));
    Family { parent: Some(parent), root, depth, keys, children: Vec::new() }
}

/// Notes at a parent what was delegated from it.
pub(super) fn adopt(rows: &mut Rows, parent: GrantId, child: u64) {
    let Some(known) = rows.live_mut(parent.0) else { return };
    let family = known.family.get_or_insert_with(|| Box::new(Family::of_root(parent.0)));
    family.children.push(child);
}

/// A grant and all that it was delegated from, itself first.
pub(super) fn line(rows: &Rows, seq: u64) -> Vec<u64> {
    let mut line = vec![seq];
    let parent = |seq: u64| rows.live(seq)?.family.as_ref()?.parent.filter(|above| *above < seq);
    let mut next = parent(seq);
    while let Some(seq) = next {
        line.push(seq);
        next = parent(seq);
    }
    line
}

/// A grant and all that was delegated from it, itself first.
pub(super) fn descendants(rows: &Rows, seq: u64) -> Vec<u64> {
    let mut all = vec![seq];
    let mut at = 0;
    while let Some(seq) = all.get(at).copied() {
        let family = rows.live(seq).and_then(|grant| grant.family.as_ref());
        // A child is always the younger one: nothing comes twice.
        let children = family.iter().flat_map(|family| &family.children);
        all.extend(children.copied().filter(|child| *child > seq));
        at += 1;
    }
    all
}
